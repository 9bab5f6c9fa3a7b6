"""Which of the lines for one model runs next?

Lines that begin alike follow each other. They are handed out from several places of the line-up at once, one
for each replica, so that each replica works on lines that begin like those it has just read.
"""

from array import array
from collections import deque
from collections.abc import Sequence

import msgspec

_LEAST = 16
"""A part with fewer lines than twice this is not split."""


class Stretch(msgspec.Struct, eq=False):
    """A stretch of the line-up.

    Attributes:
        at: The next line of it.
        end: Behind its last line.
        open: How many of its lines are being answered.
    """

    at: int
    end: int
    open: int = 0

    @property
    def left(self) -> int:
        """How many lines it has."""
        return self.end - self.at


class TakenLine(msgspec.Struct, frozen=True, eq=False):
    """A line that was handed out.

    Attributes:
        place: Its place in the index of lines.
        part: Where it came from.
    """

    place: int
    part: Stretch


class Lineup:
    """The lines of a batch for one model that are still to be answered.

    Args:
        places: Their places in the index of lines, in order.
    """

    def __init__(self, places: Sequence[int]) -> None:
        self._places = array("I", places)
        self._parts = [Stretch(0, len(self._places))]
        self._again: deque[TakenLine] = deque()

    def __repr__(self) -> str:
        return f"<Lineup {len(self)} lines in {len(self._parts)} parts>"

    def __len__(self) -> int:
        return sum(part.left for part in self._parts) + len(self._again)

    def take(self, replicas: int) -> TakenLine | None:
        """Return the next line; None where there is none.

        Args:
            replicas: How many replicas the lines are for.
        """
        if self._again:
            taken = self._again.popleft()
            taken.part.open += 1
            return taken
        self._split(replicas)
        part = min((one for one in self._parts if one.left), key=lambda one: one.open, default=None)
        if part is None:
            return None
        taken = TakenLine(self._places[part.at], part)
        part.at += 1
        part.open += 1
        return taken

    def answered(self, taken: TakenLine) -> None:
        """Take note that a line was answered."""
        taken.part.open -= 1

    def put_back(self, taken: TakenLine) -> None:
        """Have a line handed out again, before the others."""
        taken.part.open -= 1
        self._again.append(taken)

    def _split(self, count: int) -> None:
        """Have as many parts with lines as there are replicas, where they are long enough."""
        parts = [one for one in self._parts if one.left or one.open]
        while sum(bool(one.left) for one in parts) < count:
            longest = max(parts, key=lambda one: one.left, default=None)
            if longest is None or longest.left < 2 * _LEAST:
                break
            middle = longest.at + (longest.left + 1) // 2
            parts.append(Stretch(middle, longest.end))
            longest.end = middle
        self._parts = parts

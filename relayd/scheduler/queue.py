"""Which tickets of one model wait, and in which order?"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from relayd.scheduler.capacity import Capacity
from relayd.scheduler.events import Ticket


@dataclass(slots=True, eq=False)
class Waiting:
    """A ticket on its way to a slot.

    Attributes:
        ticket: What waits.
        attempts: Dispatches so far.
        avoid: Where an attempt failed, and until when (monotonic seconds) it is avoided.
        is_suspect: It may have ended a replica: it runs beside no other of which that is so.
    """

    ticket: Ticket
    attempts: int = 0
    avoid: dict[Capacity, float] = field(default_factory=dict)
    is_suspect: bool = False

    def avoids(self, capacity: Capacity, now: float) -> bool:
        """Return whether an attempt failed there too recently, or another suspect runs there."""
        return self.avoid.get(capacity, now) > now or (self.is_suspect and capacity.suspect is not None)

    def away(self, capacities: Iterable[Capacity], now: float) -> frozenset[Capacity]:
        """Return those of some replicas that are avoided at `now` (monotonic seconds)."""
        if not (self.avoid or self.is_suspect):
            return frozenset()
        return frozenset(capacity for capacity in capacities if self.avoids(capacity, now))

    def moments(self, now: float) -> Iterator[float]:
        """Yield when time alone changes something for this ticket (monotonic seconds)."""
        if (deadline := self.ticket.ask.deadline) is not None:
            yield deadline
        yield from (until for until in self.avoid.values() if until > now)


Place = Callable[[Waiting, frozenset[Capacity] | None], Capacity | None]
"""Returns where a ticket can run now, of some replicas; None as the second stands for all of them."""


Away = Callable[[Waiting], frozenset[Capacity]]
"""Returns the replicas that a ticket stays away from, though they serve its model."""


class Queue:
    """Tickets in the order of their arrival, which is the order of their ids.

    A ticket that comes back from a failed attempt takes its old place again.
    """

    def __init__(self) -> None:
        self._entries: list[Waiting] = []

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Waiting]:
        return iter(self._entries)

    def next(self, place: Place, away: Away) -> tuple[Waiting, Capacity] | None:
        """Take out the ticket that runs next and return it with its place; None when none can.

        First in, first out: while there is no place for the oldest ticket, those behind it wait too. Only
        from where it stays away for a while after a failed attempt does it not keep them.

        Args:
            place: Returns where a ticket can run now, of the replicas that no older ticket waits for.
            away: Returns the replicas that a ticket stays away from.
        """
        among: frozenset[Capacity] | None = None
        for position, waiting in enumerate(self._entries):
            if capacity := place(waiting, among):
                del self._entries[position]
                return waiting, capacity
            avoided = away(waiting)
            among = avoided if among is None else among & avoided
            if not among:
                break
        return None

    def moments(self, now: float) -> Iterator[float]:
        """Yield when time alone changes something for a ticket here (monotonic seconds)."""
        for waiting in self._entries:
            yield from waiting.moments(now)

    def add(self, waiting: Waiting) -> None:
        """Put a ticket in its place."""
        self._entries.insert(self._place(waiting.ticket.id), waiting)

    def remove(self, ticket_id: int) -> Waiting | None:
        """Take a ticket out; None when it is not here."""
        place = self._place(ticket_id)
        if place < len(self._entries) and self._entries[place].ticket.id == ticket_id:
            return self._entries.pop(place)
        return None

    def _place(self, ticket_id: int) -> int:
        return bisect_left(self._entries, ticket_id, key=lambda waiting: waiting.ticket.id)

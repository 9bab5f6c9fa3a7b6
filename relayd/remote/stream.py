"""What is one direction of a stream: what was sent and may be lost, and what has come in order?

Both count bytes from the stream's beginning. What was sent is kept until the other side has it, so that a
link that breaks loses nothing; no more is sent than there is credit for, so that a reader that is slow stops
its own stream only. The end counts as one byte more, as in TCP, so that it is acknowledged too.
"""

from collections.abc import Iterator

from relayd.errors import LinkError
from relayd.remote.frames import DATA_BYTES
from relayd.units import KIB

WINDOW_BYTES = 256 * KIB
"""Credit of a stream: bytes that are on their way, or wait for its reader."""


class Outflow:
    """What one side sends of a stream.

    Attributes:
        ended: Nothing is added any more.
        acknowledged: Bytes that the other side has.
        is_done: The other side has everything, and knows the end.
    """

    __slots__ = ("_kept", "_limit", "_sent", "_sent_end", "acknowledged", "ended", "is_done")

    def __init__(self, limit: int = WINDOW_BYTES) -> None:
        self._kept = bytearray()  # from `acknowledged` on
        self._sent = 0
        self._limit = limit
        self._sent_end = False
        self.acknowledged = 0
        self.ended = self.is_done = False

    def __repr__(self) -> str:
        return f"<Outflow acknowledged={self.acknowledged} sent={self._sent} of {self.written}>"

    @property
    def written(self) -> int:
        """Bytes that were added so far."""
        return self.acknowledged + len(self._kept)

    @property
    def waiting(self) -> int:
        """Bytes that wait for credit, or to be sent."""
        return self.written - self._sent

    def add(self, data: bytes | bytearray | memoryview) -> None:
        """Add bytes."""
        self._kept += data

    def take(self) -> Iterator[tuple[int, bytes]]:
        """Yield what may be sent now, each with its offset."""
        until = min(self.written, self._limit)
        while self._sent < until:
            at = self._sent - self.acknowledged
            piece = bytes(self._kept[at : at + min(DATA_BYTES, until - self._sent)])
            self._sent += len(piece)
            yield self._sent - len(piece), piece

    def take_end(self) -> int | None:
        """Return the offset of the end, if it is to be sent now."""
        if not self.ended or self._sent_end or self.waiting:
            return None
        self._sent_end = True
        return self.written

    def acknowledge(self, received: int, limit: int) -> None:
        """Take note of what the other side has, and of how far its credit goes.

        Raises:
            LinkError: It has more than was sent.
        """
        if self._sent_end and received == self.written + 1:
            self.is_done, received = True, received - 1
        if received > self._sent:
            raise LinkError(f"{received} bytes of a stream are acknowledged; {self._sent} were sent")
        if received > self.acknowledged:
            del self._kept[: received - self.acknowledged]
            self.acknowledged = received
        self._limit = max(self._limit, limit)

    def rewind(self, received: int) -> None:
        """Send again what the other side does not have, on a new connection.

        Raises:
            LinkError: It has more than was sent, or less than it had.
        """
        if self._sent_end and received == self.written + 1:
            self.acknowledge(received, 0)
            return
        if not self.acknowledged <= received <= self._sent:
            raise LinkError(f"a stream goes on at {received}; {self.acknowledged} to {self._sent} are kept")
        self.acknowledge(received, 0)
        self._sent, self._sent_end = received, False


class Inflow:
    """What one side receives of a stream.

    Attributes:
        received: Bytes that came in order.
        end: How many there are; None while that is not known.
    """

    __slots__ = ("_acknowledged", "_granted", "_taken", "_window", "end", "received")

    def __init__(self, window: int = WINDOW_BYTES) -> None:
        self._window = self._granted = window
        self._taken = self._acknowledged = 0
        self.received = 0
        self.end: int | None = None

    def __repr__(self) -> str:
        return f"<Inflow received={self.received} taken={self._taken} granted={self._granted}>"

    @property
    def is_over(self) -> bool:
        """Whether everything has come."""
        return self.end == self.received

    def accept(self, offset: int, data: bytes) -> bytes:
        """Return what is new of bytes that came.

        Raises:
            LinkError: Some before them are missing, there was no credit for them, or the end has come.
        """
        until = offset + len(data)
        if offset > self.received:
            raise LinkError(f"bytes from {offset} on came; {self.received} were received")
        if until > self._granted:
            raise LinkError(f"bytes up to {until} came; there was credit up to {self._granted}")
        if self.end is not None and until > self.end:
            raise LinkError(f"bytes up to {until} came behind the end at {self.end}")
        new = data[self.received - offset :] if offset < self.received else data
        self.received = max(self.received, until)
        return new

    def finish(self, offset: int) -> None:
        """Take note of the end.

        Raises:
            LinkError: Bytes before it are missing, or came behind it.
        """
        if offset != self.received or self.end not in (None, offset):
            raise LinkError(f"a stream ends at {offset}; {self.received} bytes were received")
        self.end = offset

    def consume(self, count: int) -> bool:
        """Take note that so many bytes were taken; return whether that is to be acknowledged now."""
        self._taken += count
        return self._granted - self._taken <= self._window // 2

    @property
    def is_owed(self) -> bool:
        """Whether there is something to acknowledge."""
        return self.position > self._acknowledged

    @property
    def position(self) -> int:
        """How far the stream has come; its end counts as one more."""
        return self.received + self.is_over

    def credit(self) -> tuple[int, int]:
        """Return what to acknowledge: bytes received, and up to which more may come."""
        self._granted = max(self._granted, self._taken + self._window)
        self._acknowledged = self.position
        return self.position, self._granted

"""How do the bytes of a stream reach what collects it, also from one replica after another?"""

from collections.abc import Callable
from contextlib import suppress

from relayd.errors import UpstreamError
from relayd.journal import Journal
from relayd.router.collect import Collector, FailureCollector
from relayd.router.continuation import Broken, continued, hindrance
from relayd.router.headers import Call, Head
from relayd.router.rejoining import rejoin

_JOURNAL = Journal("router")

Rewrite = Callable[[bytes], bytes]
"""Returns what of the next bytes of a stream belongs to the answer."""


class Gathering:
    """The plain answer to one request, collected from the stream of a replica, or of several.

    Where one breaks off, the next replica goes on if that is sound. Else it begins anew: the client has seen
    nothing.

    Args:
        call: The request.
        may_continue: Whether its client and the configuration allow that.

    Attributes:
        collector: Takes the events.
        continued: How often another replica went on.
    """

    def __init__(
        self, call: Call, *, may_continue: bool = True, make: Callable[[], Collector] | None = None
    ) -> None:
        self._make = make or call.collector or FailureCollector
        self.collector: Collector = self._make()
        self.continued = 0
        self._call = self._next = call
        self._may_continue = may_continue
        self._sink: Collecting | None = None
        self._rewrite: Rewrite | None = None

    def __repr__(self) -> str:
        return f"<Gathering continued={self.continued} {self.collector!r}>"

    @property
    def events(self) -> int:
        """How many events of the answer have come, at least."""
        with suppress(UpstreamError):
            self.collector.fold()
        return self.collector.pieces

    def call(self) -> Call:
        """Return what the next replica gets; the same as the last one, if nothing came of that."""
        if self._sink is None:
            return self._next
        first, tail, self._sink = self._sink.first, self._sink.tail, None
        broken = self._broken(tail)
        if broken is None or broken.is_empty:
            self.collector, self.continued, self._rewrite = self._make(), 0, None
            self._next = self._call
            return self._next
        self.continued += 1
        self._rewrite = rejoin(self._call, broken, count=self.continued, first=first).feed
        _JOURNAL.info("request.continued", tokens=broken.generated, collected=True)
        self._next = continued(self._call, broken)
        return self._next

    def sink(self, head: Head) -> "Collecting":
        """Return where the stream goes that begins with `head`."""
        self._sink = Collecting(self.collector, head, self._rewrite)
        return self._sink

    def _broken(self, tail: bytes) -> Broken | None:
        """Return what came of the answer; None when it cannot be continued."""
        if not self._may_continue:
            return None
        try:
            self.collector.cut()
        except UpstreamError:
            return None
        broken = Broken.of(self.collector, tail)
        return None if hindrance(self._call, broken) else broken


def failure_of(call: Call) -> Gathering:
    """Return what takes a stream that is nothing but an error."""
    return Gathering(call, may_continue=False, make=FailureCollector)


class Collecting:
    """A sink that frees a stream of its framing for a collector.

    Args:
        collector: Takes its events.
        head: Of the stream.
        rewrite: Takes out what another replica repeats; None passes all of it.

    Attributes:
        first: The first bytes that came.
        tail: The last ones.
    """

    def __init__(self, collector: Collector, head: Head, rewrite: Rewrite | None = None) -> None:
        self.first = self.tail = b""
        self._collector = collector
        self._pieces: list[bytes] = []
        self._framing = head.framing(self._pieces)
        self._rewrite = rewrite

    def __repr__(self) -> str:
        return f"<Collecting {self._collector!r}>"

    def take(self, raw: bytes) -> bool:
        """Take bytes; there is always room for more.

        Raises:
            UpstreamError: An event cannot be read.
        """
        self._framing.feed(raw)
        for piece in self._pieces:
            passed = piece if self._rewrite is None else self._rewrite(piece)
            if passed:
                self._collector.feed(passed)
                self.first, self.tail = self.first or passed, passed
        self._pieces.clear()
        return False

    async def room(self) -> None:
        """Return at once."""

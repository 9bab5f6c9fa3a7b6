"""How do the bytes of a stream reach what collects it?"""

from relayd.router.collect import Collector
from relayd.router.headers import Head


class Collecting:
    """A sink that frees a stream of its framing for a collector.

    Args:
        collector: Takes its events.
        head: Of the stream.
    """

    def __init__(self, collector: Collector, head: Head) -> None:
        self._collector = collector
        self._pieces: list[bytes] = []
        self._framing = head.framing(self._pieces)

    def __repr__(self) -> str:
        return f"<Collecting {self._collector!r}>"

    def take(self, raw: bytes) -> bool:
        """Take bytes; there is always room for more.

        Raises:
            UpstreamError: An event cannot be read.
        """
        self._framing.feed(raw)
        for piece in self._pieces:
            self._collector.feed(piece)
        self._pieces.clear()
        return False

    async def room(self) -> None:
        """Return at once."""

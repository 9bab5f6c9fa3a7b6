"""Does a chunked request body carry chunk extensions (request smuggling)?

llhttp skips them. Servers have disagreed about where one ends, and no client of an API needs any, so a body
with one is refused, as is one whose size lines have no end.
"""

from relayd.errors import UpstreamError
from relayd.router import Chunked


class ChunkLines:
    """A walk over the chunks of one body, fed as they arrive.

    Attributes:
        refused: A size line held more than a size.
    """

    __slots__ = ("_walk", "refused")

    def __init__(self) -> None:
        self._walk = Chunked()
        self.refused = False

    def __repr__(self) -> str:
        return f"<ChunkLines{' over' if self.over else ''}{' refused' if self.refused else ''}>"

    @property
    def over(self) -> bool:
        """Whether the body has ended, or is refused."""
        return self._walk.over or self.refused

    def feed(self, data: bytes) -> int:
        """Walk on, and return how many bytes of `data` belong to the body."""
        try:
            return self._walk.feed(data)
        except UpstreamError:
            self.refused = True
            return len(data)

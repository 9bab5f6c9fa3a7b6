"""How does a file travel between the machines of a hub: in blocks that its receiver asks for?

    node → hub: WANTED {"id": 1, "sha256": "…", "at": 0, "bytes": 65536}     hub → another node: likewise
    another node → hub: BLOCK 1 …                                            hub → node: BLOCK 1 …

Nothing is sent that was not asked for, so a receiver that stops is done, goes on where it was, and never gets
more at once than it asked for; an answer without bytes means that no machine has the file. What arrives is
checked against its SHA-256 by who asked.
"""

import asyncio
import struct
from collections.abc import Awaitable, Callable

from relayd.clock import Clock
from relayd.errors import LinkError
from relayd.remote.frames import DATA_BYTES, DocumentFrame, FrameKind
from relayd.remote.link import Link
from relayd.remote.messages import BlockWanted, framed

BLOCK_BYTES = DATA_BYTES
"""The longest block: tokens of other streams wait behind one at most."""

BLOCK_SECONDS = 30.0
"""How long a block may take."""

_ID = struct.Struct(">Q")

ReadBlock = Callable[[str, int, int], Awaitable[bytes]]
"""Returns bytes of the file of a SHA-256, from a place on; empty where it is not there."""


def block_frame(number: int, data: bytes) -> DocumentFrame:
    """Return the frame that carries a block."""
    return DocumentFrame(FrameKind.BLOCK, 0, _ID.pack(number) + data)


class Blocks:
    """Blocks that were asked for on one link and have not come yet.

    Args:
        link: Carries them.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self._last = 0

    def __repr__(self) -> str:
        return f"<Blocks waiting={len(self._waiting)}>"

    async def get(self, sha256: str, at: int, size: int) -> bytes:
        """Return a block of a file; empty where the other side does not have it.

        Raises:
            LinkError: None came in time.
        """
        self._last += 1
        number, waiting = self._last, asyncio.get_running_loop().create_future()
        self._waiting[number] = waiting
        try:
            self._link.send(framed(BlockWanted(number, sha256, at, size)))
            async with asyncio.timeout(BLOCK_SECONDS):
                found: bytes = await waiting
                return found
        except TimeoutError as error:
            raise LinkError(f"no block of a file came in {BLOCK_SECONDS:g} s") from error
        finally:
            del self._waiting[number]

    def take(self, frame: DocumentFrame) -> None:
        """Take a block that has come."""
        if len(frame.document) < _ID.size:
            return
        waiting = self._waiting.get(_ID.unpack_from(frame.document)[0])
        if waiting is not None and not waiting.done():
            waiting.set_result(frame.document[_ID.size :])

    def lose(self) -> None:
        """Fail what waits: the link is lost."""
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(LinkError("the link was lost"))


class Throttle:
    """Spreads bytes over time.

    Args:
        clock: Time.
        rate: Returns the most bytes a second; 0 lets none pass.
    """

    def __init__(self, clock: Clock, rate: Callable[[], float]) -> None:
        self._clock, self._rate = clock, rate
        self._free_at = 0.0

    def __repr__(self) -> str:
        return f"<Throttle {self.bytes_per_second:g} B/s>"

    @property
    def bytes_per_second(self) -> float:
        """The most; 0 lets none pass."""
        return self._rate()

    async def take(self, size: int) -> None:
        """Return when so many bytes may pass."""
        now = self._clock.monotonic()
        begins = max(now, self._free_at)
        self._free_at = begins + size / self.bytes_per_second
        await asyncio.sleep(begins - now)

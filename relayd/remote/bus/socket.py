"""How is a connection over the bus to a link what a WebSocket is: messages sent, received, and an end?"""

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import WSMessage, WSMsgType

from relayd.errors import LinkError
from relayd.remote.bus.pieces import Pieces, closing, pieces


class BusSocket:
    """One connection between a hub and a node, on two subjects of the bus.

    Args:
        publish: Sends a piece to the other side; raises ConnectionError while there is no bus.
        on_over: Called once, when nothing more is taken.
    """

    def __init__(self, publish: Callable[[bytes], Awaitable[None]], on_over: Callable[[], None]) -> None:
        self._publish = publish
        self._on_over = on_over
        self._came = Pieces()
        self._sent = 0
        self._ready: asyncio.Queue[WSMessage | LinkError] = asyncio.Queue()
        self._is_over = False

    def __repr__(self) -> str:
        return f"<BusSocket {'over' if self._is_over else 'open'} sent={self._sent} {self._came!r}>"

    def take(self, piece: bytes) -> None:
        """Take a piece that has come."""
        if self._is_over:
            return
        try:
            found = self._came.take(piece)
        except LinkError as error:
            self.lose(error)
            return
        if isinstance(found, str):
            self._end(WSMessage(WSMsgType.CLOSE, 1000, found))
        elif found is not None:
            self._ready.put_nowait(WSMessage(WSMsgType.BINARY, found, None))

    def lose(self, error: LinkError) -> None:
        """Take note that the connection is broken, and was not closed."""
        self._end(error)

    async def receive(self, timeout: float | None = None) -> WSMessage:  # noqa: ASYNC109 - aiohttp's signature
        """Return the next message, or that the other side has closed the connection.

        Raises:
            LinkError: The connection is broken.
            TimeoutError: Nothing came in time.
        """
        async with asyncio.timeout(timeout):
            found = await self._ready.get()
        if isinstance(found, LinkError):
            raise found
        return found

    async def send_bytes(self, data: bytes) -> None:
        """Send a message.

        Raises:
            ConnectionError: The connection is over, or there is no bus.
        """
        for piece in pieces(data, self._sent):
            if self._is_over:
                raise ConnectionResetError("the connection over the bus is over")
            self._sent += 1
            await self._publish(piece)

    async def close(self, *, code: int = 1000) -> bool:  # noqa: ARG002 - aiohttp's signature
        """Close the connection, and let the other side know."""
        if self._is_over:
            return False
        self._end(WSMessage(WSMsgType.CLOSED, None, None))
        await self._publish(closing("closed", self._sent))
        return True

    def _end(self, last: WSMessage | LinkError) -> None:
        if not self._is_over:
            self._is_over = True
            self._ready.put_nowait(last)
            self._on_over()

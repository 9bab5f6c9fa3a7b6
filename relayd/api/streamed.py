"""How is an answer written to a client by aiohttp's own means?"""

import asyncio
import socket
import struct

from aiohttp import HttpVersion11, web

from relayd.api.gate import is_last
from relayd.router import Fields


class StreamedClient:
    """A client of aiohttp's server, answered through a `StreamResponse`.

    Attributes:
        response: What was answered, for aiohttp; set by `begin`.
    """

    splices = False
    response: web.StreamResponse

    def __init__(self, request: web.BaseRequest) -> None:
        self._request = request
        self._unsent: list[bytes] = []

    def __repr__(self) -> str:
        return f"<StreamedClient sent={self.sent_bytes} unsent={len(self._unsent)} gone={self.is_gone}>"

    @property
    def is_gone(self) -> bool:
        """Whether nothing can be written to it any more."""
        transport = self._request.transport
        return transport is None or transport.is_closing()

    @property
    def sent_bytes(self) -> int:
        """Bytes that were written, the head included."""
        return self._request.writer.output_size

    def begin(self, status: int, fields: Fields, *, framed: bool) -> None:
        """Make the response; aiohttp frames it.

        Raises:
            ValueError: The body is framed already.
        """
        if framed:
            raise ValueError("aiohttp would frame a body again that is framed already")
        self.response = web.StreamResponse(status=status, headers=list(fields))

    def write(self, data: bytes) -> bool:
        """Keep bytes for `room`, which writes them."""
        self._unsent.append(data)
        return True

    async def room(self, stall_seconds: float) -> None:
        """Write what was kept.

        Raises:
            ConnectionError: The client has left.
            TimeoutError: It took nothing for `stall_seconds` and was cut off.
        """
        pieces, self._unsent = self._unsent, []
        if not self.response.prepared and is_last(self._request):
            self.response.force_close()
        await self.response.prepare(self._request)
        if self._request.method == "HEAD":
            return
        try:
            async with asyncio.timeout(stall_seconds):
                for piece in pieces:  # each is a chunk of its own, as the replica sent them
                    await self.response.write(piece)
        except TimeoutError:
            self.abort()
            raise

    async def end(self, stall_seconds: float) -> None:
        """Write what is left, and the mark of a complete body."""
        await self.room(stall_seconds)
        await self.response.write_eof()

    def close(self) -> None:
        """Close behind what was written: aiohttp can no longer add a final chunk."""
        if (transport := self._request.transport) is not None:
            transport.close()

    def abort(self) -> None:
        """Cut the client off; where only a close marks the end, by a reset."""
        transport = self._request.transport
        if transport is None:
            return
        if self._request.version < HttpVersion11 and self.response.content_length is None:
            linger = struct.pack("ii", 1, 0)
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        transport.abort()

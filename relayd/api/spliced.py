"""How do bytes reach a client of aiohttp's server as they are, framing included?

The one module that writes past aiohttp's response: bytes go into the client's transport, which
costs about a quarter of what aiohttp's own response costs. aiohttp sees a response that is already
written.
"""

import asyncio

from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.helpers import rfc822_formatted_time

from relayd.api.streamed import StreamedClient
from relayd.router import FULL_BYTES, Fields


def client_of(request: web.BaseRequest) -> StreamedClient:
    """Return the client behind a request, written to at the least cost that it allows."""
    if request.version == HttpVersion11 and request.method != "HEAD":
        return SplicedClient(request)
    return StreamedClient(request)


class Written(web.StreamResponse):
    """A response that aiohttp must neither begin nor end."""

    left_open = True

    def __init__(self, request: web.BaseRequest, status: int) -> None:
        super().__init__(status=status)
        self._client = request

    @property
    def prepared(self) -> bool:
        """Always true: aiohttp must never write a response head of its own."""
        return True

    @property
    def keep_alive(self) -> bool:
        """Whether aiohttp may read another request from this client."""
        return self._client.keep_alive and self.left_open

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Leave aiohttp nothing to begin."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Leave aiohttp nothing to end."""


class SplicedClient(StreamedClient):
    """A client that reads chunks; a body that is framed already goes past aiohttp's response."""

    splices = True

    def __init__(self, request: web.BaseRequest) -> None:
        super().__init__(request)
        self._written: Written | None = None
        self._head = b""

    def begin(self, status: int, fields: Fields, *, framed: bool) -> None:
        """Make the head, which goes out together with the first bytes."""
        if not framed:
            super().begin(status, fields, framed=False)
            return
        self.response = self._written = Written(self._request, status)
        lines = [f"HTTP/1.1 {status} {self._written.reason}"]
        lines += [f"{name}: {value}" for name, value in fields]
        lines.append(f"Date: {rfc822_formatted_time()}")
        if not self._request.keep_alive:
            lines.append("Connection: close")
        self._head = ("\r\n".join(lines) + "\r\n\r\n").encode()

    def write(self, data: bytes) -> bool:
        """Write bytes as they are; True when 256 KiB wait for the client, or it has left."""
        if self._written is None:
            return super().write(data)
        transport = self._request.transport
        if transport is None or transport.is_closing():
            return True
        if self._head:
            data, self._head = self._head + data, b""
        # More than nothing here is what keeps aiohttp from answering a second time.
        self._request.writer.output_size += len(data)
        transport.write(data)
        return transport.get_write_buffer_size() > FULL_BYTES

    async def room(self, stall_seconds: float) -> None:
        """Wait until the client has taken most of what waits.

        Raises:
            ConnectionError: It has left.
            TimeoutError: It took nothing for `stall_seconds` and was cut off.
        """
        if self._written is None:
            await super().room(stall_seconds)
            return None
        transport = self._request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client has left")
        while True:
            waiting = transport.get_write_buffer_size()
            try:
                async with asyncio.timeout(stall_seconds):
                    return await self._request.writer.drain()
            except TimeoutError:
                if transport.get_write_buffer_size() >= waiting:
                    transport.abort()
                    raise

    async def end(self, stall_seconds: float) -> None:
        """Send the head of an answer that has no body; the rest is out."""
        if self._written is None:
            await super().end(stall_seconds)
        elif self._head:
            self.write(b"")

    def close(self) -> None:
        """Close behind what was written, so that nothing follows it."""
        if self._written is not None:
            self._written.left_open = False
        super().close()

    def abort(self) -> None:
        """Cut the client off."""
        if self._written is not None:
            self._written.left_open = False
        super().abort()

"""How does a replica's answer reach a client by aiohttp's own means?"""

import asyncio
import socket
import struct
from collections.abc import Mapping
from contextlib import suppress

import msgspec
from aiohttp import HttpVersion11, web

from relayd.errors import UpstreamError
from relayd.router.headers import Head

_TAIL_BYTES = 16
_EVENT_END = b"\n\n"
_LAST_EVENT = b"data: [DONE]\n\n"

TRUNCATED_EVENT = b"data: %b\n\n" % msgspec.json.encode({
    "error": {
        "message": "The replica failed in the middle of this answer; what came before is incomplete.",
        "type": "server_error",
        "param": None,
        "code": UpstreamError.code,
    }
})  # fmt: skip
"""The last event of a stream that its replica did not finish. `[DONE]` never follows it."""


class Answer(web.StreamResponse):
    """A response whose body comes from a replica and is framed anew.

    For what the replica's own bytes cannot serve: HTTP/1.0 clients, which know no chunks, and
    answers that end with their connection, which would hide a truncation.

    Args:
        request: The client's.
        head: The replica's.
        headers: Fields of relayd's own.
        stall_seconds: How long the client may take nothing.

    Attributes:
        truncated: The replica failed after the first byte; the client has been told.
    """

    def __init__(
        self, request: web.BaseRequest, head: Head, headers: Mapping[str, str], *, stall_seconds: float
    ) -> None:
        super().__init__(status=head.status, headers=[*head.passing(), *headers.items()])
        self.content_length = head.length
        self.truncated = False
        self._client = request
        self._head = head
        self._stall_seconds = stall_seconds
        self._tail = b""
        self._pieces: list[bytes] = []
        self._framing = head.framing(self._pieces)

    async def start(self) -> None:
        """Begin the response."""
        await self.prepare(self._client)

    def take(self, raw: bytes) -> bool:
        """Take bytes of the replica; always asks for `room`, which writes them."""
        self._framing.feed(raw)
        return True

    async def room(self) -> None:
        """Write what was taken.

        Raises:
            TimeoutError: The client took nothing for `stall_seconds` and was cut off.
        """
        payload = b"".join(self._pieces)
        self._pieces.clear()
        self._remember(payload)
        if self._client.method == "HEAD":
            return
        try:
            async with asyncio.timeout(self._stall_seconds):
                await self.write(payload)
        except TimeoutError:
            self.abort()
            raise

    async def finish(self) -> None:
        """End the response.

        Raises:
            UpstreamError: It looks complete, but its last event is missing.
        """
        await self.room()
        if (
            self._framing.ends_with_connection
            and self._head.is_event_stream
            and self._tail[-14:] != _LAST_EVENT
        ):
            raise UpstreamError("The replica closed an event stream before its last event.")
        await self.write_eof()

    async def fail(self) -> None:
        """End the response so that nobody takes it for complete."""
        transport = self._client.transport
        if transport is None or transport.is_closing():
            return
        self.truncated = True
        if self._is_between_events:
            with suppress(ConnectionError):
                await self.write(TRUNCATED_EVENT)
            # What is written still goes out; aiohttp can no longer add a final chunk.
            transport.close()
        else:
            self.abort()

    def abort(self) -> None:
        """Cut the client off; where only a close tells the end, by a reset."""
        transport = self._client.transport
        if transport is None:
            return
        if self._client.version < HttpVersion11 and self.content_length is None:
            linger = struct.pack("ii", 1, 0)
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        transport.abort()

    def _remember(self, written: bytes) -> None:
        self._tail = (written if len(written) >= _TAIL_BYTES else self._tail + written)[-_TAIL_BYTES:]

    @property
    def _is_between_events(self) -> bool:
        return self._head.is_event_stream and self._tail.endswith(_EVENT_END)

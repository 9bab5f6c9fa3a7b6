"""How do a replica's bytes reach a client untouched?

The one module of this room that knows aiohttp from inside: bytes of the replica go into the
client's transport as they came, chunk framing included. That costs about a quarter of what
aiohttp's own client and response cost. aiohttp sees a response that is already written.
"""

import asyncio
from collections.abc import Mapping

from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.helpers import rfc822_formatted_time

from relayd.errors import RequestError
from relayd.router.answer import ReplicaAnswer, problem_of
from relayd.router.dialect import Dialect
from relayd.router.headers import Head
from relayd.units import KIB

_FULL = 256 * KIB
_CHUNK_END = b"\r\n"


def can_splice(request: web.BaseRequest, head: Head) -> bool:
    """Return whether this client can read the replica's framing, and see a truncation in it."""
    return (
        request.version == HttpVersion11
        and request.method != "HEAD"
        and (head.chunked or head.length is not None)
    )


class Splice(ReplicaAnswer):
    """A response in the replica's own framing, under a head of relayd's."""

    _transport: asyncio.Transport

    def __init__(
        self,
        request: web.BaseRequest,
        head: Head,
        headers: Mapping[str, str],
        dialect: Dialect,
        *,
        stall_seconds: float,
    ) -> None:
        super().__init__(request, head, headers, dialect, stall_seconds=stall_seconds)
        if head.chunked:
            self.headers["Transfer-Encoding"] = "chunked"
        self._writer = request.writer
        self._unsent = b""

    @property
    def prepared(self) -> bool:
        """Always true: aiohttp must never write a response head of its own."""
        return True

    @property
    def keep_alive(self) -> bool:
        """Whether aiohttp may read another request from this client."""
        return self._client.keep_alive and not self.truncated

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Leave aiohttp nothing to begin."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Leave aiohttp nothing to end."""

    async def start(self) -> None:
        """Make the head, which goes out together with the first bytes."""
        transport = self._client.transport
        if transport is None:
            raise ConnectionResetError("the client has left")
        self._transport = transport
        self.headers["Date"] = rfc822_formatted_time()
        if not self._client.keep_alive:
            self.headers["Connection"] = "close"
        lines = [f"HTTP/1.1 {self.status} {self.reason}", *(f"{k}: {v}" for k, v in self.headers.items())]
        self._unsent = ("\r\n".join(lines) + "\r\n\r\n").encode()

    def take(self, raw: bytes) -> bool:
        """Write bytes of the replica; True when 256 KiB wait for the client, or it has left."""
        if self._transport.is_closing():
            return True
        if self._unsent:
            self._tap.begin(raw)
            raw = self._unsent + raw
            self._unsent = b""
        else:
            self._tap.add(raw)
        # More than nothing here is what keeps aiohttp from answering a second time.
        self._writer.output_size += len(raw)
        self._transport.write(raw)
        return self._transport.get_write_buffer_size() > _FULL

    async def room(self) -> None:
        """Wait until the client has taken most of what waits.

        Raises:
            ConnectionError: It has left.
            TimeoutError: It took nothing for `stall_seconds` and was cut off.
        """
        if self._transport.is_closing():
            raise ConnectionResetError("the client has left")
        while True:
            waiting = self._transport.get_write_buffer_size()
            try:
                async with asyncio.timeout(self._stall_seconds):
                    return await self._writer.drain()
            except TimeoutError:
                if self._transport.get_write_buffer_size() >= waiting:
                    self._transport.abort()
                    raise

    async def finish(self) -> None:
        """Send the head of an answer that has no body."""
        if self._unsent:
            self.take(b"")

    async def fail(self, error: OSError | RequestError) -> str:
        """End the response without the chunk that would make it complete; return the code of the reason."""
        transport = self._client.transport
        if transport is None or transport.is_closing():
            return ""
        self.truncated = True
        problem = problem_of(error)
        if self._head.is_event_stream and self._tap.ends_with(self._dialect.event_end + _CHUNK_END):
            event = self._dialect.error_event(problem)
            chunk = b"%x\r\n%b\r\n" % (len(event), event)
            self._writer.output_size += len(chunk)
            transport.write(chunk)
        else:
            transport.abort()
        return problem.code

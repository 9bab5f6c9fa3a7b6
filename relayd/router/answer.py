"""How does a replica's answer reach a client by aiohttp's own means, framed anew?"""

import asyncio
import socket
import struct
from collections.abc import Mapping
from contextlib import suppress

from aiohttp import HttpVersion11, web

from relayd.errors import RequestError, UpstreamError
from relayd.router.dialect import CUT, Dialect, Problem, Translation
from relayd.router.headers import Head
from relayd.router.usage import Tap
from relayd.scheduler.exchange import Usage

_TAIL_BYTES = 16


class ReplicaAnswer(web.StreamResponse):
    """A response whose body comes from a replica and is framed anew.

    For what the replica's own bytes cannot serve: HTTP/1.0 clients, which know no chunks, answers
    that end with their connection, which would hide a truncation, and dialects that translate.

    Args:
        request: The client's.
        head: The replica's.
        headers: Fields of relayd's own.
        dialect: How errors and events are written.
        translation: Rewrites the body; None leaves it as it comes.
        stall_seconds: How long the client may take nothing.

    Attributes:
        truncated: The answer was ended before it was complete, and its client can see that.
    """

    def __init__(
        self,
        request: web.BaseRequest,
        head: Head,
        headers: Mapping[str, str],
        dialect: Dialect,
        translation: Translation | None = None,
        *,
        stall_seconds: float,
    ) -> None:
        super().__init__(status=head.status, headers=[*head.passing(), *headers.items()])
        self.truncated = False
        self._client = request
        self._head = head
        self._dialect = dialect
        self._translation = translation
        self._stall_seconds = stall_seconds
        self._tap = Tap()
        self._begun = False
        self._tail = b""
        self._pieces: list[bytes] = []
        self._framing = head.framing(self._pieces)
        if translation is None:
            self.content_length = head.length
        else:
            self.headers["Content-Type"] = translation.media_type

    @property
    def usage(self) -> Usage | None:
        """How many tokens the answer reports, once it is over."""
        return self._tap.usage()

    async def start(self) -> None:
        """Begin the response."""
        await self.prepare(self._client)

    def take(self, raw: bytes) -> bool:
        """Take bytes of the replica; always asks for `room`, which writes them."""
        if self._begun:
            self._tap.add(raw)
        else:
            self._begun = True
            self._tap.begin(raw)
        self._framing.feed(raw)
        return True

    async def room(self) -> None:
        """Write what was taken.

        Raises:
            TimeoutError: The client took nothing for `stall_seconds` and was cut off.
        """
        payload = b"".join(self._pieces)
        self._pieces.clear()
        if self._translation is not None:
            payload = self._translation.feed(payload)
        await self._send(payload)

    async def finish(self) -> None:
        """End the response.

        Raises:
            UpstreamError: It looks complete, but its last event is missing.
        """
        await self.room()
        last = self._dialect.last_event
        if self._translation is not None:
            await self._send(self._translation.end())
        elif self._framing.ends_with_connection and self._head.is_event_stream and not self._ends(last):
            raise UpstreamError("The replica closed an event stream before its last event.")
        await self.write_eof()

    async def fail(self, error: OSError | RequestError) -> str:
        """End the response so that it cannot be taken for complete, and return the code of the reason.

        Between two events a last one states why; elsewhere the connection is cut.

        Args:
            error: Why it cannot be finished.
        """
        transport = self._client.transport
        if transport is None or transport.is_closing():
            return ""
        self.truncated = True
        problem = problem_of(error)
        if self._is_between_events:
            with suppress(ConnectionError):
                await self.write(self._dialect.error_event(problem))
            # What is written still goes out; aiohttp can no longer add a final chunk.
            transport.close()
        else:
            self.abort()
        return problem.code

    def abort(self) -> None:
        """Cut the client off; where only a close marks the end, by a reset."""
        transport = self._client.transport
        if transport is None:
            return
        if self._client.version < HttpVersion11 and self.content_length is None:
            linger = struct.pack("ii", 1, 0)
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        transport.abort()

    async def _send(self, payload: bytes) -> None:
        self._tail = (self._tail + payload)[-_TAIL_BYTES:]
        if not payload or self._client.method == "HEAD":
            return
        try:
            async with asyncio.timeout(self._stall_seconds):
                await self.write(payload)
        except TimeoutError:
            self.abort()
            raise

    def _ends(self, ending: bytes) -> bool:
        return self._tail.endswith(ending)

    @property
    def _is_between_events(self) -> bool:
        return self._head.is_event_stream and self._ends(self._dialect.event_end)


def problem_of(error: OSError | RequestError) -> Problem:
    """Return what a client gets to know of an answer that ends with `error`."""
    return Problem.of(CUT if isinstance(error, OSError | UpstreamError) else error)

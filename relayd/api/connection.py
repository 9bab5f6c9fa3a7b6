"""How does one connection of a client begin, wait and end (keep-alive, limits, header deadline)?

What aiohttp 3.14.5 lacks: a deadline for request heads, limits on how many connections there
are, and errors of its own in our shape. What it has is left to it: it closes idle connections,
stops reading behind 32 pipelined requests, and refuses bad framing, a missing and a second Host
header. This is the only place in this room that touches names it does not document.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from aiohttp import web
from aiohttp.http_parser import HttpRequestParser, HttpRequestParserPy

from relayd.api.answer import REQUEST_ID, name_request
from relayd.api.errors import DIALECT, INTERNAL, error_answer
from relayd.errors import ListenError, RequestError
from relayd.journal import Journal
from relayd.router import Dialect

_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"
)
_LINGERING_SECONDS = 1
"""How long the rest of a refused body is read and dropped, so that its sender sees the answer."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What one client and all clients together may hold open.

    Attributes:
        header_seconds: How long a request head may take from its first byte (the first head of a
            connection: from its start).
        idle_seconds: How long a connection may wait between requests.
        connections: How many there may be.
        connections_per_peer: How many of them may come from one address.
    """

    header_seconds: float = 10
    idle_seconds: float = 75
    connections: int = 2048
    connections_per_peer: int = 1024


class ConnectionLimiter:
    """Counts open connections, in all and by peer, and refuses one too many.

    Connections with a lasting answer (an event stream) are counted apart: they take a place, but
    a drain does not wait for them.
    """

    def __init__(self, limits: ConnectionLimits) -> None:
        self._limits = limits
        self._by_peer: Counter[str] = Counter()
        self._lasting: set[Connection] = set()
        self._drained = asyncio.Event()
        self._drained.set()

    def __repr__(self) -> str:
        return (
            f"<ConnectionLimiter open={self._by_peer.total()} of {self._limits.connections} "
            f"peers={len(self._by_peer)} lasting={len(self._lasting)}>"
        )

    def enter(self, peer: str) -> bool:
        """Count a connection of `peer`, or return that there is no room for it."""
        crowded = self._by_peer[peer] >= self._limits.connections_per_peer
        if crowded or self._by_peer.total() >= self._limits.connections:
            return False
        self._by_peer[peer] += 1
        self._update()
        return True

    def leave(self, peer: str) -> None:
        """Forget a connection that entered."""
        self._by_peer[peer] -= 1
        if not self._by_peer[peer]:
            del self._by_peer[peer]
        self._update()

    def lasts(self, connection: "Connection", *, lasting: bool) -> None:
        """Note that a connection carries an answer without end, or no longer does."""
        (self._lasting.add if lasting else self._lasting.discard)(connection)
        self._update()

    def end_lasting(self) -> None:
        """Close every connection that carries an answer without end."""
        for connection in tuple(self._lasting):
            connection.force_close()

    async def drained(self) -> None:
        """Wait until no connection is open, except those with a lasting answer."""
        await self._drained.wait()

    def _update(self) -> None:
        if self._by_peer.total() > len(self._lasting):
            self._drained.clear()
        else:
            self._drained.set()


class Connection(web.RequestHandler):
    """aiohttp's connection, with a deadline for heads, a place at the limiter, and our errors."""

    __slots__ = ("_dialect", "_header_timer", "_kept", "_limiter", "_limits", "_mid_head", "_peer")

    def __init__(
        self,
        server: web.Server,
        limiter: ConnectionLimiter,
        limits: ConnectionLimits,
        loop: asyncio.AbstractEventLoop,
        dialect: Dialect,
        *,
        kept: bool = False,
    ) -> None:
        super().__init__(
            server,
            loop=loop,
            keepalive_timeout=limits.idle_seconds,
            lingering_time=_LINGERING_SECONDS,
            auto_decompress=False,
            access_log=None,  # type: ignore[arg-type]  # documented: None switches it off
        )
        self._dialect = dialect  # of a request that never reached the door
        self._limiter = limiter
        self._limits = limits
        self._kept = kept  # it has carried requests elsewhere, and may wait for its next one
        self._mid_head = False
        self._peer: str | None = None
        self._header_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, or turn the client away when there are too many."""
        super().connection_made(transport)
        peer = str(self.peername[0]) if self.peername else ""
        if self._limiter.enter(peer):
            self._peer = peer
            self._start_header_timer(self._limits.idle_seconds if self._kept else self._limits.header_seconds)
        elif self.transport is not None:
            self.transport.write(_FULL)
            self.force_close()

    def connection_lost(self, exc: BaseException | None) -> None:
        """End, and give the place back."""
        self._cancel_header_timer()
        if self._peer is not None:
            self._limiter.lasts(self, lasting=False)
            self._limiter.leave(self._peer)
            self._peer = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes; the first ones after a pause begin a head, which has its deadline."""
        heads, idle = self._request_count, self._is_idle()
        if self._kept:
            self._kept = False
            self._cancel_header_timer()
        if self._header_timer is None and idle:
            self._start_header_timer(self._limits.header_seconds)
        super().data_received(data)
        self._mid_head = idle and self._request_count == heads
        if self._request_count != heads:
            self._cancel_header_timer()
            self._break_body()

    def close(self) -> None:
        """Take no further request; an idle connection ends at once (aiohttp leaves it open)."""
        if self._is_idle():
            self.force_close()
        else:
            super().close()

    def detach(self) -> int | None:
        """Return a descriptor of an idle connection, now the caller's, and end here; None while it is in use.

        For the client nothing happens: what it sends next waits in the socket. Half a head that
        follows a body in one read is lost; only a client that pipelines sends one.
        """
        transport = self.transport
        if not self._is_idle() or self._mid_head or transport is None or transport.get_write_buffer_size():
            return None
        try:
            descriptor = os.dup(transport.get_extra_info("socket").fileno())
        except OSError:  # no descriptor is free: it stays
            return None
        transport.abort()
        return descriptor

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - it quotes the request, which its sender knows
    ) -> web.StreamResponse:
        """Answer a request that never reached the door, or that failed behind it.

        Raises:
            ConnectionResetError: The client has left.
            ConnectionAbortedError: The answer has begun.
        """
        if isinstance(exc, ConnectionResetError):
            raise exc
        request_id = request.get(REQUEST_ID) or name_request(request)
        if status >= 500:
            Journal("api").error("request.failed", trace=exc is not None, request_id=request_id)
        if request.writer.output_size > 0:
            raise ConnectionAbortedError("the answer has begun: only a close can end it now")
        answer = error_answer(INTERNAL if status >= 500 else _MALFORMED, request.get(DIALECT, self._dialect))
        answer.headers["X-Request-ID"] = request_id
        answer.force_close()
        return answer

    def lasts(self, *, lasting: bool) -> None:
        """Note that the current answer has no end of its own, or that it is over."""
        if self._peer is not None:
            self._limiter.lasts(self, lasting=lasting)

    def _break_body(self) -> None:
        """Fail the read of a body whose framing is broken; aiohttp lets it wait for the rest."""
        request = self._current_request
        if request is not None and not request.content.is_eof():
            request.content.set_exception(web.RequestPayloadError())

    def _is_idle(self) -> bool:
        """Return whether the next byte is the first of a head."""
        return self._waiter is not None and not self._waiter.done()

    def _start_header_timer(self, seconds: float) -> None:
        self._header_timer = self._loop.call_later(seconds, self.force_close)

    def _cancel_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None


@contextmanager
def lasting(request: web.BaseRequest) -> Iterator[None]:
    """Count a request's connection among those that a drain ends at once."""
    connection = request.protocol
    if not isinstance(connection, Connection):
        yield
        return
    connection.lasts(lasting=True)
    try:
        yield
    finally:
        connection.lasts(lasting=False)


_MALFORMED = RequestError(
    "The request is not well-formed HTTP/1.1.",
    remedy="Check the request line, the header fields and the framing.",
)


def require_c_parser(parser: type = HttpRequestParser) -> None:
    """Make sure that requests are parsed by llhttp: the other parser had every smuggling bug so far.

    Raises:
        ListenError: aiohttp was installed without its compiled parts, or set not to use them.
    """
    if parser is HttpRequestParserPy:
        raise ListenError(
            "aiohttp runs on its pure-Python HTTP parser, which is not safe to expose.",
            remedy="Unset AIOHTTP_NO_EXTENSIONS, or reinstall it.\npip install --force-reinstall "
            "--only-binary aiohttp aiohttp",
        )

"""How does one connection of a client begin, wait and end (keep-alive, limits, header deadline)?

What aiohttp 3.14.5 lacks: a deadline for request heads, limits on how many connections there
are, answers for clients that have half-closed, and errors of its own in our shape. What it has is
left to it: it closes idle connections, stops reading behind 32 pipelined requests, and refuses bad
framing, a missing and a second Host header. This is the only place in this room that touches names
it does not document.
"""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import HttpVersion11, web
from aiohttp.http_parser import HttpRequestParser, HttpRequestParserPy
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import _ErrInfo

from relayd.api.answer import REQUEST_ID, name_request
from relayd.api.chunks import ChunkLines
from relayd.api.errors import DIALECT, INTERNAL, error_answer
from relayd.api.halfclosed import HalfClosed
from relayd.api.limiter import HEALTH_PATHS, TOO_MANY, ConnectionLimiter, ConnectionLimits, Entry, Idleness
from relayd.errors import ListenError, RequestError
from relayd.journal import Journal
from relayd.router import ENDING, Dialect, Problem

_INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n"
_HEAD_END = b"\r\n\r\n"
_FOR_HEALTH_SECONDS = 2.0
"""How long the head of a health check may take on a connection beyond the limits."""

_LINGERING_SECONDS = 1
"""How long the rest of a refused body is read and dropped, so that its sender sees the answer."""


class Connection(web.RequestHandler):
    """aiohttp's connection, with a deadline for heads, a place at the limiter, and our errors."""

    __slots__ = (
        "_body", "_chunks", "_dialect", "_half_closed", "_header_timer", "_kept", "_limiter", "_limits",
        "_mid_head", "_peer", "_tail",
    )  # fmt: skip

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
        self._body: StreamReader = EMPTY_PAYLOAD  # of the newest request
        self._chunks: ChunkLines | None = None
        self._tail = b""  # of a head that has begun
        self._half_closed: HalfClosed | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; when there are too many, only for a health check or not at all."""
        super().connection_made(transport)
        peer = str(self.peername[0]) if self.peername else ""
        entry = self._limiter.enter(self, peer)
        if entry is Entry.REFUSED:
            self._write_refusal(TOO_MANY)
            self.force_close()
            return
        self._peer = peer
        seconds = self._limits.idle_seconds if self._kept else self._limits.header_seconds
        if entry is Entry.FOR_HEALTH:
            seconds = min(seconds, _FOR_HEALTH_SECONDS)
            self._request_handler = self._serve_health
        self._start_header_timer(seconds)

    def connection_lost(self, exc: BaseException | None) -> None:
        """End, and give the place back."""
        self._cancel_header_timer()
        if self._half_closed is not None:
            self._half_closed.stop()
        self._leave()
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]  # aiohttp never keeps such a connection
        """Keep the connection of a client that sends no more, until what it asked for is answered."""
        if not self._request_count or self._is_idle() or self._force_close:
            return False
        if not self._body.is_eof():
            if not self._keepalive:  # the request was refused, and its body is being dropped
                return False
            self._fail_body(self._body)
        self._half_closed = HalfClosed(self, self._loop)
        return True

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
            message, self._body = self._messages[-1]
            if idle and getattr(message, "chunked", False):
                self._find_chunks(self._tail + data, self._request_count - heads)
            self._tail = b""
        elif self._mid_head:
            self._tail = (self._tail + data)[-3:]
        elif self._chunks is not None:
            self._check_chunks(self._chunks, data)

    def close(self) -> None:
        """Take no further request; an idle connection ends at once (aiohttp leaves it open).

        Half a head is answered: its sender could count on the connection that was kept for it.
        """
        if self._is_idle():
            if self._mid_head:
                self._write_refusal(ENDING)
            self.force_close()
            return
        self._say_close()
        super().close()

    def idleness(self) -> Idleness:
        """Return whether it may be closed without harm."""
        if not self._is_idle():
            return Idleness.BUSY
        return Idleness.IN_HEAD if self._mid_head else Idleness.IDLE

    def give_way(self) -> None:
        """Close an idle connection, and give its place to another at once."""
        self._leave()
        self.force_close()

    def is_answered(self) -> bool:
        """Return whether everything that was asked has been answered."""
        return self._is_idle()

    def fileno(self) -> int:
        """Return the descriptor; -1 once it is closed."""
        transport = self.transport
        return -1 if transport is None else int(transport.get_extra_info("socket").fileno())

    def probe(self) -> bool:
        """Send an interim response before an answer of HTTP/1.1 begins; return whether that is done."""
        request, transport = self._current_request, self.transport
        if request is None or transport is None:
            return False
        self._say_close()
        if request.version >= HttpVersion11 and not request.writer.output_size:
            transport.write(_INTERIM)
        return True

    def abort(self) -> None:
        """Close, and cancel the request that runs."""
        if self.transport is not None:
            self.transport.abort()

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

    def _find_chunks(self, data: bytes, count: int) -> None:
        """Check the chunks of the newest `count` requests, whose heads and bodies begin in `data`."""
        at = 0
        for message, body in list(self._messages)[-count:]:
            at = data.find(_HEAD_END, at) + len(_HEAD_END)
            if at < len(_HEAD_END) or isinstance(message, _ErrInfo):
                return
            if not message.chunked:
                at += int(message.headers.get("Content-Length", "0"))
                continue
            self._body, lines = body, ChunkLines()
            at += self._check_chunks(lines, data[at:])

    def _check_chunks(self, lines: ChunkLines, data: bytes) -> int:
        """Go on over the chunks of the newest request, and fail it if they have extensions."""
        taken = lines.feed(data)
        self._chunks = None if lines.over else lines
        if lines.refused:
            self._fail_body(self._body)
        return taken

    def _fail_body(self, body: StreamReader) -> None:
        """Have a body that is broken refused, and its connection closed behind the answer."""
        body.set_exception(web.RequestPayloadError())
        self._lingering_time = 0  # it would read on, and raise what was just set

    def _say_close(self) -> None:
        """Have an answer that has not begun announce that the connection closes behind it."""
        if self._current_request is not None:
            known = vars(self._current_request)  # `keep_alive` is computed once, from the message
            known["_message"] = known["_message"]._replace(should_close=True)

    async def _serve_health(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a health check on a connection beyond the limits, and refuse everything else."""
        server = self._manager
        if server is not None and request.raw_path.partition("?")[0] in HEALTH_PATHS:
            answer = await server.request_handler(request)
        else:
            answer = error_answer(TOO_MANY, self._dialect)
        answer.force_close()
        return answer

    def _write_refusal(self, error: RequestError) -> None:
        """Write a 503 where no request has been read."""
        body = self._dialect.error_body(Problem.of(error))
        if self.transport is not None:
            self.transport.write(
                b"HTTP/1.1 503 Service Unavailable\r\nServer: relayd\r\nConnection: close\r\n"
                b"Retry-After: 1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
                % (len(body), body)
            )

    def _leave(self) -> None:
        if self._peer is not None:
            self._limiter.leave(self, self._peer)
            self._peer = None

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

"""How does aiohttp's server answer a request that the lane has framed (gate)?

aiohttp gets one request at a time and takes a gate for its transport. What it writes goes to the
client; its access logger reports that an answer is over. Its keep-alive timer and its
idea of an idle connection decide nothing.
"""

import asyncio
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, cast

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpRequestParser, HttpRequestParserPy

from relayd.api.arrival import BodyEnd, ByChunks, ByLength, UntilEnd
from relayd.api.head import RequestHead
from relayd.errors import ListenError, RequestError
from relayd.journal import Journal

_NEVER_SECONDS = 365.0 * 24 * 3600


class Connection(Protocol):
    """What a gate needs of the connection behind it."""

    transport: asyncio.Transport

    @property
    def may_continue(self) -> bool:
        """Whether another request may follow the one that is answered."""
        ...

    def finished(self, *, keep_alive: bool, complete: bool) -> None:
        """The answer to the current request is over."""
        ...

    def lasts(self, *, lasting: bool, others: bool = False) -> None:
        """The current answer has no end of its own, or it is over; it may carry requests of others."""
        ...


class Passed:
    """A request that aiohttp answers, while its body arrives and until its answer is over.

    Attributes:
        is_broken: Its body does not end as its head declares.
        is_unanswered: An interim answer may be sent to it.
    """

    __slots__ = ("_answered", "_end", "_gate", "is_broken", "is_unanswered")

    def __init__(self, gate: "Gate", head: RequestHead) -> None:
        self._gate = gate
        self._end: BodyEnd = ByChunks() if head.length is None else ByLength(head.length)
        self._answered = False
        self.is_broken = False
        self.is_unanswered = head.version == (1, 1)

    def feed(self, data: bytes) -> bytes:
        """Pass on what belongs to the body, and return the rest."""
        if self.is_broken:
            return b""
        try:
            taken = self._end.feed(data, [])
        except RequestError:
            self._break_body()
            return b""
        if taken:
            self._gate.pass_on(data[:taken])
        if self._answered and self._end.is_over:
            self._gate.connection.finished(keep_alive=True, complete=True)
        return data[taken:]

    def no_more(self) -> None:
        """Take note that the client sends nothing more; behind an upgrade that ends the connection."""
        if isinstance(self._end, UntilEnd):
            self._gate.connection.transport.close()
        elif not self._end.is_over:
            self._break_body()

    def upgrade(self) -> None:
        """Pass on whatever comes from now on: the connection uses another protocol."""
        self._end = UntilEnd()

    def _break_body(self) -> None:
        self.is_broken = True
        self._gate.break_body()

    def answered(self, *, keep_alive: bool) -> None:
        """The answer is written; aiohttp closes its gate itself unless more may follow."""
        if not keep_alive or self.is_broken:
            return
        self._answered = True
        if self._end.is_over:
            self._gate.connection.finished(keep_alive=True, complete=True)


class Gate(asyncio.Transport):
    """The transport that one of aiohttp's handlers writes to, made when a connection first needs it.

    Attributes:
        connection: Whose gate it is.
        current: The request that is being answered.
    """

    current: Passed

    def __init__(self, connection: Connection, server: web.Server) -> None:
        super().__init__()
        self.connection = connection
        self._closed = False
        self._request: web.BaseRequest | None = None
        self._handler = server()
        self._handler.connection_made(self)

    def __repr__(self) -> str:
        return f"<Gate {'closed' if self._closed else 'open'}>"

    def open_for(self, raw: bytes, head: RequestHead) -> Passed:
        """Begin a request."""
        self._request = None
        self.current = Passed(self, head)
        self._handler.data_received(raw)
        return self.current

    def pass_on(self, data: bytes) -> None:
        """Give the handler a part of the request's body."""
        self._handler.data_received(data)

    def began(self, request: web.BaseRequest) -> None:
        """Take note of aiohttp's own request."""
        self._request = request
        if self.current.is_broken:
            self.break_body()

    def break_body(self) -> None:
        """Fail the read of a body whose framing is broken; aiohttp would wait for the rest."""
        if self._request is not None:
            self._request.content.set_exception(web.RequestPayloadError())

    def lost(self, exc: BaseException | None) -> None:
        """End the handler: the client has left."""
        self._closed = True
        self._handler.connection_lost(exc)

    def lasts(self, *, lasting: bool) -> None:
        """Take note that the current answer has no end of its own, or that it is over."""
        self.connection.lasts(lasting=lasting)

    def pause_handler(self) -> None:
        """Have the handler wait until the client has taken what was written."""
        self._handler.pause_writing()

    def resume_handler(self) -> None:
        """Let the handler write again."""
        self._handler.resume_writing()

    # What aiohttp asks of a transport:

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what is known of the connection."""
        return self.connection.transport.get_extra_info(name, default)

    def is_closing(self) -> bool:
        """Return whether nothing more can be written."""
        return self._closed or self.connection.transport.is_closing()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write a part of the answer."""
        self.current.is_unanswered = False
        self.connection.transport.write(data)

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Write parts of the answer."""
        self.current.is_unanswered = False
        self.connection.transport.writelines(list_of_data)

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait for the client."""
        return self.connection.transport.get_write_buffer_size()

    def pause_reading(self) -> None:
        """Read no more of the request's body."""
        self.connection.transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        if not self.connection.transport.is_closing():
            self.connection.transport.resume_reading()

    def close(self) -> None:
        """End the connection behind the answer."""
        if not self._closed:
            self._closed = True
            self.connection.finished(keep_alive=False, complete=True)

    def abort(self) -> None:
        """Cut the connection off."""
        self._closed = True
        self.connection.transport.abort()


class EndOfAnswer(AbstractAccessLogger):
    """Passes on that an answer is over."""

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:  # noqa: ARG002 - aiohttp's signature
        """Take note of an answer that was written."""
        gate = request.transport
        if isinstance(gate, Gate):
            gate.current.answered(keep_alive=bool(response.keep_alive))


def upgrade(request: web.BaseRequest) -> None:
    """Let the connection of a request use another protocol; its handler answers 101."""
    gate = request.transport
    if isinstance(gate, Gate):
        gate.current.upgrade()


@contextmanager
def carry_others(request: web.BaseRequest) -> Iterator[None]:
    """Take a connection for one that carries requests of others: a drain neither ends nor waits for it."""
    gate = request.transport
    if not isinstance(gate, Gate):
        yield
        return
    gate.connection.lasts(lasting=True, others=True)
    try:
        yield
    finally:
        gate.connection.lasts(lasting=False, others=True)


def is_last(request: web.BaseRequest) -> bool:
    """Return whether the connection of a request ends behind its answer, whatever its client asks for."""
    gate = request.transport
    return isinstance(gate, Gate) and not gate.connection.may_continue


class FaultLog(logging.LoggerAdapter[logging.Logger]):
    """aiohttp's log, in which a request that it refuses is one line: a client's mistake has no stack."""

    def exception(self, msg: object, *args: object, exc_info: Any = True, **kwargs: Any) -> None:
        """Log a failure of aiohttp itself with its stack, and a refused request without."""
        refused = exc_info if isinstance(exc_info, HttpProcessingError) else None
        if refused is None:
            super().exception(msg, *args, exc_info=exc_info, **kwargs)
            return
        Journal("api").warning("request.unreadable", error=type(refused).__name__, message=refused.message)


def aiohttp_server(handler: Any, *, lingering_seconds: float) -> web.Server:
    """Return aiohttp's server behind the lane."""

    async def serve(request: web.BaseRequest) -> web.StreamResponse:
        gate = request.transport
        if isinstance(gate, Gate):
            gate.began(request)
        response = cast("web.StreamResponse", await handler(request))
        if not response.prepared and is_last(request):
            response.force_close()
        return response

    return web.Server(
        serve,
        handler_cancellation=True,
        keepalive_timeout=_NEVER_SECONDS,
        lingering_time=lingering_seconds,
        auto_decompress=False,
        access_log_class=EndOfAnswer,
        logger=FaultLog(logging.getLogger("aiohttp.server")),
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

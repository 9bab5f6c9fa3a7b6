"""How is one request read from a lane and answered through it, without aiohttp in between?

What the router asks of a client (`Recipient`) and what an inference route asks of a request
(`Incoming`), both on the lane's own transport.
"""

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Protocol

import msgspec

from relayd.api.admission import Admitted, RequestContext
from relayd.api.answer import Answer
from relayd.api.arrival import ArrivingBody, BodyEnd, ByChunks, ByLength
from relayd.api.body import BROKEN
from relayd.api.errors import INTERNAL, error_answer
from relayd.api.guard import Headers
from relayd.api.head import RequestHead, encode_answer, encode_known
from relayd.api.known import KnownHead
from relayd.api.lanes import Lanes
from relayd.errors import RequestError
from relayd.journal import Journal
from relayd.router import AnswerFields, Dialect, EagerRun, Fields
from relayd.router.eager import Cancellable
from relayd.router.recipient import VARIES

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Connected(Protocol):
    """What a request needs of the connection that it came on."""

    transport: asyncio.Transport
    is_blocked: bool
    lanes: Lanes

    @property
    def peer(self) -> str:
        """The client's address."""
        ...

    @property
    def may_continue(self) -> bool:
        """Whether another request may follow."""
        ...

    @property
    def date(self) -> str:
        """The time of day as an answer carries it."""
        ...

    def wait_for(self, seconds: float) -> None:
        """Give the client this long; then `overdue` is called."""
        ...

    def wait_no_more(self) -> None:
        """Take the deadline back."""
        ...

    def pause(self) -> None:
        """Read nothing more from the client for now."""
        ...

    def resume(self) -> None:
        """Read on."""
        ...

    def force_close(self) -> None:
        """Close behind what was written."""
        ...

    def abort(self, *, reset: bool = False) -> None:
        """Cut the client off."""
        ...

    def finished(self, *, keep_alive: bool, complete: bool) -> None:
        """The answer is over."""
        ...


class Direct(msgspec.Struct, eq=False):
    """A request that the lane answers.

    Attributes:
        line: Its connection.
        keep_alive: Whether another request may follow on its connection.
        sent_bytes: Bytes of the answer that were written, its head included.
        splices: Whether the client reads chunks.
        body: What came at once, or what takes it piece by piece.
    """

    line: Connected
    _head: RequestHead
    _declared: int | None
    splices: bool
    keep_alive: bool
    sent_bytes: int = 0
    body: bytes | ArrivingBody | None = None
    _end: BodyEnd | None = None
    """Finds the end of one that comes in pieces."""
    _chunked: bool = False
    _unsent: bytes = b""
    _run: Cancellable | None = None
    _waiter: asyncio.Future[None] | None = None
    _waiting: int = 0

    def __repr__(self) -> str:
        return f"<Direct {self._head.method} {self._head.target} sent={self.sent_bytes} {self._end!r}>"

    # As it arrives:

    @property
    def headers(self) -> Headers:
        """Its header fields."""
        return self._head.headers

    @property
    def peer(self) -> str:
        """The client's address."""
        return self.line.peer

    @property
    def length(self) -> int:
        """Bytes that its head declares."""
        return self._declared or 0

    @property
    def is_json(self) -> bool:
        """Whether its head declares its body as JSON and as nothing else."""
        return self._head.is_json

    @property
    def has_arrived(self) -> bool:
        """Whether all of its body is here."""
        return self._end.is_over if self._end is not None else self.body is not None

    @property
    def content(self) -> ArrivingBody:
        """Its body, piece by piece."""
        if not isinstance(whole := self.body, ArrivingBody):
            self.body = ArrivingBody(self.line.resume, complete=self.has_arrived)
            if whole:
                self.body.feed([whole], complete=True)
            return self.body
        return whole

    def whole(self) -> bytes | None:
        """Return the body, if all of it is here."""
        if isinstance(body := self.body, bytes):
            self.body = b""
            return body
        return self.content.read_nowait() if self.has_arrived else None

    async def go_on(self) -> None:
        """Ask a client that waits for it to send the body."""
        if self._head.expects and not self.has_arrived:
            self.line.transport.write(CONTINUE)

    def feed(self, data: bytes) -> bytes:
        """Take what belongs to the body, and return the rest."""
        if self._end is None:
            if self.body is not None:
                return data
            declared = self._declared
            if declared is not None and len(data) >= declared:
                self.body = data[:declared]
                return data[declared:]
            self._end = ByChunks() if declared is None else ByLength(declared)
        return self._feed(self._end, data)

    def _feed(self, end: BodyEnd, data: bytes) -> bytes:
        if end.is_over:
            return data
        if self.content.is_broken:
            return b""
        pieces: list[bytes] = []
        try:
            taken = end.feed(data, pieces)
        except RequestError:
            self.break_body()
            return b""
        self.content.feed(pieces, complete=end.is_over)
        if self.content.is_full:
            self.line.pause()
        return data[taken:]

    def break_body(self) -> None:
        """Fail the read of the body, whose framing is broken; where a next request begins is unknown."""
        self.keep_alive = False
        self.content.fail(BROKEN)

    def no_more(self) -> None:
        """Take note that the client sends nothing more."""
        if not self.has_arrived:
            self.break_body()

    # As it is answered:

    @property
    def is_unanswered(self) -> bool:
        """Whether an interim answer may be sent to it."""
        return self.splices and not self.sent_bytes

    def serve(self, admitted: Admitted, context: RequestContext) -> None:
        """Have its route answer it."""
        if (answer := admitted.route.direct) is not None:
            self.line.lanes.needs_coroutine()
            work = answer(self, self, context)
            self._run = EagerRun(self.carry_out(work, admitted.dialect, context.headers))

    def go_straight(self, known: KnownHead) -> bool:
        """Have its route answer it without a coroutine; return whether that is possible."""
        straight, body = known.straight, self.body
        if straight is None or not isinstance(body, bytes):
            return False
        passage = straight.prepare(self, known.admitted.context, (known.name(), known.others), body)
        if passage is None:
            return False
        self.body = b""
        self._run = passage
        if not passage.start():
            self.line.lanes.needs_coroutine()
        return True

    def cancel(self) -> None:
        """End it: the client has left."""
        if self._run is not None:
            self._run.cancel()

    def refuse(self, answer: Answer) -> None:
        """Answer it with what the door answers, and end.

        The next request is begun by the event loop: a thousand refused ones in one write would
        nest as deep.
        """
        self.keep_alive = self.keep_alive and self.has_arrived
        self.answer(answer)
        asyncio.get_running_loop().call_soon(self.finish)

    async def carry_out(self, work: Awaitable[None], dialect: Dialect, headers: Mapping[str, str]) -> None:
        """Wait for the work that answers it, answer what that raises, and finish."""
        try:
            await work
        except RequestError as error:
            refusal = error_answer(error, dialect, unread=not self.has_arrived)
            self.answer(refusal.carrying(headers))
        except ConnectionError:
            self.line.abort()
        except Exception:  # noqa: BLE001 - every fault is answered, or cuts the answer off
            Journal("api").error("request.failed", trace=True, request_id=headers["X-Request-ID"])
            self.answer(error_answer(INTERNAL, dialect, unread=True).carrying(headers))
        self.finish()

    def finish(self) -> None:
        """Go on with the connection: the answer is over."""
        self.line.finished(keep_alive=self.keep_alive, complete=self.has_arrived)

    def answer(self, answer: Answer) -> None:
        """Write a whole answer, or cut the client off when another one has begun."""
        if self.sent_bytes or self._unsent:
            self.line.abort()
            return
        self.keep_alive = self.keep_alive and not answer.closes
        self.begin(answer.status, answer.sized(), framed=True)
        self.write(answer.body)

    @property
    def is_gone(self) -> bool:
        """Whether nothing can be written any more."""
        return self.line.transport.is_closing()

    def begin(self, status: int, fields: Fields, *, framed: bool) -> None:
        """Make the head of the answer; it goes out together with the first bytes."""
        if not framed:
            fields = self._framed([*fields])
        line, version = self.line, self._head.version
        self.keep_alive = keep_alive = self.keep_alive and line.may_continue
        self._unsent = encode_answer(status, fields, line.date, keep_alive=keep_alive, version=version)

    def begin_known(self, known: AnswerFields, request_id: str) -> None:
        """Make the head of a success in chunks from fields that were encoded before."""
        line = self.line
        if not (self.splices and self.keep_alive and line.may_continue):
            self.begin(200, known.filled(request_id, None), framed=True)
            return
        if not known.encoded:
            known.encoded = encode_known(known.fields, VARIES)
        self._unsent = known.encoded % (request_id.encode(), line.date.encode())

    def write_known(self, known: AnswerFields, request_id: str, whole: bytes) -> None:
        """Write a whole success behind such a head."""
        line = self.line
        if not (self.splices and self.keep_alive and line.may_continue):
            self.begin(200, known.filled(request_id, len(whole)), framed=True)
            self.write(whole)
            return
        if not known.encoded:
            known.encoded = encode_known(known.fields, VARIES)
        head = known.encoded % (request_id.encode(), b"%d" % len(whole), line.date.encode())
        self.sent_bytes = len(head) + len(whole)
        line.transport.write(head + whole)

    def _framed(self, fields: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """Return fields that say how the body ends: without a length in chunks, if the client reads them."""
        if not any(name == "Content-Length" for name, _ in fields):
            if self.splices:
                self._chunked = True
                fields.append(("Transfer-Encoding", "chunked"))
            else:
                self.keep_alive = False
        return fields

    def write(self, data: bytes) -> bool:
        """Write a part of the body; True asks for no more until `room` has returned."""
        line = self.line
        transport = line.transport
        if line.is_blocked and transport.is_closing():
            return True
        if self._chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        if self._unsent:
            data, self._unsent = self._unsent + data, b""
        self.sent_bytes += len(data)
        transport.write(data)
        return line.is_blocked

    async def room(self, stall_seconds: float) -> None:
        """Return when the client has taken most of what was written.

        Raises:
            ConnectionError: It has left.
            TimeoutError: It took nothing for `stall_seconds` and was cut off.
        """
        line = self.line
        while line.is_blocked:
            if line.transport.is_closing():
                raise ConnectionResetError("the client has left")
            self._waiting = line.transport.get_write_buffer_size()
            self._waiter = asyncio.get_running_loop().create_future()
            line.wait_for(stall_seconds)
            try:
                await self._waiter
            finally:
                line.wait_no_more()
                self._waiter = None

    def has_room(self) -> None:
        """Wake who waits for room."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def overdue(self) -> None:
        """Cut a client off that took nothing; one that took a little is given more time."""
        if self._waiter is None or self._waiter.done():
            return
        if self.line.transport.get_write_buffer_size() < self._waiting:
            self._waiter.set_result(None)
        else:
            self.line.abort()
            self._waiter.set_exception(TimeoutError("the client took nothing of its answer"))

    async def end(self, stall_seconds: float) -> None:  # noqa: ARG002 - aiohttp's client has to wait here
        """Mark the answer as complete."""
        if self._chunked:
            self._chunked = False
            self.write(b"0\r\n\r\n")
        elif self._unsent:
            self.write(b"")

    def close(self) -> None:
        """Close the connection behind what was written."""
        self.keep_alive = False
        self.line.force_close()

    def abort(self) -> None:
        """Cut the client off; where only a close marks the end of an answer, by a reset."""
        self.keep_alive = False
        self.line.abort(reset=not self.splices)

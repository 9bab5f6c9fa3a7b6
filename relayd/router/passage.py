"""How does a request go straight to a replica, and its answer straight back (passage)?

Most requests find a free slot, a kept connection, and an answer without a fault. For these there is no task,
no coroutine and no future: what reads from one connection writes to the other.

    state       what comes                          what is done
    begun       the answer to a plain request       it is written, and all is over
                the first event of a stream         head and event are written: passing
                the same, to be collected           it is held: collecting
    collecting  the end of the stream               the plain answer is made and written, and all is over
    passing     an event                            it is written
                the end of the stream               all is over
    any         whatever else there is              a coroutine goes on from there (`hand_over`)

Whatever else: no slot or connection is free, a replica refuses, fails or hangs up, the client leaves or is
slow, the request is to be moved, interrupted or continued. What is done then is written once, in `attempts`,
`proxy` and `relaying`; so nothing here retries, refuses or ends an answer early.
"""

from collections.abc import Callable, Coroutine, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Protocol

import msgspec

from relayd.errors import UpstreamError
from relayd.router.collect import Collector, begins_with_failure
from relayd.router.dialect import Dialect, as_it_came
from relayd.router.eager import EagerRun
from relayd.router.estimate import estimated
from relayd.router.headers import OWN_FIELDS, Call, Head
from relayd.router.kept import MOST_KEPT, tap_of
from relayd.router.lease import Lease
from relayd.router.pool import Begun, Pools
from relayd.router.recipient import VARIES, AnswerFields, StraightRecipient
from relayd.router.upstream import Upstream
from relayd.router.usage import Tap, usage_in
from relayd.scheduler.exchange import Usage

_OK = 200
_NOTHING: Mapping[str, str] = MappingProxyType({})

FieldPairs = tuple[tuple[str, str], ...]


class PassageOwner(Protocol):
    """Who begins passages."""

    @property
    def pools(self) -> Pools:
        """Connections to replicas."""
        ...

    def over(self, passage: "Passage") -> None:
        """Take note that one is over, answered as a whole."""
        ...

    def resume(self, passage: "Passage") -> Coroutine[Any, Any, None]:
        """Return the coroutine that goes on with one, to its end."""
        ...


class Passage(msgspec.Struct, eq=False):
    """One request on its way.

    Attributes:
        owner: Knows what is done before and after it.
        client: Whose it is.
        call: What a replica gets.
        lease: Not entered yet.
        dialect: How refusals and broken answers are written.
        others: What the head of the answer carries besides the request's id and the replica's own fields.
        body_bytes: What the request's body takes.
        upstream: The connection that it was sent on; None before that.
        tap: Reads what passes; None before anything does.
    """

    owner: PassageOwner
    client: StraightRecipient
    call: Call
    lease: Lease
    dialect: Dialect
    others: FieldPairs
    body_bytes: int
    upstream: Upstream | None = None
    tap: Tap | None = None
    _run: EagerRun | None = None
    _kept: list[bytes] = []
    _is_collecting: bool = False

    def __repr__(self) -> str:
        state = "handed over" if self._run else "passing" if self.tap else "waiting"
        return f"<Passage {state} {self.call.path} {self.upstream!r}>"

    @property
    def headers(self) -> Mapping[str, str]:
        """What the head of the answer carries besides the replica's own fields."""
        return {"X-Request-ID": self.lease.record.request_id, **dict(self.others)}

    @property
    def begun(self) -> Begun | None:
        """On which connection a replica has got the request, and whether its answer has begun."""
        return None if self.upstream is None else (self.upstream, self._is_collecting)

    def start(self) -> bool:
        """Take a slot and send the request, if there is one; return whether no coroutine was needed."""
        lease, call = self.lease, self.call
        endpoint = lease.enter(self, lease.record.arrived_at)
        upstream = None
        if endpoint is not None and not lease.suspects.refusing:
            upstream = self.upstream = self.owner.pools.kept(endpoint)
        if upstream is None:
            self.hand_over()
            return False
        lease.begin(call, (self.client, self.dialect, self.headers if self.others else _NOTHING), upstream)
        upstream.begin(call, self)
        if upstream.error is not None:
            self.hand_over()
        return upstream.error is None

    def hand_over(self) -> EagerRun:
        """Have a coroutine go on, and return what runs it."""
        if self._run is None:
            self._run = EagerRun(self.owner.resume(self))
        return self._run

    def cancel(self) -> None:
        """End the request: its client has left, or it is moved, interrupted or given back."""
        self.hand_over().cancel()

    def uncancel(self) -> int:
        """Take one cancellation back, and return how many are left."""
        return self.hand_over().uncancel()

    def hindrance(self) -> str:
        """Return what prevents the answer from being continued now; empty when nothing does."""
        self.hand_over()
        relaying = self.lease.relaying
        return "" if relaying is None or relaying is self else relaying.hindrance()

    def go_on(self) -> None:
        """Look at the connection: the answer has begun, is over or has failed, or its client is slow."""
        upstream, call = self.upstream, self.call
        if upstream is None or upstream.error is not None or upstream.is_paused:
            self.hand_over()
        elif self.tap is not None:
            self._end(upstream, self.tap.usage())
        elif upstream.head.status != _OK or not self._takes_bytes:
            self.hand_over()
        elif call.collector is not None:
            self._collect(upstream, call.collector)
        elif call.stream:
            self._pass(upstream)
        elif upstream.is_over and (upstream.head.chunked or upstream.head.length is not None):
            self._answer(upstream, upstream.head, upstream.take_whole() or b"")
        else:
            self.hand_over()

    @property
    def _takes_bytes(self) -> bool:
        """Whether the client gets a replica's bytes as they are, behind a head that is not out yet."""
        client = self.client
        return client.splices and not client.sent_bytes and self.dialect.translation is as_it_came

    def _answer(self, upstream: Upstream, head: Head, whole: bytes) -> None:
        """Write a plain answer, framed as its head states."""
        lease = self.lease
        if lease.width > 1:
            tap = tap_of(self.call, head, several=True, may_continue=False)
            tap.add(whole)
            usage = tap.usage()
        else:
            usage = usage_in(whole)
        self.client.write_known(self._fields(upstream, head), lease.record.request_id, whole)
        self._end(upstream, usage)

    def _collect(self, upstream: Upstream, collector: Callable[[], Collector]) -> None:
        """Hold a stream until it is over, and answer with what it makes."""
        head = upstream.head
        if not head.is_event_stream or begins_with_failure(upstream.first_bytes):
            self.hand_over()
        elif not upstream.is_over:
            if self._is_collecting:  # it is too long to be held
                self.hand_over()
            else:
                self._is_collecting = True
                upstream.hold_on()
        elif (whole := _collected(collector(), upstream.payload())) is None:
            self._is_collecting = True
            self.hand_over()
        else:
            self._answer(upstream, head.of_plain(len(whole), _OK), whole)

    def _pass(self, upstream: Upstream) -> None:
        """Begin to write a stream."""
        head, lease = upstream.head, self.lease
        if not head.chunked or (head.is_event_stream and begins_with_failure(upstream.first_bytes)):
            self.hand_over()
            return
        tap = tap_of(self.call, head, several=lease.width > 1, may_continue=lease.may_continue)
        self.tap, kept = tap, tap.kept
        if kept is not None:
            self._kept, lease.relaying = kept, self
        self.client.begin_known(self._fields(upstream, head), lease.record.request_id)
        held = upstream.pass_to(self._write if kept is None else self._write_kept)
        tap.add(held)
        if self.client.write(held):
            upstream.pause_reading()
        elif upstream.is_over:
            self._end(upstream, tap.usage())

    def _fields(self, upstream: Upstream, head: Head) -> AnswerFields:
        """Take note that the answer begins, and return the fields of its head."""
        self.lease.record.began(_OK)
        return answer_fields(head.passing, self.others, upstream.pool.endpoint.replica, head.chunked)

    def _write_kept(self, raw: bytes) -> bool:
        """Write bytes of a stream and keep them; True when enough waits for the client, or it has left."""
        kept, client = self._kept, self.client
        kept.append(raw)
        if len(kept) > MOST_KEPT and self.tap is not None:
            self.tap.pack()
        line = client.line
        client.sent_bytes += len(raw)
        line.transport.write(raw)
        return line.is_blocked

    def _write(self, raw: bytes) -> bool:
        """Write bytes of a stream that is not kept, likewise."""
        if self.tap is not None:
            self.tap.add(raw)
        return self.client.write(raw)

    def _end(self, upstream: Upstream, usage: Usage | None) -> None:
        """Give everything back."""
        lease, tap = self.lease, self.tap
        record = lease.record
        record.sent_bytes = self.client.sent_bytes
        if usage is None:
            read = lease.progress or (tap.progress if tap is not None else None)
            usage = estimated(self.call, read, tap.events if tap is not None else 0)
        record.usage = usage
        self.owner.pools.give_back(upstream, lease.hold)
        lease.close(None, record.clock.monotonic())
        self.owner.over(self)


def _collected(collector: Collector, payload: bytes) -> bytes | None:
    """Return the plain answer that a whole stream makes; None when it makes none."""
    try:
        collector.feed(payload)
        whole = collector.finish()
    except UpstreamError:
        return None
    return whole if collector.problem is None else None


@lru_cache(maxsize=1024)
def answer_fields(passing: FieldPairs, others: FieldPairs, replica: str, is_chunked: bool) -> AnswerFields:
    """Return the head of answers that had their slot at once, as `Proxy.forward` makes it.

    Args:
        passing: Of the replica's own fields.
        others: What this client's answers carry besides.
        replica: Who answers.
        is_chunked: How the body is framed.
    """
    framing = ("Transfer-Encoding", "chunked") if is_chunked else ("Content-Length", VARIES)
    own = own_fields({"X-Request-ID": VARIES, **dict(others)}, VARIES, replica, "0")
    return AnswerFields((*passing, *own.items(), framing))


def own_fields(headers: Mapping[str, str], request_id: str, replica: str, queue_ms: str) -> Mapping[str, str]:
    """Return what the head of an answer has besides the replica's own fields."""
    return {
        **OWN_FIELDS,
        **headers,
        "X-Request-ID": request_id,
        "X-Relayd-Replica": replica,
        "X-Relayd-Queue-Ms": queue_ms,
    }

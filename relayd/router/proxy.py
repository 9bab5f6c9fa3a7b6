"""How does one request become one answer to its client, whatever replicas do meanwhile (delivery)?"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from relayd.endpoint import Endpoint
from relayd.errors import RequestError
from relayd.profile import LOCAL
from relayd.router.answer import ClientAnswer, ReplicaAnswer
from relayd.router.attempts import Attempts, OnBusy, OnFault, Reply
from relayd.router.dialect import Dialect, Problem, as_it_came
from relayd.router.early import EVENT_STREAM, BegunClient
from relayd.router.estimate import estimated
from relayd.router.exchange import ExchangeRecord
from relayd.router.faults import Fault, as_client_error, judge
from relayd.router.headers import OWN_FIELDS, Call, Head
from relayd.router.kept import KeptAnswer, tap_of
from relayd.router.lease import Lease
from relayd.router.mending import Again, is_unreadable, nothing_else, plain, with_change
from relayd.router.passage import Passage, own_fields
from relayd.router.pool import Begun, Fetched, Pools
from relayd.router.recipient import Recipient
from relayd.router.relaying import Relaying
from relayd.router.salvage import NO_TEXT, PlainText, Salvaged, could_not_be_read, salvaged, translated
from relayd.router.sink import Sink
from relayd.router.splice import Splice
from relayd.router.usage import Tap
from relayd.scheduler.exchange import Ended, Usage

_NOTHING: Mapping[str, str] = MappingProxyType({})


def _never() -> None:
    return None


Relay = Callable[[Sink], Awaitable[None]]
"""Passes a body to a sink until it is over; raises OSError or RequestError when it cannot be finished."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the delivery of an answer ended.

    Attributes:
        ended: Done; cut, when its source failed; or cancelled, when its client took no more of it.
        fault: How the replica failed; empty when it did not.
        code: Stable code of the error that a cut answer ends with.
    """

    ended: Ended
    fault: str = ""
    code: str = ""


_DONE = Outcome(Ended.DONE)


class Proxy:
    """Sends requests to replicas and their answers to clients.

    Args:
        pools: Connections to replicas.
        write_stall_seconds: How long a client may take nothing of its answer.
        on_fault: Called with every replica that failed a request, and how.
        on_busy: Called with every server elsewhere that has no room for a request.

        again: Returns what may be tried instead of a call that was refused, and what it changes.
        text: Makes text of an answer that the engine cannot read.

    Attributes:
        attempts: The same retry policy, for work without a client.
    """

    def __init__(
        self,
        pools: Pools,
        *,
        write_stall_seconds: float,
        on_fault: OnFault,
        on_busy: OnBusy = lambda _, _seconds: None,
        again: Again = nothing_else,
        text: PlainText = NO_TEXT,
    ) -> None:
        self.attempts = Attempts(pools, on_fault, on_busy)
        self._write_stall_seconds = write_stall_seconds
        self._again = again
        self._pools = pools
        self._text = text

    async def forward(
        self,
        client: Recipient,
        call: Call,
        lease: Lease,
        dialect: Dialect,
        headers: Mapping[str, str] = _NOTHING,
        begun: Begun | None = None,
    ) -> None:
        """Write the answer to `call` to its client.

        Until the client has a byte of it, a replica that fails is replaced by another; afterwards another one
        continues the answer, where that is sound. A client that leaves cancels this coroutine.

        Args:
            client: Who asks.
            call: What the replica gets.
            lease: Finds a replica with a free slot.
            dialect: How refusals and broken answers are written.
            headers: What else the answer must carry.
            begun: On which connection the first replica has got the call already.

        Raises:
            RequestError: The client has seen nothing but comments, and this is why.
        """
        record, lease.answering, salvage = lease.record, (client, dialect, headers), None
        try:
            reply = await self.attempts.begin(call, lease, begun=begun)
            if reply.problem is not None and reply.endpoint.profile is LOCAL:
                reply, call, headers, salvage = await self._otherwise(reply, call, lease, headers)
        except asyncio.CancelledError:
            if error := lease.interrupted():
                raise error from None
            if lease.is_placed:
                record.usage = estimated(call, lease.progress, record.collected_events)
            raise
        client = BegunClient(client) if client.sent_bytes else client
        own = own_fields(headers, record.request_id, reply.endpoint.replica, record.queue_ms)
        if salvage is not None or reply.problem is not None:
            with reply:
                if salvage is not None:
                    await self._give_text(client, salvage, own, dialect, call, record)
                elif reply.problem is not None:
                    await self._refuse(client, reply.problem, own, dialect, record, call)
            return
        head = reply.head
        answer = self._answer(client, call, head, own, dialect)
        answer.read_with(tap := tap_of(call, head, several=lease.width > 1, may_continue=lease.may_continue))
        source = self._source(reply, call, lease, tap, dialect)
        record.began(head.status)
        await self._deliver(answer, source, client, call, lease)

    async def go_on(self, passage: Passage) -> None:
        """Do what `forward` does from where a passage has come."""
        call, lease, client, dialect = passage.call, passage.lease, passage.client, passage.dialect
        upstream, pools, tap = passage.upstream, self.attempts.pools, passage.tap
        if upstream is None or tap is None:
            await self.forward(client, call, lease, dialect, passage.headers, passage.begun)
            return
        reply = Reply(pools, upstream.pool.endpoint, upstream, lease.hold, upstream.head)
        answer = Splice(client, reply.head, _NOTHING, dialect, self._write_stall_seconds)
        answer.read_with(tap)
        source = self._source(reply, call, lease, tap, dialect)
        await self._deliver(answer, source, client, call, lease, has_head=True)

    async def _deliver(
        self,
        answer: ClientAnswer,
        source: Reply | Relaying,
        client: Recipient,
        call: Call,
        lease: Lease,
        *,
        has_head: bool = False,
    ) -> None:
        """Pass an answer on from its source, and note what came of that."""
        record = lease.record
        try:
            try:
                outcome = await deliver(answer, source.relay, lease.interrupted, has_head=has_head)
            finally:
                record.sent_bytes = client.sent_bytes
                record.usage = answer.usage or _estimated(call, lease, answer)
            if outcome is not _DONE or record.continued:
                self._note(outcome, lease, source)
        finally:
            source.release()

    def _note(self, outcome: Outcome, lease: Lease, source: Reply | Relaying) -> None:
        """Take note of an answer that did not come from one replica to its end."""
        record, ended = lease.record, outcome.ended
        record.ended, record.code = ended, outcome.code
        if ended is Ended.DONE and record.continued:
            record.ended = Ended.CONTINUED
        if ended is Ended.CUT and outcome.fault and not source.is_reported:
            self.attempts.on_fault(source.endpoint, outcome.fault)
            if source.endpoint.profile is LOCAL:
                lease.hung_up()

    def _source(self, reply: Reply, call: Call, lease: Lease, tap: Tap, dialect: Dialect) -> Reply | Relaying:
        """Return where an answer comes from: of one replica, or of several where it can be continued."""
        if isinstance(tap, KeptAnswer):
            return Relaying(self.attempts, reply, call, lease, tap, comments=not dialect.by_line)
        return reply

    async def pass_on(
        self,
        client: Recipient,
        found: tuple[Endpoint, Fetched],
        record: ExchangeRecord,
        dialect: Dialect,
        headers: Mapping[str, str] = _NOTHING,
        content_type: str = "application/json",
    ) -> None:
        """Write an answer that is here as a whole.

        Args:
            client: Who asks.
            found: Which replica answered, and what.
            record: Of the request.
            dialect: How it is written.
            headers: What else the answer must carry.
            content_type: Of a success.

        Raises:
            UpstreamError: The replica answers no success, without a reason.
        """
        endpoint, fetched = found
        own = {
            **OWN_FIELDS,
            **headers,
            "X-Request-ID": record.request_id,
            "X-Relayd-Replica": endpoint.replica,
        }
        record.placed(endpoint, record.clock.monotonic())
        if not 200 <= fetched.status < 300:
            problem = Problem.of_engine(fetched.status, fetched.body)
            if judge(problem) is Fault.REQUEST:
                problem = as_client_error(problem)
            await self._refuse(client, problem, own, dialect, record)
            return
        record.began(fetched.status)
        translation = dialect.translation(stream=False)
        body = fetched.body if translation is None else translation.feed(fetched.body) + translation.end()
        await self._write(client, fetched.status, body, own, content_type)
        record.sent_bytes = client.sent_bytes

    async def _otherwise(
        self, reply: Reply, call: Call, lease: Lease, headers: Mapping[str, str]
    ) -> tuple[Reply, Call, Mapping[str, str], Salvaged | None]:
        """Return the reply in place of a refusal, what it answers, header fields, and what was salvaged."""
        reply, call, change = await self._mended(reply, call, lease)
        headers = with_change(headers, change)
        if not could_not_be_read(reply):
            return reply, call, headers, None
        reply, salvage = await salvaged(self._text, self.attempts, self._pools, reply, call, lease)
        return reply, call, with_change(headers, salvage.change if salvage else ""), salvage

    async def _mended(self, reply: Reply, call: Call, lease: Lease) -> tuple[Reply, Call, str]:
        """Return the reply to a request whose engine refused it or could not read what its model wrote.

        Returns:
            The reply, what it answers, and what was changed for it; the refusal where nothing helps.
        """
        problem = reply.problem
        if problem is None:
            return reply, call, ""
        if call.collector is not None and is_unreadable(problem):
            reply.release()
            return await self.attempts.begin(plain(call), lease), call, ""
        if could_not_be_read(reply) and self._text is not NO_TEXT:
            reply.release()
            return await self.attempts.begin(call, lease), call, ""
        for other, change in self._again(call, problem):
            reply.release()
            reply = await self.attempts.begin(other, lease)
            if reply.problem is None:
                return reply, other, change
        reply.problem = problem
        return reply, call, ""

    async def _give_text(
        self,
        client: Recipient,
        salvage: Salvaged,
        own: Mapping[str, str],
        dialect: Dialect,
        call: Call,
        record: ExchangeRecord,
    ) -> None:
        """Write an answer that was made of text."""
        body, content_type = translated(salvage, dialect, stream=call.answers_events)
        record.began(200)
        if client.sent_bytes:  # comments
            client.write(body)
            await client.end(self._write_stall_seconds)
        else:
            await self._write(client, 200, body, own, content_type)
        record.sent_bytes = client.sent_bytes

    async def _refuse(
        self,
        client: Recipient,
        problem: Problem,
        own: Mapping[str, str],
        dialect: Dialect,
        record: ExchangeRecord,
        call: Call | None = None,
    ) -> None:
        """Write what the engine refuses, in the client's own dialect: some within the stream of a call."""
        record.refused(problem)
        if client.sent_bytes:  # comments
            client.write(dialect.error_event(problem))
            client.close()
            return
        if call is not None and call.answers_events and problem.code in dialect.refused_within:
            await self._write(client, 200, dialect.error_event(problem), own, EVENT_STREAM)
            return
        await self._write(client, problem.status, dialect.error_body(problem), own)

    async def _write(
        self,
        client: Recipient,
        status: int,
        body: bytes,
        own: Mapping[str, str],
        content_type: str = "application/json",
    ) -> None:
        """Write a whole answer."""
        fields = [*own.items(), ("Content-Type", content_type), ("Content-Length", str(len(body)))]
        client.begin(status, fields, framed=False)
        client.write(body)
        await client.end(self._write_stall_seconds)

    def _answer(
        self, client: Recipient, call: Call, head: Head, own: Mapping[str, str], dialect: Dialect
    ) -> ClientAnswer:
        """Return the answer that carries a replica's to this client at the least cost."""
        stall_seconds, translation = self._write_stall_seconds, None
        if dialect.translation is not as_it_came:
            translation = dialect.translation(stream=call.answers_events)
        if translation is None and client.splices and (head.chunked or head.length is not None):
            return Splice(client, head, own, dialect, stall_seconds)
        return ReplicaAnswer(client, head, own, dialect, translation, stall_seconds=stall_seconds)


def _estimated(call: Call, lease: Lease, answer: ClientAnswer) -> Usage:
    return estimated(call, lease.progress or answer.tap.progress, answer.tap.events)


async def deliver(
    answer: ClientAnswer,
    relay: Relay,
    interrupted: Callable[[], RequestError | None] = _never,
    *,
    has_head: bool = False,
) -> Outcome:
    """Pass an answer on to its client.

    The head may be out already when the source fails or no replica can be found to go on: then
    the client learns of it within the answer, by an event of its dialect or by the cut connection.

    Args:
        answer: Where it goes.
        relay: Where it comes from.
        interrupted: Returns why relayd itself ends the answer, once it was cancelled for that.
        has_head: The head is out.
    """
    try:
        if not has_head:
            answer.start()
        await relay(answer)
        await answer.finish()
    except (OSError, RequestError) as error:
        code = await answer.fail(error)
        fault = error.message if isinstance(error, RequestError) else str(error)
        return Outcome(Ended.CUT if answer.truncated else Ended.CANCELLED, fault, code)
    except asyncio.CancelledError:
        if not (reason := interrupted()):
            raise
        code = await answer.fail(reason)
        return Outcome(Ended.CUT if answer.truncated else Ended.CANCELLED, code=code)
    return _DONE

"""Which replica is tried next, and which failures are worth another attempt (retry policy)?

Nothing here knows a client: an inference route passes the reply on to one, a batch into a file.
"""

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import ClassVar, Self

import msgspec

from relayd.endpoint import Endpoint
from relayd.errors import SlotTakenError, UpstreamError
from relayd.profile import LOCAL
from relayd.router.collect import begins_with_failure
from relayd.router.collecting import Gathering, failure_of
from relayd.router.dialect import Problem
from relayd.router.faults import Fault, as_client_error, judge
from relayd.router.givenback import SlotReturns
from relayd.router.headers import Call, Head
from relayd.router.lease import Lease
from relayd.router.mending import MESSAGES, lacks_start, start_of_message
from relayd.router.pool import Begun, Hold, Pools
from relayd.router.remotecall import for_remote, is_final, remote_problem, retry_after
from relayd.router.sink import Sink
from relayd.router.upstream import Upstream

OnFault = Callable[[Endpoint, str], None]
"""Called with every replica that failed a request, and how."""

OnBusy = Callable[[Endpoint, float | None], None]
"""Called with every server elsewhere that has no room, and in how many seconds it may have, where known."""

_LOADING = 503
_WRONG_KEY = 401
_MOVED = "the answer did not begin while another replica was free"


class Reply(msgspec.Struct, eq=False):
    """A replica's answer that has begun, or is collected; leaving the `with` block gives its connection back.

    Attributes:
        endpoint: Who answers.
        head: The head of the answer.
        upstream: The connection that it comes on.
        problem: Why the engine refused; None when the request is carried out.
    """

    _pools: Pools
    endpoint: Endpoint
    upstream: Upstream
    _hold: Hold
    head: Head
    problem: Problem | None = None
    _whole: bytes | None = None

    is_reported: ClassVar[bool] = False
    """Whether a failure of the replica was reported already."""

    def __repr__(self) -> str:
        return f"<Reply {self.head.status} of {self.endpoint.replica} {self.upstream!r}>"

    def payload(self) -> bytes:
        """Return the body of an answer that is complete, without its HTTP framing."""
        return self.upstream.payload()

    def relay(self, sink: Sink) -> Awaitable[None]:
        """Pass the body to `sink`, from its first byte on, until the answer is over.

        Raises:
            OSError: The connection ended or fell silent, or the sink did.
            UpstreamError: The framing is broken.
        """
        whole = self.upstream.take_whole() if self._whole is None else self._whole
        if whole is None:
            return self.upstream.relay(sink)
        if whole:
            sink.take(whole)
        return nothing()

    def whole(self) -> bytes:
        """Return the body of an answer that was collected."""
        return self._whole or b""

    @property
    def has_failed(self) -> bool:
        """Whether its replica is why it is not complete."""
        return self.upstream.error is not None

    def gathering_of(self, call: Call, gathering: Gathering | None) -> Gathering | None:
        """Return what the whole of a stream goes to before any of it is passed on; None passes it on."""
        if gathering is not None:
            return gathering
        return failure_of(call) if begins_with_failure(self.upstream.first_bytes) else None

    async def collect(self, gathering: Gathering) -> None:
        """Take a stream until it is over, and be the plain answer, or the refusal, that its events make.

        Raises:
            OSError: The connection ended or fell silent.
            UpstreamError: The stream is broken.
        """
        await self.upstream.relay(gathering.sink(self.head))
        collector = gathering.collector
        self._whole, self.problem = collector.finish(), collector.problem
        self.head = self.head.of_plain(len(self._whole), self.problem.status if self.problem else 200)

    def release(self) -> None:
        """Give the connection back; that of an unfinished answer is left, which cancels the request."""
        self._pools.give_back(self.upstream, self._hold)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pools.give_back(self.upstream, self._hold)


async def nothing() -> None:
    """Wait for nothing."""


class Attempts:
    """Sends a call to one replica after the other, until one begins to answer.

    A replica that is gone or still loading sends the request elsewhere, as often as the lease
    allows; one that fails inside or answers no HTTP does so once. Any other answer is final: what
    the client did wrong is tried once, and no replica is blamed for it. A request that two replicas
    hung up on reaches a third one only if they did not crash of it.

    An attempt begins in `begin`, and nowhere else; what it sends is `call.body`, as it is. It ends
    there when it failed, else with the `Reply`.

    Args:
        pools: Connections to replicas.
        on_fault: Called with every replica that failed a request, and how.
        on_busy: Called with every server elsewhere that has no room for a request.
    """

    def __init__(self, pools: Pools, on_fault: OnFault, on_busy: OnBusy = lambda _, _seconds: None) -> None:
        self.pools = pools
        self.on_fault = on_fault
        self._on_busy = on_busy

    async def begin(
        self, call: Call, lease: Lease, instead: Call | None = None, begun: Begun | None = None
    ) -> Reply:
        """Return the first answer that is final; none of it has been passed on.

        Args:
            call: What the replica gets.
            lease: Finds replicas with a free slot.
            instead: What it gets in place of that, where an answer to it is continued.
            begun: On which connection the first of them has got it already.

        Raises:
            RequestError: There is no such answer, and this is why.
        """
        failed_inside = hung_up = 0
        lease.call = call
        suspects = lease.suspects
        gathering = Gathering(call, may_continue=lease.may_continue) if call.collector is not None else None
        lease.returns = SlotReturns(gathering) if lease.can_wait else None
        while True:
            endpoint, is_lost = lease.taken() or await lease.placed(), False
            if suspects.refusing:
                suspects.check(call)
            try:
                sent = await _as_sent(endpoint, call, instead, gathering)
                sent_on, begun = begun, None
                upstream = await self.pools.ask(endpoint, sent, lease.hold, lease.sent_on, sent_on)
                reply = Reply(self.pools, endpoint, upstream, lease.hold, upstream.head)
                if sent.path == MESSAGES:
                    await self._mend(reply, sent, lease)
                if reply.head.is_event_stream and (taker := reply.gathering_of(call, gathering)) is not None:
                    await self._collect(reply, taker, lease)
                    lease.record.continued = taker.continued
                if reply.head.is_success or self._is_final(reply, call, lease, failed_inside):
                    return reply
            except asyncio.CancelledError:
                if not lease.moved():
                    raise
                self._note_moved(endpoint, lease)
            except OSError as error:
                self._note_unreached(endpoint, error, lease)
                is_lost = isinstance(error, ConnectionError) and endpoint.profile is LOCAL
                hung_up += is_lost
                await self._note_lost(endpoint, call, lease, is_lost * hung_up)
            except UpstreamError as error:
                self.on_fault(endpoint, error.message)
                if failed_inside:
                    raise
                failed_inside += 1
            else:
                reply.release()
                status = reply.head.status
                self.on_fault(endpoint, f"answered {status}")
                failed_inside += status != _LOADING
            lease.failed(hung_up=is_lost)

    def _note_unreached(self, endpoint: Endpoint, error: OSError, lease: Lease) -> None:
        """Take note of a replica that did not answer, or of a node that had given the slot to others."""
        if isinstance(error, SlotTakenError):
            lease.is_refused = True
        else:
            self.on_fault(endpoint, str(error))

    async def _mend(self, reply: Reply, call: Call, lease: Lease) -> None:
        """Put the start in front of a message whose engine has left it out."""
        if lacks_start(reply.head, reply.upstream.first_bytes):
            try:
                start = await start_of_message(self.pools, reply.endpoint, call, lease.model)
            except BaseException:
                reply.release()
                raise
            reply.upstream.put_first(start)

    async def _collect(self, reply: Reply, gathering: Gathering, lease: Lease) -> None:
        """Have a reply come to its end; one that does not gives its connection back."""
        try:
            await reply.collect(gathering)
        except BaseException:
            lease.record.collected_events = gathering.events
            reply.release()
            raise

    def _note_moved(self, endpoint: Endpoint, lease: Lease) -> None:
        """Take note of a replica that a request has left, unless it was for a more urgent one."""
        if not lease.is_given_back:
            self.on_fault(endpoint, _MOVED)

    async def _note_lost(self, endpoint: Endpoint, call: Call, lease: Lease, hung_up: int) -> None:
        """Take note of a replica that hung up; before a third one gets the request, wait to know why.

        Args:
            endpoint: Which one.
            call: The request.
            lease: Of the request.
            hung_up: How many have hung up on it; 0 where this one failed in another way.

        Raises:
            CrashedReplicasError: The request has crashed two of them.
        """
        if hung_up:
            lease.hung_up()
        if hung_up > 1:
            await lease.suspects.verdict(endpoint)
            lease.suspects.check(call)

    def _is_final(self, reply: Reply, call: Call, lease: Lease, failed_inside: int) -> bool:
        """Read why the engine refused, and return whether the client gets to know it.

        Raises:
            UpstreamError: It refuses without a reason, or relayd itself.
        """
        if reply.endpoint.profile is not LOCAL:
            return self._is_final_elsewhere(reply, failed_inside)
        problem = reply.problem = reply.problem or self._explain(reply)
        if judge(problem) is Fault.MEMORY:
            lease.suspects.starved(reply.endpoint, call)
        return _is_final(reply, failed_inside)

    def _is_final_elsewhere(self, reply: Reply, failed_inside: int) -> bool:
        """Return what `_is_final` does, for a server that relayd did not start."""
        try:
            payload = b"" if reply.problem is not None else reply.payload()
            problem = reply.problem or remote_problem(reply.head, payload, reply.endpoint.replica)
        except UpstreamError:
            reply.release()
            raise
        reply.problem = problem
        if final := is_final(problem):
            return final
        self._on_busy(reply.endpoint, retry_after(reply.head))
        return failed_inside > 0

    def _explain(self, reply: Reply) -> Problem:
        """Return why the engine refused; without a reason its connection is given back.

        Raises:
            UpstreamError: It refuses without a reason, or relayd itself.
        """
        try:
            problem = Problem.of_engine(reply.head.status, reply.payload())
        except UpstreamError:
            reply.release()
            raise
        if reply.head.status == _WRONG_KEY:
            reply.release()
            raise UpstreamError("The replica refuses relayd's key.", remedy="Restart the replica.")
        return problem


async def _as_sent(endpoint: Endpoint, call: Call, instead: Call | None, gathering: Gathering | None) -> Call:
    """Return what one endpoint gets: a replica the call as it is, a server elsewhere its form of it."""
    if endpoint.profile is LOCAL:
        return instead or (call if gathering is None else gathering.call())
    return await for_remote(instead or call, endpoint, continues=instead is not None)


def _is_final(reply: Reply, failed_inside: int) -> bool:
    """Return whether a refusal ends the request; its problem is then what the client gets to know.

    Args:
        reply: What a replica answered instead of a success.
        failed_inside: How many other replicas failed at this request before.
    """
    if reply.problem is None or reply.problem.status == _LOADING:
        return False
    fault = judge(reply.problem)
    if fault in (Fault.REQUEST, Fault.MEMORY):
        reply.problem = as_client_error(reply.problem)
    return fault in (Fault.REQUEST, Fault.ANSWER) or failed_inside > 0

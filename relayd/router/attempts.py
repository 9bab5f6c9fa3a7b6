"""Which replica is tried next, and which failures are worth another attempt (retry policy)?

Nothing here knows a client: an inference route passes the reply on to one, a batch into a file.
"""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

from relayd.endpoint import Endpoint
from relayd.errors import UpstreamError
from relayd.router.dialect import Problem
from relayd.router.faults import Fault, as_client_error, judge
from relayd.router.headers import Call, Head
from relayd.router.lease import Lease
from relayd.router.pool import Hold, Pools
from relayd.router.upstream import Sink, Upstream

OnFault = Callable[[Endpoint, str], None]
"""Called with every replica that failed a request, and how."""

_LOADING = 503
_WRONG_KEY = 401


class Reply:
    """A replica's answer that has begun; leaving the `with` block gives its connection back.

    Attributes:
        endpoint: Who answers.
        head: The head of the answer.
        problem: Why the engine refused; None when the request is carried out.
    """

    def __init__(self, pools: Pools, endpoint: Endpoint, upstream: Upstream, hold: Hold) -> None:
        self.endpoint = endpoint
        self.head: Head = upstream.head
        self.problem: Problem | None = None
        self._pools = pools
        self._upstream = upstream
        self._hold = hold

    def payload(self) -> bytes:
        """Return the body of an answer that is complete, without its HTTP framing."""
        return self._upstream.payload()

    async def relay(self, sink: Sink) -> None:
        """Pass the body to `sink`, from its first byte on, until the answer is over.

        Raises:
            OSError: The connection ended or fell silent, or the sink did.
            UpstreamError: The framing is broken.
        """
        await self._upstream.relay(sink)

    def release(self) -> None:
        """Give the connection back; that of an unfinished answer is left, which cancels the request."""
        self._pools.give_back(self._upstream, self._hold)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class Attempts:
    """Sends a call to one replica after the other, until one begins to answer.

    A replica that is gone or still loading sends the request elsewhere, as often as the lease
    allows; one that fails inside or answers no HTTP does so once. Any other answer is final: what
    the client did wrong is tried once, and no replica is blamed for it. A request that two replicas
    hung up on reaches a third one only if they did not crash of it.

    Args:
        pools: Connections to replicas.
        on_fault: Called with every replica that failed a request, and how.
    """

    def __init__(self, pools: Pools, on_fault: OnFault) -> None:
        self._pools = pools
        self.on_fault = on_fault

    async def begin(self, call: Call, lease: Lease) -> Reply:
        """Return the first answer that is final; none of it has been passed on.

        Args:
            call: What the replica gets.
            lease: Finds replicas with a free slot.

        Raises:
            RequestError: There is no such answer, and this is why.
        """
        failed_inside = hung_up = 0
        lease.call = call
        while True:
            endpoint, is_lost = lease.taken() or await lease.placed(), False
            if lease.suspects:
                lease.suspects.check(call)
            try:
                reply = await self._ask(endpoint, call, lease)
            except OSError as error:
                self.on_fault(endpoint, str(error))
                if is_lost := isinstance(error, ConnectionError):
                    hung_up += 1
                    await self._note_lost(endpoint, call, lease, hung_up)
            except UpstreamError as error:
                self.on_fault(endpoint, error.message)
                if failed_inside:
                    raise
                failed_inside += 1
            else:
                if reply.problem is None:
                    return reply
                if judge(reply.problem) is Fault.MEMORY:
                    lease.suspects.starved(endpoint, call)
                if _is_final(reply, failed_inside):
                    return reply
                reply.release()
                status = reply.head.status
                self.on_fault(endpoint, f"answered {status}")
                failed_inside += status != _LOADING
            lease.failed(hung_up=is_lost)

    async def _note_lost(self, endpoint: Endpoint, call: Call, lease: Lease, hung_up: int) -> None:
        """Take note of a replica that hung up; before a third one gets the request, wait to know why.

        Raises:
            CrashedReplicasError: The request has crashed two of them.
        """
        lease.hung_up()
        if hung_up > 1:
            await lease.suspects.verdict(endpoint)
            lease.suspects.check(call)

    async def _ask(self, endpoint: Endpoint, call: Call, lease: Lease) -> Reply:
        """Make one attempt.

        Raises:
            OSError: The replica cannot be reached, hung up, or fell silent; or the request was moved.
            UpstreamError: It answers no HTTP, or refuses without a reason.
        """
        upstream = None
        try:
            upstream = await self._pools.ask(endpoint, call, lease.hold, lease.sent_on)
        except asyncio.CancelledError:
            if not lease.moved():
                raise
            raise TimeoutError("the answer did not begin while another replica was free") from None
        finally:
            if upstream is None:
                lease.sent_on(None)
        reply = Reply(self._pools, endpoint, upstream, lease.hold)
        if not reply.head.is_success:
            self._explain(reply)
        return reply

    def _explain(self, reply: Reply) -> None:
        """Read why the engine refused.

        Raises:
            UpstreamError: It refuses without a reason, or relayd itself.
        """
        try:
            reply.problem = Problem.of_engine(reply.head.status, reply.payload())
        except UpstreamError:
            reply.release()
            raise
        if reply.head.status == _WRONG_KEY:
            reply.release()
            raise UpstreamError("The replica refuses relayd's key.", remedy="Restart the replica.")


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

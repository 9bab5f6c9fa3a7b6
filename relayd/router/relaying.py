"""How does an answer go on to its client when its replica fails in the middle (relaying)?

The client has a part of it. Another replica, or the same one once it is back, continues it in the same stream
where that is sound; elsewhere the answer ends with an error in the client's dialect.
"""

import asyncio

from relayd.errors import ReplicaStoppedError, RequestError, UnavailableError, UpstreamError
from relayd.journal import Journal
from relayd.profile import LOCAL
from relayd.router.attempts import Attempts, Reply
from relayd.router.continuation import Broken, continued, hindrance
from relayd.router.headers import Call, Head
from relayd.router.kept import KeptAnswer
from relayd.router.lease import Lease
from relayd.router.rejoining import RejoinedStream, rejoin
from relayd.router.sink import Sink

_JOURNAL = Journal("router")

_EVENT_END = b"\n\n\r\n"
_LAST_CHUNK = b"0\r\n\r\n"
_COMMENT = b": relayd continues tokens=%d lost=%b\n\n"
"""Also shows that the client is still there: one that has left answers it with a reset."""

_PING_SECONDS = 1.0

Fault = OSError | RequestError
"""Why an answer broke off."""


def _chunk(payload: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(payload), payload)


class Relaying:
    """An answer of one replica after another; `release` gives the last connection back.

    Args:
        attempts: Finds a replica to go on.
        reply: Of the first one.
        call: The request, as that one got it.
        lease: Of the request.
        kept: Keeps what passes.
        comments: Whether the client reads comments.
    """

    def __init__(
        self,
        attempts: Attempts,
        reply: Reply,
        call: Call,
        lease: Lease,
        kept: KeptAnswer,
        *,
        comments: bool,
    ) -> None:
        self._attempts = attempts
        self._reply: Reply | None = reply
        self._call = call
        self._lease = lease
        self._kept = kept
        self._comments = comments
        self._losses = 0
        self._is_commanded = False
        self.endpoint = reply.endpoint
        lease.relaying = self

    def __repr__(self) -> str:
        return f"<Relaying continued={self._lease.record.continued} losses={self._losses} {self._reply!r}>"

    @property
    def is_reported(self) -> bool:
        """Whether the failure of the last replica was reported already, or was none: it is being stopped."""
        return self._reply is None or self._is_commanded

    async def relay(self, sink: Sink) -> None:
        """Pass the answer to `sink`, from whichever replicas it comes, until it is over.

        Raises:
            OSError: A replica failed and the answer cannot be continued; or the sink failed.
            RequestError: Likewise, or no replica could be found to continue it.
        """
        out: Sink = sink
        while (reply := self._reply) is not None:
            try:
                await reply.relay(out)
            except asyncio.CancelledError:
                if (reason := self._lease.left()) is None:
                    raise
                fault: Fault = reason
            except (OSError, UpstreamError) as error:
                if not reply.has_failed:
                    raise
                fault = error
            else:
                break
            out = await self._go_on(reply, fault, sink)
        if out is not sink:
            sink.take(_LAST_CHUNK)

    async def _go_on(self, reply: Reply, fault: Fault, sink: Sink) -> "Rejoining":
        """Return where the stream of another replica goes.

        Raises:
            OSError: The answer cannot be continued: the fault, as it was.
            RequestError: Likewise, or no replica could be found.
        """
        lease = self._lease
        self._is_commanded = isinstance(fault, ReplicaStoppedError)
        broken = self._broken(fault)
        if not self._is_commanded:
            self._attempts.on_fault(reply.endpoint, str(fault))
        if is_lost := isinstance(fault, ConnectionError) and reply.endpoint.profile is LOCAL:
            lease.hung_up()
            self._losses += 1
        self._reply = None
        reply.release()
        if self._comments and sink.take(
            _chunk(_COMMENT % (broken.generated, reply.endpoint.replica.encode()))
        ):
            await sink.room()
        if is_lost and self._losses > 1:
            await lease.suspects.verdict(reply.endpoint)
            lease.suspects.check(self._call)
        lease.failed(sent=True, hung_up=is_lost)
        waiting = WaitingClient(sink) if self._comments else None
        try:
            following = await self._attempts.begin(self._call, lease, continued(self._call, broken))
        except UnavailableError as error:
            raise (fault if self._is_commanded else error) from error
        finally:
            if waiting is not None:
                waiting.stop()
        self._reply, self.endpoint = following, following.endpoint
        if following.problem is not None or not following.head.chunked:
            raise fault
        record = lease.record
        record.continued += 1
        again = rejoin(self._call, broken, count=record.continued, first=self._kept.first)
        _JOURNAL.info(
            "request.continued",
            request_id=record.request_id,
            replica=self.endpoint.replica,
            tokens=broken.generated,
        )
        return Rejoining(sink, following.head, again)

    def hindrance(self) -> str:
        """Return what prevents the answer from being continued now; empty when nothing does."""
        return "between_replicas" if self._reply is None else self._look()[1]

    def _look(self) -> tuple[Broken, str]:
        """Return what came of the answer, and what prevents it from being continued."""
        if not self._kept.ends_with(_EVENT_END):
            return Broken(), "cut_event"
        try:
            broken = self._kept.broken()
        except UpstreamError:
            return Broken(), "unreadable"
        return broken, hindrance(self._call, broken)

    def _broken(self, fault: Fault) -> Broken:
        """Return what came of the answer.

        Raises:
            OSError: It cannot be continued: the fault, as it was.
            RequestError: Likewise.
        """
        broken, reason = self._look()
        if reason:
            record = self._lease.record
            _JOURNAL.info("request.not_continued", request_id=record.request_id, reason=reason)
            raise fault
        return broken

    def release(self) -> None:
        """Give the last connection back."""
        if self._reply is not None:
            self._reply.release()


class WaitingClient:
    """Has a client that has left while its answer waits for a replica noticed: what is sent to it is reset.

    Args:
        sink: Takes what is sent.
    """

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._timer = asyncio.get_running_loop().call_later(_PING_SECONDS, self._ping)

    def __repr__(self) -> str:
        return f"<WaitingClient {self._sink!r}>"

    def stop(self) -> None:
        """Send nothing more."""
        self._timer.cancel()

    def _ping(self) -> None:
        if not self._sink.take(_chunk(b":\n\n")):
            self._timer = asyncio.get_running_loop().call_later(_PING_SECONDS, self._ping)


class Rejoining:
    """A sink for the stream of a replica that goes on.

    Args:
        sink: Takes the answer, in chunks.
        head: Of the stream.
        stream: Returns what of it belongs to the answer.
    """

    def __init__(self, sink: Sink, head: Head, stream: RejoinedStream) -> None:
        self._sink = sink
        self._stream = stream
        self._pieces: list[bytes] = []
        self._walk = head.framing(self._pieces)

    def __repr__(self) -> str:
        return f"<Rejoining {self._stream!r}>"

    def take(self, raw: bytes) -> bool:
        """Take bytes of the replica; True when the client has enough."""
        self._walk.feed(raw)
        payload = self._stream.feed(b"".join(self._pieces))
        self._pieces.clear()
        return self._sink.take(_chunk(payload)) if payload else False

    async def room(self) -> None:
        """Wait until the client has taken most of what waits."""
        await self._sink.room()

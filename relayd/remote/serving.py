"""How does a node carry out the requests that come over a link (serving)?

A stream is one HTTP/1.1 request of the hub's router to one replica. The node reads it as a whole, lets only
known paths pass, claims a slot from its own scheduler, and has its own router send it: connections that are
kept, the replica's key, half-close on cancellation, and the slot that stays taken until the replica is done
are the same as for the node's own clients. The hub's credentials, host and connection fields stay behind.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

import msgspec

from relayd.endpoint import Endpoint
from relayd.errors import LinkError, RelaydError, SlotTakenError, UpstreamError
from relayd.journal import Journal
from relayd.remote.frames import FrameKind, ResetCode
from relayd.remote.link import Link, LinkEvent, StreamData, StreamEnded, StreamOpened, StreamReset, StreamRoom
from relayd.remote.messages import StreamOpening, read_document
from relayd.remote.request import LinkRequest, RequestReader
from relayd.remote.stream import WINDOW_BYTES
from relayd.router import Call, Pools
from relayd.router.headers import Head
from relayd.router.usage import Tap


class SlotClaim(Protocol):
    """A slot of a replica, or what is asked of one beside its slots."""

    @property
    def endpoint(self) -> Endpoint:
        """Where the replica answers."""
        ...

    def hold(self) -> Callable[[], None]:
        """Keep the slot until what is returned is called: the replica still works on the request."""
        ...

    def note(self, answer: "NodeAnswer") -> None:
        """Take note of how far the request is."""
        ...

    def release(self, error: BaseException | None = None) -> None:
        """Give the slot back, unless it is held; `error` is what ended the request."""
        ...


class NodeAnswer(msgspec.Struct):
    """What has come of a request, for the log of this machine.

    Attributes:
        status: Of the answer.
        tap: Its first and last bytes.
        sent_bytes: How long it is.
    """

    status: int
    tap: Tap
    sent_bytes: int = 0


class Slots(Protocol):
    """Who grants slots at a node: its own scheduler."""

    async def claim(self, opening: StreamOpening, request: LinkRequest) -> SlotClaim:
        """Return slots of an incarnation.

        Args:
            opening: Which one.
            request: What they are for.

        Raises:
            SlotTakenError: It has none that is free, or takes nothing new.
            LookupError: There is no such replica, or it has another incarnation.
        """
        ...


class NodeServing:
    """The requests of one link, at the node.

    Args:
        link: The streams.
        slots: Grants slots.
        pools: Connections to the replicas.
        most_bytes: The longest body of a request.
    """

    def __init__(self, link: Link, slots: Slots, pools: Pools, most_bytes: int) -> None:
        self._link = link
        self._slots = slots
        self._pools = pools
        self._most_bytes = most_bytes
        self._streams: dict[int, ServedStream] = {}
        self.draining = False

    def __repr__(self) -> str:
        return f"<NodeServing streams={len(self._streams)}>"

    def __len__(self) -> int:
        return len(self._streams)

    def take(self, event: LinkEvent) -> None:
        """Take what has come on a stream.

        Raises:
            LinkError: It is malformed.
        """
        if isinstance(event, StreamOpened):
            self._open(event)
        elif isinstance(event, StreamData | StreamEnded | StreamReset | StreamRoom) and (
            stream := self._streams.get(event.stream)
        ):
            stream.follow(event)

    def lose(self, resets: list[StreamReset]) -> None:
        """Cancel requests that the hub does not know any more."""
        for one in resets:
            self.take(one)

    def lose_all(self) -> None:
        """Cancel every request: the link will not go on."""
        self.lose(self._link.lose_all())

    def _open(self, opened: StreamOpened) -> None:
        opening = read_document(FrameKind.OPEN, opened.document)
        assert isinstance(opening, StreamOpening)  # noqa: S101 - for the type checker
        if self.draining:
            self._link.reset(opened.stream, ResetCode.DRAINING, "this node takes no new requests")
            return
        reader = RequestReader(self._most_bytes)
        self._streams[opened.stream] = ServedStream(
            self._link, opened.stream, opening, self._slots, self._pools, reader, self._forget
        )

    def _forget(self, number: int) -> None:
        self._streams.pop(number, None)


class ServedStream:
    """One request, from its first byte until its stream is over; also where the answer goes (sink)."""

    def __init__(
        self,
        link: Link,
        number: int,
        opening: StreamOpening,
        slots: Slots,
        pools: Pools,
        reader: RequestReader,
        forget: Callable[[int], None],
    ) -> None:
        self._link, self._number, self._opening = link, number, opening
        self._slots, self._pools, self._reader = slots, pools, reader
        self._forget = forget
        self._room = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._answered: NodeAnswer | None = None
        self._is_over = False

    def __repr__(self) -> str:
        return f"<ServedStream {self._number} of {self._opening.replica}>"

    def follow(self, event: StreamData | StreamEnded | StreamReset | StreamRoom) -> None:
        """Take bytes of the request, its cancellation, or that the hub has room again."""
        if isinstance(event, StreamRoom):
            self._room.set()
        elif isinstance(event, StreamData):
            self._read(event.data)
        else:
            self._leave(is_reset=isinstance(event, StreamReset))

    def _read(self, data: bytes) -> None:
        self._link.consume(self._number, len(data))
        if self._task is not None:
            return  # there is one request a stream
        try:
            request = self._reader.feed(data)
        except LinkError as error:
            self._refuse(ResetCode.REFUSED, error.message)
            return
        if request is not None:
            self._task = asyncio.get_running_loop().create_task(self._serve(request))

    def _leave(self, *, is_reset: bool) -> None:
        """End what the hub wants no more; it learns when the replica is done, unless it has forgotten it."""
        if is_reset:
            self._is_over = True
        if self._task is None:
            self._finish()
        else:
            self._task.cancel()

    async def _serve(self, request: LinkRequest) -> None:
        try:
            claim = await self._slots.claim(self._opening, request)
        except SlotTakenError as error:
            self._refuse(ResetCode.NO_SLOT, str(error))
            return
        except LookupError as error:
            self._refuse(ResetCode.NO_REPLICA, str(error))
            return
        except RelaydError as error:
            self._refuse(ResetCode.NO_REPLICA, error.message)
            return
        except asyncio.CancelledError:
            self._finish()
            return
        held = HeldClaim(claim, self._finish)
        failure: BaseException | None = None
        try:
            await self._answer(claim.endpoint, request.call(claim.endpoint), held)
        except asyncio.CancelledError as error:
            failure = error  # the hub has left
        except (OSError, UpstreamError) as error:
            Journal("remote").info(
                "node.request_failed",
                replica=self._opening.replica,
                request=request.request_id,
                reason=str(error),
            )
            failure = UpstreamError(str(error))
            self._refuse(ResetCode.FAILED, str(error))
        finally:
            held.done(failure)

    async def _answer(self, endpoint: Endpoint, call: Call, held: "HeldClaim") -> None:
        upstream = await self._pools.ask(endpoint, call, held.hold)
        try:
            self._answered = held.answered(upstream.head.status)
            self._write(head_of(upstream.head))
            await upstream.relay(self)
        finally:
            self._pools.give_back(upstream, held.hold)

    # Where the answer goes:

    def take(self, raw: bytes) -> bool:
        """Send bytes of the answer; True asks for no more until `room` has returned."""
        if (answered := self._answered) is not None:
            answered.tap.add(raw)
            answered.sent_bytes += len(raw)
        return self._write(raw) >= WINDOW_BYTES

    async def room(self) -> None:
        """Return when there is credit again."""
        self._room.clear()
        await self._room.wait()

    def _write(self, raw: bytes) -> int:
        return 0 if self._is_over else self._link.write(self._number, raw)

    def _refuse(self, code: ResetCode, reason: str) -> None:
        self._link.reset(self._number, code, reason)
        self._is_over = True
        self._forget(self._number)

    def _finish(self) -> None:
        """End the stream: nothing is done for it any more."""
        if not self._is_over:
            self._is_over = True
            self._link.end(self._number)
        self._forget(self._number)


class HeldClaim:
    """A claim while its request runs, and after it was left.

    Args:
        claim: The slot.
        finish: Ends the stream.
    """

    def __init__(self, claim: SlotClaim, finish: Callable[[], None]) -> None:
        self._claim = claim
        self._finish = finish
        self._is_held = False

    def __repr__(self) -> str:
        return f"<HeldClaim {'left' if self._is_held else 'running'}>"

    def hold(self) -> Callable[[], None]:
        """Keep the slot, and the stream open, until what is returned is called."""
        self._is_held = True
        free = self._claim.hold()

        def ended() -> None:
            free()
            self._finish()

        return ended

    def answered(self, status: int) -> NodeAnswer:
        """Return what the answer that begins is noted in."""
        made = NodeAnswer(status, Tap())
        self._claim.note(made)
        return made

    def done(self, error: BaseException | None) -> None:
        """Give the slot back and end the stream, unless the replica still works on the request."""
        self._claim.release(error)
        if not self._is_held:
            self._finish()


def head_of(head: Head) -> bytes:
    """Return the head of an answer as the hub reads it."""
    if head.chunked:
        framing = "Transfer-Encoding: chunked\r\n"
    else:
        framing = "" if head.length is None else f"Content-Length: {head.length}\r\n"
    fields = "".join(f"{name}: {value}\r\n" for name, value in head.passing)
    return f"HTTP/1.1 {head.status} \r\n{fields}{framing}Connection: close\r\n\r\n".encode("latin-1")

"""What becomes of the streams of one link (state machine): frames in, events out, frames to send.

The hub opens streams, one for each connection that its router would make to a replica, and the node answers.
Nothing here knows a socket: when a connection breaks, the same link goes on over the next one, each side
having stated how far each stream has come (`points`), and nothing is lost or repeated. A stream that only one
side knows ends with LOST.

    hub: OPEN, DATA …                       node: DATA …, END, or RESET(code)
    hub: END (the client has left: the replica is to stop), or RESET(CANCELLED) (at once)

A stream is forgotten when both directions have ended and that is acknowledged, or by a RESET.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import msgspec

from relayd.errors import LinkError
from relayd.remote.frames import (
    LAST_STREAM,
    MESSAGE_BYTES,
    STREAMS,
    BeatFrame,
    CreditFrame,
    DataFrame,
    DocumentFrame,
    EndFrame,
    Frame,
    FrameKind,
    ResetCode,
    ResetFrame,
    decode,
    encode,
    encode_data,
)
from relayd.remote.stream import Inflow, Outflow

_ROOM = MESSAGE_BYTES // 4
"""Bytes after which a message is sent, so that a beat never waits behind a long one."""


class StreamOpened(msgspec.Struct, frozen=True):
    """The hub has opened a stream; `document` names what it reaches."""

    stream: int
    document: bytes


class StreamData(msgspec.Struct, frozen=True):
    """Bytes of a stream have come, in order and once."""

    stream: int
    data: bytes


class StreamEnded(msgspec.Struct, frozen=True):
    """No more comes on a stream in this direction."""

    stream: int


class StreamReset(msgspec.Struct, frozen=True):
    """A stream is over in both directions."""

    stream: int
    code: int
    reason: str


class StreamRoom(msgspec.Struct, frozen=True):
    """What waited for credit on a stream is on its way."""

    stream: int


LinkEvent = StreamOpened | StreamData | StreamEnded | StreamReset | StreamRoom | DocumentFrame | BeatFrame


@dataclass(slots=True, eq=False)
class Stream:
    """One stream of a link, in both directions.

    Attributes:
        opening: What it reaches, until the other side is known to have that; empty at the node.
        is_sent: Its opening was sent on this connection.
    """

    number: int
    out: Outflow = field(default_factory=Outflow)
    into: Inflow = field(default_factory=Inflow)
    opening: bytes = b""
    is_sent: bool = False


class Link:
    """The streams between a hub and a node.

    Args:
        is_hub: This side opens streams.
        wake: Called when there is something to send.
    """

    def __init__(self, *, is_hub: bool, wake: Callable[[], None] = lambda: None) -> None:
        self._is_hub = is_hub
        self.wake = wake
        self._streams: dict[int, Stream] = {}
        self._last = 0
        self._ready: dict[int, Stream] = {}  # they have something to send
        self._frames: list[bytes] = []  # of no stream, or its last
        self.is_attached = False

    def __repr__(self) -> str:
        state = "attached" if self.is_attached else "broken"
        return f"<Link {state} streams={len(self._streams)} ready={len(self._ready)}>"

    def __len__(self) -> int:
        return len(self._streams)

    def open(self, document: bytes) -> int:
        """Open a stream, and return its number.

        Raises:
            LinkError: There are too many, or no number is left.
        """
        if len(self._streams) >= STREAMS or self._last >= LAST_STREAM:
            raise LinkError(f"a link carries at most {STREAMS} streams at a time")
        self._last += 1
        self._streams[self._last] = stream = Stream(self._last, opening=document)
        self._want(stream)
        return stream.number

    def write(self, number: int, data: bytes | bytearray | memoryview) -> int:
        """Send bytes, and return how many wait for credit; of a stream that is over they are dropped."""
        stream = self._streams.get(number)
        if stream is None or stream.out.ended:
            return 0
        stream.out.add(data)
        self._want(stream)
        return stream.out.waiting

    def end(self, number: int) -> None:
        """Send nothing more on a stream."""
        stream = self._streams.get(number)
        if stream is not None and not stream.out.ended:
            stream.out.ended = True
            self._want(stream)

    def reset(self, number: int, code: ResetCode, reason: str = "") -> None:
        """End a stream in both directions, at once."""
        if self._streams.pop(number, None) is not None:
            self._ready.pop(number, None)
            self.send(ResetFrame(number, code, reason))

    def consume(self, number: int, count: int) -> None:
        """Take note that so many bytes of a stream were taken by its reader."""
        stream = self._streams.get(number)
        if stream is not None and stream.into.consume(count):
            self._acknowledge(stream)

    def acknowledge(self) -> None:
        """State how far each stream has come, as far as that is news; called with each beat."""
        for stream in tuple(self._streams.values()):
            if stream.into.is_owed:
                self._acknowledge(stream)

    def send(self, frame: Frame) -> None:
        """Send a frame; on a broken link it is dropped."""
        if self.is_attached:
            self._frames.append(encode(frame))
            self.wake()

    def receive(self, message: bytes) -> Iterator[LinkEvent]:
        """Yield what a message comes to; all of it is to be read.

        Raises:
            LinkError: The other side breaks the protocol: the link cannot go on.
        """
        for frame in decode(message):
            match frame:
                case DataFrame():
                    yield from self._take_data(frame)
                case CreditFrame():
                    yield from self._take_credit(frame)
                case EndFrame(number, offset):
                    yield from self._take_end(number, offset)
                case ResetFrame(number, code, reason):
                    if self._streams.pop(number, None) is not None:
                        self._ready.pop(number, None)
                        yield StreamReset(number, code, reason)
                case DocumentFrame(FrameKind.OPEN, number, document):
                    yield from self._take_open(number, document)
                case BeatFrame(nonce, is_answer):
                    if not is_answer:
                        self.send(BeatFrame(nonce, is_answer=True))
                    yield frame
                case DocumentFrame():
                    yield frame

    def outgoing(self) -> bytes:
        """Return the next message; empty when there is nothing to send."""
        if not self.is_attached:
            return b""
        frames, self._frames = self._frames, []
        size = sum(map(len, frames))
        while self._ready and size < _ROOM:
            stream = self._ready.pop(next(iter(self._ready)))
            for piece in self._of(stream):
                frames.append(piece)
                size += len(piece)
                if size >= _ROOM and stream.out.waiting:
                    self._ready[stream.number] = stream  # behind the others
                    break
        return b"".join(frames)

    def points(self) -> dict[int, int]:
        """Return how far each stream has come here; what a new connection begins with."""
        return {
            number: stream.into.position
            for number, stream in self._streams.items()
            if stream.is_sent or not stream.opening
        }

    def attach(self, points: Mapping[int, int] | None) -> list[StreamReset]:
        """Go on over a new connection.

        Args:
            points: How far each stream has come at the other side; None where it knows none of them.

        Returns:
            The streams that the other side does not know any more.

        Raises:
            LinkError: It states what cannot be.
        """
        self.is_attached = True
        self._frames, lost = [], []
        known = points or {}
        for number, stream in tuple(self._streams.items()):
            if number in known:
                stream.out.rewind(known[number])
                stream.opening = b""
                self._ready[number] = stream
                self.send(CreditFrame(number, *stream.into.credit()))  # the last one may be lost
            elif stream.opening and points is not None:
                stream.is_sent = False  # it was on its way
                stream.out.rewind(0)
                self._ready[number] = stream
            else:
                lost.append(self._lose(number))
        for number in known.keys() - self._streams.keys():
            if number > self._last:
                continue  # its opening was lost, and comes again
            self.send(ResetFrame(number, ResetCode.LOST, "the other side does not know this stream"))
        self.wake()
        return lost

    def detach(self) -> None:
        """Take note that the connection is broken."""
        self.is_attached = False
        self._frames = []

    def lose_all(self) -> list[StreamReset]:
        """Forget every stream: the link will not go on."""
        self.detach()
        return [self._lose(number) for number in tuple(self._streams)]

    def _lose(self, number: int) -> StreamReset:
        del self._streams[number]
        self._ready.pop(number, None)
        return StreamReset(number, ResetCode.LOST, "the link to the node was lost")

    def _want(self, stream: Stream) -> None:
        self._ready[stream.number] = stream
        if self.is_attached:
            self.wake()

    def _of(self, stream: Stream) -> Iterator[bytes]:
        """Yield the frames that a stream has to send now."""
        if stream.opening and not stream.is_sent:
            stream.is_sent = True
            yield encode(DocumentFrame(FrameKind.OPEN, stream.number, stream.opening))
        for offset, piece in stream.out.take():
            yield encode_data(stream.number, offset, piece)
        if (end := stream.out.take_end()) is not None:
            yield encode(EndFrame(stream.number, end))

    def _acknowledge(self, stream: Stream) -> None:
        self.send(CreditFrame(stream.number, *stream.into.credit()))
        self._forget_if_done(stream)

    def _forget_if_done(self, stream: Stream) -> None:
        """Forget a stream of which nothing is left to send or to come."""
        if stream.out.is_done and stream.into.is_over and not stream.into.is_owed:
            self._streams.pop(stream.number, None)
            self._ready.pop(stream.number, None)

    def _take_open(self, number: int, document: bytes) -> Iterable[LinkEvent]:
        if self._is_hub or number in self._streams:
            raise LinkError(f"stream {number} was opened, which is open, or not by a hub")
        if number <= self._last:  # it was reset here, and that was lost
            self.send(ResetFrame(number, ResetCode.LOST, "the node does not know this stream any more"))
            return
        self._last = number
        if len(self._streams) >= STREAMS:
            self.send(ResetFrame(number, ResetCode.REFUSED, f"more than {STREAMS} streams"))
            return
        self._streams[number] = Stream(number)
        yield StreamOpened(number, document)

    def _take_data(self, frame: DataFrame) -> Iterable[LinkEvent]:
        stream = self._streams.get(frame.stream)
        if stream is None:
            return  # it was reset here, which the other side does not know yet
        stream.opening = b""
        if new := stream.into.accept(frame.offset, frame.data):
            yield StreamData(frame.stream, new)

    def _take_credit(self, frame: CreditFrame) -> Iterable[LinkEvent]:
        stream = self._streams.get(frame.stream)
        if stream is None:
            return
        stream.opening = b""
        waited = stream.out.waiting
        stream.out.acknowledge(frame.received, frame.limit)
        if waited:
            self._want(stream)
            yield StreamRoom(frame.stream)
        self._forget_if_done(stream)

    def _take_end(self, number: int, offset: int) -> Iterable[LinkEvent]:
        stream = self._streams.get(number)
        if stream is None:
            return
        stream.opening = b""
        is_news = not stream.into.is_over
        stream.into.finish(offset)
        self._acknowledge(stream)
        if is_news:
            yield StreamEnded(number)

"""How does one request go over one connection to a replica?

No task, future or timer is made for a chunk: bytes go from `data_received` straight into a sink.
A coroutine wakes only when an answer begins, ends or fails, or when its client is slow.
"""

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, cast
from weakref import WeakSet

from relayd.endpoint import Endpoint
from relayd.errors import UpstreamError
from relayd.router.eager import Pause
from relayd.router.framing import Counted, Framing
from relayd.router.headers import Call, Head, parse_head
from relayd.router.prefill import Prefill, PromptProgress
from relayd.units import KIB

_LONGEST_HEAD = 32 * KIB
_HELD_BACK = 256 * KIB
_LONGEST_REST = 256 * KIB
"""Parts of a chunk that is longer are passed on as they come."""

_COMPLETE = Counted(0)
"""The framing of a body that came as a whole with its head, as most answers that are not streams do."""

_LARGE = 16 * KIB
"""A body that is not copied behind its head."""


@dataclass(slots=True, eq=False)
class ReplicaPool:
    """The connections to one incarnation of a replica.

    Attributes:
        endpoint: Whose they are.
        idle: Those that wait for a request; the one that was used last stands at the end.
        every: All of them, as long as they are open.
        batch_seconds: How long the engine takes for a batch of a prompt; 0 until that is known.
    """

    endpoint: Endpoint
    idle: "deque[Upstream]" = field(default_factory=deque)
    every: "WeakSet[Upstream]" = field(default_factory=WeakSet)
    batch_seconds: float = 0.0
    _openings: dict[tuple[str, str, bool], bytes] = field(default_factory=dict)

    def note_batch(self, seconds: float) -> None:
        """Take note of how long a batch took; a longer one counts at once, a shorter one by and by."""
        self.batch_seconds = max(seconds, (3 * self.batch_seconds + seconds) / 4)

    def opening(self, call: Call) -> bytes:
        """Return the head of a request up to the length of its body, made once for each kind of request."""
        kind = call.path, call.content_type, call.with_key
        known = self._openings.get(kind)
        if known is None:
            known = self._openings[kind] = call.opening(self.endpoint)
        return known


class Sink(Protocol):
    """Where the bytes of an answer go, framing included."""

    def take(self, raw: bytes) -> bool:
        """Take bytes; True asks for no more until `room` has returned."""
        ...

    async def room(self) -> None:
        """Return when there is room again."""
        ...


class Upstream(asyncio.Protocol):
    """A connection to a replica, for one request after the other.

    Args:
        loop: The running loop.
        pool: Where it is kept between two requests.

    Attributes:
        uses: How many requests it has carried.
        last_byte_at: When the replica has sent something for the last time, in loop time.
        answered: A byte of the current answer has come.
        head: Of the current answer, once that has begun.
        error: Why there is none, or no more of it: the connection ended or fell silent, or it is not HTTP.
    """

    head: Head
    _framing: Framing | None
    _transport: asyncio.Transport

    def __init__(self, loop: asyncio.AbstractEventLoop, pool: ReplicaPool) -> None:
        self.pool = pool
        self.uses = 0
        self.answered = False
        self._loop = loop
        self._framing = None
        self._begun = b""
        self._held: list[bytes] = []
        self._enough = _HELD_BACK
        self._sink: Sink | None = None
        self._paused = False
        self.error: OSError | UpstreamError | None = None
        self._pause: Pause | None = None
        self.last_byte_at = 0.0
        self._on_end: Callable[[], None] | None = None
        self._lost = self._is_stream = False
        self._prefill: Prefill | None = None
        self._rest = b""

    def __repr__(self) -> str:
        state = "closing" if self._transport.is_closing() else "open"
        return f"<Upstream {state} uses={self.uses} over={self.is_over}>"

    def notice_dead_peers(self) -> None:
        """Have the system probe an idle connection: a machine that vanished shows in no other way.

        Both loops set TCP_NODELAY. On a socket file this does nothing.
        """
        self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    @property
    def is_over(self) -> bool:
        """Whether the current answer came to its end."""
        return self._framing is not None and self._framing.over

    def can_follow(self, since: float) -> bool:
        """Return whether another request may follow, if the last one was over after `since` (loop time)."""
        return self.last_byte_at > since and not self._transport.is_closing()

    def send(self, call: Call) -> Pause:
        """Send a request, and return the wait for its answer to begin, or for `error`.

        A stream has begun with its first data, when its prompt was processed; any other
        answer when it is complete, or 256 KiB long. Until then nothing of it has reached the
        client, and the request can still go elsewhere.
        """
        self.uses += 1
        self.answered = False
        self._framing = None
        self._begun = self._rest = b""
        self._held.clear()
        self._is_stream = is_stream = call.stream
        self._enough = 1 if is_stream else _HELD_BACK
        self._prefill = Prefill(self.pool.note_batch) if call.hides_progress else None
        self.last_byte_at = self._loop.time()
        self._pause = pause = Pause()
        if self.error is not None:
            pause.go_on()
            return pause
        if not (body := call.body):
            self._transport.write(call.head(self.pool.endpoint))
        elif len(body) < _LARGE:
            self._transport.write(b"%b%d\r\n\r\n%b" % (self.pool.opening(call), len(body), body))
        else:
            self._transport.writelines((b"%b%d\r\n\r\n" % (self.pool.opening(call), len(body)), body))
        return pause

    def payload(self) -> bytes:
        """Return what `ask` held back of the body, freed of its framing."""
        pieces: list[bytes] = []
        self.head.framing(pieces).feed(b"".join(self._held))
        return b"".join(pieces)

    async def relay(self, sink: Sink) -> None:
        """Pass the body to `sink`, from its first byte on, until the answer is over.

        Raises:
            OSError: The connection ended or fell silent, or the sink did.
            UpstreamError: The framing is broken.
        """
        self._sink = sink
        held = self._held[0] if len(self._held) == 1 else b"".join(self._held)
        self._held.clear()
        if self._framing is not None and not (self._framing.is_between or self._framing.over):
            walk = self.head.framing()
            walk.feed(held)
            held, self._rest = held[: walk.whole], held[walk.whole :]
        if held and sink.take(held):
            self._pause_reading()
        framing = self._framing
        while not (framing is not None and framing.over) and self.error is None:
            if self._paused:
                await sink.room()
                self._resume()
            else:
                self._pause = Pause()
                await self._pause
        if self.error is not None:
            raise self.error

    def take_whole(self) -> bytes | None:
        """Return the body, framing included, if all of it is here and none of it was passed on."""
        held, framing = self._held, self._framing
        if framing is None or not framing.over or self.error is not None or self._sink is not None:
            return None
        whole = held[0] if len(held) == 1 else b"".join(held)
        held.clear()
        return whole

    @property
    def first_bytes(self) -> bytes:
        """What came first of a body that `ask` held back, framing included."""
        return self._held[0] if self._held else b""

    def put_first(self, chunk: bytes) -> None:
        """Put a chunk in front of what has come of a body and was held back."""
        self._held.insert(0, chunk)

    @property
    def progress(self) -> PromptProgress | None:
        """How far the prompt of the current request was, as the replica reported last."""
        return self._prefill.last if self._prefill is not None else None

    @property
    def is_in_prefill(self) -> bool:
        """Whether a stream has begun of which nothing but the progress of its prompt has come."""
        return self._framing is not None and self._enough == 1

    @property
    def is_unfinished(self) -> bool:
        """Whether the replica may still work on the request."""
        framing = self._framing
        return not ((framing is not None and framing.over) or self._lost)

    @property
    def moved_at(self) -> float:
        """When it sent something for the last time; now, while its reader is what keeps it from that."""
        return self._loop.time() if self._paused else self.last_byte_at

    def rest(self) -> bool:
        """End the exchange: be ready for the next one, or close if there cannot be one; return which."""
        self._sink, self._is_stream = None, False
        framing = self._framing
        if framing is not None and framing.over and self.head.keep_alive and not self._transport.is_closing():
            return True
        self.close()
        return False

    def fall_silent(self, since: float, silence_seconds: float) -> None:
        """Fail a stream unless something of it has come after `since` (loop time), or is not being read."""
        if self._is_stream and self.last_byte_at <= since and not self._paused:
            self._fail(TimeoutError(f"the replica was silent for {silence_seconds:g} s"))

    def leave(self, on_end: Callable[[], None]) -> None:
        """Leave an unfinished exchange: half-close, which cancels it, and discard what still comes.

        Args:
            on_end: Called when the replica is done with it: it closes its side, or its answer is over.
        """
        self._sink, self._on_end, self._is_stream = None, on_end, False
        self._held.clear()
        if self._paused:
            self._resume()
        if self._transport.can_write_eof() and not self._transport.is_closing():
            self._transport.write_eof()

    def close(self) -> None:
        """Close at once; the engine takes that for a cancellation."""
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Read the head, or pass on the body."""
        self.last_byte_at = self._loop.time()
        if self.error is not None:
            return
        framing = self._framing
        try:
            if framing is None:
                self.answered = True
                data = self._read_head(data)
                if (framing := self._framing) is None:
                    return
            taken = len(data) if framing is _COMPLETE else framing.feed(data)
            if framing.over:
                self._end(data, taken)
            elif (sink := self._sink) is None:
                self._hold(data)
            elif framing.is_between and not self._rest:
                if sink.take(data):
                    self._pause_reading()
            elif (data := self._whole(data, framing)) and sink.take(data):
                self._pause_reading()
        except UpstreamError as error:
            self._fail(error)

    def _whole(self, data: bytes, framing: Framing) -> bytes:
        """Return what has come up to the end of a chunk; the rest waits for the next bytes, or is lost.

        So an answer that breaks off does that between two events, where another replica can go on.
        """
        data, whole = self._rest + data, len(self._rest) + framing.whole
        if framing.is_between or len(data) > _LONGEST_REST:
            self._rest = b""
            return data
        if not framing.whole:
            whole = 0
        self._rest = data[whole:]
        return data[:whole]

    def connection_lost(self, exc: Exception | None) -> None:
        """Take the close for the end of the answer, or for its failure."""
        self._lost = True
        if self._framing is not None and self._framing.ends_with_connection and exc is None:
            self._framing.over = True
        if not self.is_over and self.error is None:
            self.error = ConnectionResetError(f"the replica hung up on a request ({exc or 'closed'})")
        if self._on_end is not None:
            self._on_end()
        self._wake()

    def _read_head(self, data: bytes) -> bytes:
        """Return what comes after the head, once that is complete."""
        rest = self._begun + data if self._begun else data
        while self._framing is None:
            raw, found, rest = rest.partition(b"\r\n\r\n")
            if len(raw) > _LONGEST_HEAD:
                raise UpstreamError("The replica's response head is longer than 32 KiB.")
            if not found:
                self._begun = raw
                return b""
            self._accept(parse_head(raw), len(rest))
        self._begun = b""
        return rest

    def _accept(self, head: Head, come: int) -> None:
        """Take a head, behind which so many bytes have come already."""
        if head.status == 101:
            raise UpstreamError("The replica switches protocols, which relayd never asks for.")
        if head.status >= 200:
            self.head = head
            self._framing = _COMPLETE if head.length == come else head.framing()
            if not head.is_success:
                self._enough = _HELD_BACK
            if not head.chunked:
                self._prefill = None

    def _end(self, data: bytes, taken: int) -> None:
        """Pass on the end of an answer; what comes behind it ends the connection."""
        if taken < len(data) or self._on_end is not None:
            data = data[:taken]
            self.close()
        data, self._rest = self._rest + data, b""
        if (sink := self._sink) is None:
            self._held.append(data if self._prefill is None else self._prefill.feed(data))
        elif data:
            sink.take(data)
        if (pause := self._pause) is not None:
            pause.go_on()

    def _hold(self, data: bytes) -> None:
        """Keep bytes for which there is no sink yet; what a request that was left still gets is dropped."""
        if data and self._prefill is not None:
            data = self._prefill.feed(data)
        if not data or self._on_end is not None:
            return
        self._held.append(data)
        self._enough -= len(data)
        if self._enough <= 0:
            self._wake()

    def _pause_reading(self) -> None:
        """Read no more until the sink has room, unless nothing more comes."""
        if not self.is_over and not self._transport.is_closing():
            self._transport.pause_reading()
            self._paused = True
            self._wake()

    def _resume(self) -> None:
        self._paused = False
        self.last_byte_at = self._loop.time()
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def _fail(self, error: OSError | UpstreamError) -> None:
        self.error = error
        if isinstance(error, UpstreamError):
            self.close()
        self._wake()

    def _wake(self) -> None:
        """Let the request go on, which may be over, and another one have begun here, when this returns."""
        if self._pause is not None:
            self._pause.go_on()

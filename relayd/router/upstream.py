"""How does one request go over one connection to a replica?

No task, future or timer is made for a chunk: bytes go from `data_received` straight into a sink.
A coroutine wakes only when an answer begins, ends or fails, or when its client is slow.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import cast

from relayd.errors import UpstreamError
from relayd.router.eager import Pause
from relayd.router.faults import as_cut
from relayd.router.framing import SHORT_LINE, Counted, Framing, size_in
from relayd.router.headers import LONGEST_HEAD, Call, Head, parse_head, whole_answer
from relayd.router.prefill import Prefill, PromptProgress
from relayd.router.replicapool import ReplicaPool
from relayd.router.sink import Sink, Take, Waiter
from relayd.units import KIB

_HELD_BACK = _LONGEST_REST = 256 * KIB
"""Parts of a chunk that is longer are passed on as they come."""

_COMPLETE = Counted(0)
"""The framing of a body that came as a whole with its head, as most answers that are not streams do."""

_LARGE = 16 * KIB  # a body that is not copied behind its head


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
        self._time = loop.time
        self._framing = None
        self._begun = self._rest = b""
        self._held: list[bytes] = []
        self._enough = _HELD_BACK
        self._take: Take | None = None
        self._take_chunk: Take | None = None  # while a chunk that comes as a whole is all that may come
        self.is_paused = False
        self.error: OSError | UpstreamError | None = None
        self._waiter: Waiter | None = None
        self.last_byte_at = 0.0
        self._on_end: Callable[[], None] | None = None
        self._lost = self._is_stream = self._is_prefilling = False
        self._prefill: Prefill | None = None

    def __repr__(self) -> str:
        state = "closing" if self._transport.is_closing() else "open"
        return f"<Upstream {state} uses={self.uses} over={self.is_over}>"

    def notice_dead_peers(self) -> None:
        """Have the system probe an idle connection: a machine that vanished shows in no other way.

        Both loops set TCP_NODELAY. On a socket file this does nothing; a link to a node has no socket.
        """
        if (opened := self._transport.get_extra_info("socket")) is not None:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

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
        pause = Pause()
        self.begin(call, pause)
        if self.error is not None:
            pause.go_on()
        return pause

    def begin(self, call: Call, waiter: Waiter) -> None:
        """Send a request, unless there is an `error`; `waiter` goes on when the wait of `send` would be over.

        What the request before has left behind is gone: it was `rest` that let another one follow.
        """
        self.uses += 1
        self.answered = False
        self._framing = None
        self._is_stream = self._is_prefilling = is_stream = call.stream
        self._enough = 1 if is_stream else _HELD_BACK
        self._prefill = Prefill(self.pool.note_batch) if call.hides_progress else None
        self.last_byte_at = self._time()
        self._waiter = waiter
        if self.error is not None:
            return
        if not (body := call.body):
            self._transport.write(call.head(self.pool.endpoint))
        elif len(body) < _LARGE:
            self._transport.write(b"%b%d\r\n\r\n%b" % (self.pool.opening(call), len(body), body))
        else:
            self._transport.writelines((b"%b%d\r\n\r\n" % (self.pool.opening(call), len(body)), body))

    def wait(self, *, has_begun: bool) -> Pause:
        """Return the wait of `send` for who takes the waiter's place; `has_begun`: that saw it begin."""
        self._waiter = pause = Pause()
        if has_begun or self._enough <= 0 or self.error is not None or self.is_over:
            pause.go_on()
        return pause

    def hold_on(self) -> None:
        """Hold a stream that has begun: its waiter goes on at its end, or when 256 KiB are held."""
        self._enough = _HELD_BACK

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
        held = self.pass_to(sink.take)
        if held and sink.take(held):
            self.pause_reading()
        framing = self._framing
        while not (framing is not None and framing.over) and self.error is None:
            if self.is_paused:
                await sink.room()
                self._resume()
            else:
                self._waiter = pause = Pause()
                await pause
        if self.error is not None:
            raise self.error

    def pass_to(self, take: Take) -> bytes:
        """Pass what comes of the body to `take`, and return what has come, up to the end of a chunk.

        The waiter goes on at the end of the answer, at its failure, and when `take` has returned True.
        """
        self._take = take
        self._take_chunk = None  # it is set where the next bytes begin with a chunk
        framing, held = self._framing, self._take_held()
        if held and framing is not None and not (framing.is_between or framing.over):
            walk = self.head.framing()
            walk.feed(held)
            held, self._rest = held[: walk.whole], held[walk.whole :]
        return held

    def _take_held(self) -> bytes:
        held, self._held = self._held, []
        return held[0] if len(held) == 1 else b"".join(held)

    def take_whole(self) -> bytes | None:
        """Return the body, framing included, if all of it is here and none of it was passed on."""
        framing = self._framing
        if framing is None or not framing.over or self.error is not None or self._take is not None:
            return None
        return self._take_held()

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
    def may_read_prompt(self) -> bool:
        """Whether nothing has come of the answer but the progress of its prompt."""
        return self._is_prefilling or not self.answered

    @property
    def is_unfinished(self) -> bool:
        """Whether the replica may still work on the request."""
        framing = self._framing
        return not ((framing is not None and framing.over) or self._lost)

    @property
    def moved_at(self) -> float:
        """When it sent something for the last time; now, while its reader is what keeps it from that."""
        return self._time() if self.is_paused else self.last_byte_at

    def rest(self) -> bool:
        """End the exchange: be ready for the next one, or close if there cannot be one; return which."""
        self._take, self._waiter, self._is_stream = None, None, False
        self._held.clear()
        framing = self._framing
        if framing is not None and framing.over and self.head.keep_alive and not self._transport.is_closing():
            return True
        self.close()
        return False

    def fall_silent(self, since: float, silence_seconds: float) -> None:
        """Fail a stream, elsewhere any answer, unless some of it came after `since`, or it is not read."""
        if self.last_byte_at > since or self.is_paused or self.error is not None:
            return
        if self._is_stream or (self.pool.is_elsewhere and self.uses and not self.is_over):
            self._fail(TimeoutError(f"the replica was silent for {silence_seconds:g} s"))

    def leave(self, on_end: Callable[[], None]) -> None:
        """Leave an unfinished exchange: half-close, which cancels it, and discard what still comes.

        Args:
            on_end: Called when the replica is done with it: it closes its side, or its answer is over.
        """
        self._take, self._on_end, self._is_stream = None, on_end, False
        self._take_chunk = self._waiter = None
        self._held.clear()
        if self.is_paused:
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
        self.last_byte_at = self._time()
        if (take := self._take_chunk) is not None:
            line = data.find(b"\r\n", 0, SHORT_LINE)
            size = size_in(data[:line]) if line > 0 else 0
            if size and line + size + 4 == len(data) and data.endswith(b"\r\n"):
                if take(data):
                    self.pause_reading()
                return
        if self.error is None:
            try:
                self._receive(data)
            except UpstreamError as error:
                self._fail(error)

    def _receive(self, data: bytes) -> None:
        """Take bytes of any kind; the request may be over, and another one have begun, when this returns."""
        framing = self._framing
        if framing is None:
            self.answered = True
            if not self._begun and self._on_end is None and (whole := whole_answer(data)) is not None:
                self.head, self._held = whole[0], [whole[1]]
                self._framing, self._prefill = _COMPLETE, None
                self._wake()
                return
            data = self._read_head(data)
            if (framing := self._framing) is None:
                return
        taken = framing.feed(data)
        take = self._take or self._hold
        if framing.over:
            self._end(data, taken)
            return
        if framing.is_between and not self._rest:
            self._take_chunk = take if self.head.chunked else None
        else:
            self._take_chunk = None
            data = data if self._take is None else self._whole(data, framing)
        if data and take(data):
            self.pause_reading()

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
            self.error = as_cut(exc)
        if self._on_end is not None:
            self._on_end()
        self._wake()

    def _read_head(self, data: bytes) -> bytes:
        """Return what comes after the head, once that is complete."""
        rest = self._begun + data if self._begun else data
        while self._framing is None:
            raw, found, rest = rest.partition(b"\r\n\r\n")
            if len(raw) > LONGEST_HEAD:
                raise UpstreamError("The replica's response head is longer than 32 KiB.")
            if not found:
                self._begun = raw
                return b""
            self._accept(parse_head(raw))
        self._begun = b""
        return rest

    def _accept(self, head: Head) -> None:
        """Take a head, unless it is that of an interim response."""
        if head.status == 101:
            raise UpstreamError("The replica switches protocols, which relayd never asks for.")
        if head.status >= 200:
            self.head = head
            self._framing = head.framing()
            if not head.is_success:
                self._enough, self._is_prefilling = _HELD_BACK, False
            if not head.chunked:
                self._prefill = None

    def _end(self, data: bytes, taken: int) -> None:
        """Pass on the end of an answer; what comes behind it ends the connection."""
        if taken < len(data) or self._on_end is not None:
            data = data[:taken]
            self.close()
        self._take_chunk = None
        if self._rest:
            data, self._rest = self._rest + data, b""
        if (take := self._take) is None:
            self._held.append(data if self._prefill is None else self._prefill.feed(data))
        elif data:
            take(data)
        if (waiter := self._waiter) is not None:
            waiter.go_on()

    def _hold(self, data: bytes) -> bool:
        """Keep bytes that have no taker yet; what a request that was left still gets is dropped."""
        if self._prefill is not None:
            data = self._prefill.feed(data)
        if data and self._on_end is None:
            self._is_prefilling = False
            self._held.append(data)
            self._enough -= len(data)
            if self._enough <= 0:
                self._wake()
        return False

    def pause_reading(self) -> None:
        """Read no more until the sink has room, unless nothing more comes."""
        if not self.is_over and not self._transport.is_closing():
            self._transport.pause_reading()
            self.is_paused = True
            self._wake()

    def _resume(self) -> None:
        self.is_paused = False
        self.last_byte_at = self._time()
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def _fail(self, error: OSError | UpstreamError) -> None:
        self.error, self._take_chunk = error, None
        if isinstance(error, UpstreamError):
            self.close()
        self._wake()

    def _wake(self) -> None:
        """Let the request go on: it may be over when this returns."""
        if self._waiter is not None:
            self._waiter.go_on()

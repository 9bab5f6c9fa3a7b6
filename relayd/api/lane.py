"""How does one connection of a client carry its requests, one after the other (lane)?

relayd's own protocol on every client connection. It frames every request, and each goes one way:

    a head that cannot be HTTP/1.1 to the letter          400 by the lane, and the connection ends
    a path that a replica serves (`Route.direct`)         judged by the door, answered by the lane
    the same, refused by the door                         answered by the lane
    every other request                                   aiohttp, framed, one at a time (`gate`)

A connection is waiting for a head, inside of one, answering a request, or about to end; the next
request is looked at when the answer to the one before is over. Nothing here retries, routes or knows
a dialect but that of the error.
"""

import asyncio
import os
import socket
import struct
from typing import cast

from relayd.api.admission import Admitted
from relayd.api.answer import new_id, request_id
from relayd.api.direct import CONTINUE, Direct
from relayd.api.door import Door
from relayd.api.errors import error_answer
from relayd.api.gate import Gate, Passed
from relayd.api.halfclosed import HalfClosed
from relayd.api.head import MALFORMED, RequestHead, encode_answer, http_date, is_hopeless, parse_request
from relayd.api.known import without_length
from relayd.api.lanes import Lanes, Phase
from relayd.api.limiter import HEALTH_PATHS, TOO_MANY, Entry, Idleness
from relayd.api.sockets import set_options
from relayd.errors import RequestError
from relayd.router import ENDING, FULL_BYTES
from relayd.units import KIB

LINGERING_SECONDS = 1.0
"""How long the rest of a refused body is read and dropped, so that its sender sees the answer."""

_FOR_HEALTH_SECONDS = 2.0
"""How long the head of a health check may take on a connection beyond the limits."""

_NEW, _IDLE, _HEAD, _BUSY, _ENDING = Phase.NEW, Phase.IDLE, Phase.HEAD, Phase.BUSY, Phase.ENDING
"""By name, as each look into an enumeration costs as much as a call."""

_BACKLOG = 128 * KIB
"""Bytes of later requests that are read while one is answered."""


class Lane(asyncio.Protocol):
    """One connection of a client.

    Attributes:
        transport: The connection.
        is_blocked: Enough waits for the client, or it has left.
        lanes: What it shares with all connections of its listener.
    """

    __slots__ = (
        "_buffer", "_current", "_for_health", "_gate", "_half_closed", "_paused", "_peer", "_phase",
        "arrived_at", "is_blocked", "lanes", "transport",
    )  # fmt: skip

    transport: asyncio.Transport

    def __init__(self, lanes: Lanes, *, kept: bool = False) -> None:
        self.lanes = lanes
        self._phase = _IDLE if kept else _NEW  # it has carried requests elsewhere
        self._buffer = b""
        self._current: Direct | Passed | None = None
        self._gate: Gate | None = None
        self._peer: str | None = None
        self._paused = False
        self._for_health = False  # it is beyond the limits
        self._half_closed: HalfClosed | None = None
        self.arrived_at = ""
        self.is_blocked = False

    def __repr__(self) -> str:
        return f"<Lane {self._phase.value} buffered={len(self._buffer)} blocked={self.is_blocked}>"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; when there are too many, only for a health check or not at all."""
        self.transport = cast("asyncio.Transport", transport)
        ends = [transport.get_extra_info(end) for end in ("peername", "sockname")]
        peer, self.arrived_at = (str(end[0]) if end else "" for end in ends)
        lanes, limits = self.lanes, self.lanes.limits
        entry = lanes.limiter.enter(self, peer)
        if entry is Entry.REFUSED:
            self._refuse(TOO_MANY)
            return
        self._peer = peer
        self._for_health = entry is Entry.FOR_HEALTH
        lanes.open.add(self)
        if lanes.handshakes is not None:
            lanes.handshakes.begin(self.transport, self)
        self.transport.set_write_buffer_limits(high=FULL_BYTES)
        set_options(transport.get_extra_info("socket"))
        seconds = limits.header_seconds if self._phase is _NEW else limits.idle_seconds
        self.wait_for(min(seconds, _FOR_HEALTH_SECONDS) if self._for_health else seconds)

    def secured(self, transport: asyncio.Transport) -> None:
        """Go on over an encrypted connection; nothing has been read yet."""
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """End, and give the place back."""
        self._phase, self.is_blocked = _ENDING, True
        self.lanes.open.discard(self)
        self.lanes.deadlines.forget(self)
        self._leave()
        if self._half_closed is not None:
            self._half_closed.stop()
        if isinstance(self._current, Direct):
            self._current.cancel()
        if self._gate is not None:
            self._gate.lost(exc)
            self._gate = None
        self._current = None
        self._buffer = b""

    def eof_received(self) -> bool:
        """Keep the connection of a client that sends no more, until what it asked for is answered."""
        if self.is_answered() or self.lanes.is_secure:  # TLS has no half-close
            return False
        if self._current is not None:
            self._current.no_more()
        self._half_closed = HalfClosed(self, asyncio.get_running_loop())
        return True

    def data_received(self, data: bytes) -> None:
        """Take bytes: of the current request's body, or of the next head."""
        if self._phase is _ENDING:
            return
        if self._current is not None and not (data := self._current.feed(data)):
            return
        self._buffer = self._buffer + data if self._buffer else data
        if self._current is None:
            if self.lanes.takes_turn(self):
                self._advance()
        elif len(self._buffer) > _BACKLOG:
            self.pause()

    def pause_writing(self) -> None:
        """Take note that enough waits for the client."""
        self.is_blocked = True
        if isinstance(self._current, Passed):
            self.wait_for(self.lanes.limits.idle_seconds)
        if self._gate is not None:
            self._gate.pause_handler()

    def resume_writing(self) -> None:
        """Take note that the client has taken most of what waited."""
        self.is_blocked = False
        if isinstance(self._current, Passed):
            self.wait_no_more()
        if self._gate is not None:
            self._gate.resume_handler()
        if isinstance(self._current, Direct):
            self._current.has_room()

    def overdue(self) -> None:
        """End a connection whose client has had its time; one that takes its answer slowly has more."""
        if self._phase is _BUSY and isinstance(self._current, Direct):
            self._current.overdue()
        elif self._phase in (_BUSY, _ENDING):
            self.abort()
        else:
            self.force_close()

    def wait_for(self, seconds: float) -> None:
        """Give the client this long for what it has to do next."""
        self.lanes.deadlines.give(self, seconds)

    def wait_no_more(self) -> None:
        """Take the deadline back."""
        self.lanes.deadlines.drop(self)

    def pause(self) -> None:
        """Read nothing more from the client for now."""
        if not self._paused:
            self._paused = True
            self.transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self._paused:
            self._paused = False
            if not self.transport.is_closing():
                self.transport.resume_reading()

    @property
    def peer(self) -> str:
        """The client's address; empty once the connection has ended."""
        return self._peer or ""

    @property
    def date(self) -> str:
        """The time of day as an answer carries it."""
        return http_date(self.lanes.clock.wall() // 1)

    @property
    def may_continue(self) -> bool:
        """Whether another request may follow the one that is answered."""
        may_last = self._phase is _BUSY and not (self.lanes.closing or self._for_health)
        return may_last and (self._half_closed is None or bool(self._buffer))

    def lasts(self, *, lasting: bool, others: bool = False) -> None:
        """Take note that the current answer has no end of its own, or that it is over."""
        if self._peer is not None:
            self.lanes.limiter.lasts(self, lasting=lasting, others=others)

    def force_close(self) -> None:
        """End the connection, whatever it carries; what is written still goes out, if the client takes it."""
        self._phase = _ENDING
        if self.transport.get_write_buffer_size():
            self.wait_for(self.lanes.limits.idle_seconds)
        self.transport.close()

    @property
    def unsent_bytes(self) -> int:
        """Bytes that were written and that its client has not taken yet."""
        return self.transport.get_write_buffer_size()

    def close(self) -> None:
        """Take no further request; an idle connection ends at once.

        A head, or half of one, is answered: its sender could count on the connection that was kept for it.
        """
        if self._phase in (_NEW, _IDLE, _HEAD):
            self._refuse(ENDING) if self._buffer else self.force_close()

    def idleness(self) -> Idleness:
        """Return whether it may be closed without harm."""
        if self._phase is _HEAD:
            return Idleness.IN_HEAD
        return Idleness.IDLE if self._phase in (_NEW, _IDLE) and not self._buffer else Idleness.BUSY

    def give_way(self) -> None:
        """Close an idle connection, and give its place to another at once."""
        self._leave()
        self.force_close()

    def is_answered(self) -> bool:
        """Return whether everything that was asked has been answered, requests that came early included."""
        return self._phase is not _BUSY and not (self._phase is _IDLE and self._buffer)

    def fileno(self) -> int:
        """Return the descriptor; -1 once it is closed."""
        return -1 if self.transport.is_closing() else int(self.transport.get_extra_info("socket").fileno())

    def probe(self) -> bool:
        """Send an interim response before an answer of HTTP/1.1 begins; return whether that is done."""
        if self._current is not None and self._current.is_unanswered:
            self.transport.write(CONTINUE)
        return self._current is not None

    def abort(self, *, reset: bool = False) -> None:
        """Cut the client off; what still runs for it is cancelled."""
        self._phase, self.is_blocked = _ENDING, True
        if reset:
            linger = struct.pack("ii", 1, 0)
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.transport.abort()

    def detach(self) -> int | None:
        """Return a descriptor of an idle connection, now the caller's, and end here; None while it is in use.

        For the client nothing happens: what it sends next waits in the socket. One that is encrypted stays.
        """
        idle = self._phase in (_NEW, _IDLE) and not self._buffer and not self.lanes.is_secure
        if not idle or self.transport.is_closing() or self.transport.get_write_buffer_size():
            return None
        try:
            descriptor = os.dup(self.transport.get_extra_info("socket").fileno())
        except OSError:  # no descriptor is free: it stays
            return None
        self._phase = _ENDING
        self.transport.abort()
        return descriptor

    def finished(self, *, keep_alive: bool, complete: bool) -> None:
        """Go on after the answer to the current request.

        Args:
            keep_alive: Another request may follow.
            complete: Nothing of the request is still on its way.
        """
        self._current = None
        if self._phase is _ENDING:
            return
        if not (keep_alive and complete and self.may_continue):
            self._end(linger=not complete)
            return
        self._phase, lanes = _IDLE, self.lanes
        lanes.deadlines.give(self, lanes.limits.idle_seconds)
        self.resume()
        if self._buffer:
            asyncio.get_running_loop().call_soon(self.go_on)

    def go_on(self) -> None:
        """Begin a request that waits; one that came before the answer to the one before must not nest."""
        if self._current is None and self._buffer and self._phase is not _ENDING:
            self._advance()

    def _end(self, *, linger: bool) -> None:
        """End behind the answer; a client that still sends is read for a moment, or it would lose that."""
        self._buffer = b""
        if not linger:
            self.force_close()
            return
        self._phase = _ENDING
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.lanes.deadlines.give(self, LINGERING_SECONDS)

    def _advance(self) -> None:
        """Begin the next request whose head is here as a whole."""
        buffer = self._buffer
        if buffer[0] in b"\r\n":  # empty lines before a request line are passed over
            self._buffer = buffer = buffer.lstrip(b"\r\n")
            if not buffer:
                return
        raw, found, rest = buffer.partition(b"\r\n\r\n")
        if found:
            self._buffer = b""
            self._begin(raw, rest)
        elif is_hopeless(raw):
            self._refuse(MALFORMED)
        else:
            if self._phase is _IDLE:
                self.lanes.deadlines.give(self, self.lanes.limits.header_seconds)
            self._phase = _HEAD

    def _begin(self, raw: bytes, rest: bytes) -> None:
        """Send a request its way."""
        get_door = self.lanes.door
        door = None if get_door is None or self._for_health else get_door()
        bare = None if door is None else without_length(raw)
        if door and bare and (known := door.recall(self.arrived_at, bare[0])):
            current = self._take(known.head, bare[1], rest)
            if not current.go_straight(known):
                current.serve(known.admitted, known.again())
            return
        try:
            head = parse_request(raw)
        except RequestError:
            self._refuse(MALFORMED)
            return
        if self._for_health and head.target.partition("?")[0] not in HEALTH_PATHS:
            self._refuse(TOO_MANY)
        elif door is None or not door.is_direct(head.method, head.target):
            self._pass_on(raw, head, rest)
        else:
            self._judge(door, head, bare, rest)

    def _judge(self, door: Door, head: RequestHead, bare: tuple[bytes, int] | None, rest: bytes) -> None:
        """Answer a request here, if the door lets it in."""
        current = self._take(head, head.length, rest)
        asked = head.presented(self.arrived_at, self._peer or "", secure=self.lanes.is_secure)
        found = door.admit(asked, request_id(head.headers))
        if not isinstance(found, Admitted):
            current.refuse(found)
            return
        if bare is None or not current.go_straight(door.remember(self.arrived_at, bare[0], head, found)):
            current.serve(found, found.context)

    def _take(self, head: RequestHead, length: int | None, rest: bytes) -> Direct:
        """Begin a request that the lane answers, of whose body there may be a part."""
        self._phase = _BUSY
        self.lanes.deadlines.drop(self)
        self._current = current = Direct(self, head, length, head.is_newest, head.keep_alive)
        if length == len(rest):
            current.body = rest
        else:
            self._buffer = current.feed(rest)
        return current

    def _pass_on(self, raw: bytes, head: RequestHead, rest: bytes) -> None:
        """Have aiohttp answer a request."""
        self._phase = _BUSY
        self.lanes.deadlines.drop(self)
        if self._gate is None:
            self._gate = Gate(self, self.lanes.server)
        self._current = self._gate.open_for(raw + b"\r\n\r\n", head)
        if rest:
            self.data_received(rest)

    def _refuse(self, error: RequestError) -> None:
        """Answer where no request was read, and end: where a next one would begin is unknown."""
        fields = {"X-Request-ID": new_id()}
        answer = error_answer(error, self.lanes.dialect, unread=True).carrying(fields)
        head = encode_answer(answer.status, answer.sized(), self.date, keep_alive=False)
        self.transport.write(head + answer.body)
        self._end(linger=True)

    def _leave(self) -> None:
        if self._peer is not None:
            self.lanes.limiter.leave(self, self._peer)
            self._peer = None

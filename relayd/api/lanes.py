"""What do all connections of a listener share, and what does each of them do just now?"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from aiohttp import web

from relayd.api.deadlines import Deadlines
from relayd.api.door import Door
from relayd.api.limiter import ConnectionLimiter, ConnectionLimits, Idleness
from relayd.api.tls import Handshakes
from relayd.clock import Clock
from relayd.router import Dialect

_MOST_AT_ONCE = 32
"""Requests that are begun before the loop looks at other connections again: 2 to 3 ms of work. A thousand
that come at once would hold back the streams of all others for as long as it takes to begin them."""

_OF_A_COROUTINE = 8
"""As how many of them one counts that a coroutine begins, which mostly opens a connection to its replica."""


class OpenLane(Protocol):
    """One of the connections."""

    def go_on(self) -> None:
        """Begin the request that has come, if there still is one."""
        ...

    def idleness(self) -> Idleness:
        """Return whether it may be closed without harm."""
        ...

    @property
    def unsent_bytes(self) -> int:
        """Bytes that were written and that its client has not taken yet."""
        ...

    def close(self) -> None:
        """Take no further request."""
        ...

    def abort(self) -> None:
        """Cut the client off."""
        ...

    def detach(self) -> int | None:
        """Return a descriptor of an idle connection, now the caller's; None while it is in use."""
        ...


class Phase(Enum):
    """What a connection does."""

    NEW = "new"
    """It waits for its first head, which has a deadline from the start."""
    IDLE = "idle"
    """It waits for the next head."""
    HEAD = "head"
    """A head has begun, and has its deadline."""
    BUSY = "busy"
    """A request is answered."""
    ENDING = "ending"
    """Nothing more is answered."""


@dataclass(slots=True, eq=False)
class Lanes:
    """What all connections of a listener share.

    Attributes:
        limits: What clients may hold open.
        limiter: Counts them.
        deadlines: When the time of each is up.
        server: aiohttp's, for what the lane does not answer.
        dialect: How errors are written to requests that never reach a route.
        clock: Dates answers.
        door: Who lets requests in to be answered directly; None leaves all of them to aiohttp.
        handshakes: Encrypts connections; None leaves them as they are.
        open: Every connection.
        closing: No request may follow one that is being answered.
    """

    limits: ConnectionLimits
    limiter: ConnectionLimiter
    deadlines: Deadlines
    server: web.Server
    dialect: Dialect
    clock: Clock
    door: Callable[[], Door] | None = None
    handshakes: Handshakes | None = None
    open: "set[OpenLane]" = field(default_factory=set)
    closing: bool = False
    _waiting: deque[OpenLane] = field(default_factory=deque)
    """Those whose request is begun a little later."""
    _begun: int = 0
    """Requests since the loop has looked at all connections."""
    _looked_at: float = 0.0

    @property
    def is_secure(self) -> bool:
        """Whether connections are encrypted."""
        return self.handshakes is not None

    @property
    def unsent_bytes(self) -> int:
        """Bytes that were written and that clients have not taken yet."""
        return sum(lane.unsent_bytes for lane in self.open)

    def takes_turn(self, lane: OpenLane) -> bool:
        """Return whether a connection begins a request now; else it goes on a little later."""
        now = self.deadlines.time()  # uvloop's stands still while it works on what it has found at one look
        if now != self._looked_at:
            self._looked_at, self._begun = now, 0
        self._begun += 1
        if self._begun <= _MOST_AT_ONCE and not self._waiting:
            return True
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._next_turns)
        self._waiting.append(lane)
        return False

    def needs_coroutine(self) -> None:
        """Take note that the request that was begun just now takes longer than most."""
        self._begun += _OF_A_COROUTINE - 1

    def _next_turns(self) -> None:
        self._begun = 0
        while self._waiting and self._begun < _MOST_AT_ONCE:
            self._begun += 1
            self._waiting.popleft().go_on()
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._next_turns)

    def close(self) -> None:
        """Take no further request on any connection."""
        self.closing = True
        for lane in tuple(self.open):
            lane.close()

    def abort(self) -> None:
        """Cut off every connection."""
        for lane in tuple(self.open):
            lane.abort()
        self.deadlines.close()

    def __repr__(self) -> str:
        return f"<Lanes open={len(self.open)} {self.deadlines!r}>"

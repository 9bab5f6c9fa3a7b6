"""Which connections are let in when there are too many (limits, places kept for health checks)?

Idle connections give way first, the oldest before the others: closing one is what HTTP expects. Where none
is idle a new one gets a place that is kept for health checks: what monitors ask is answered,
and the rest refused.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import chain, islice
from typing import Protocol

from relayd.errors import TooManyConnectionsError

_MOST = 2048
_KEPT = 16
"""Connections beyond the limits that may ask for the health of the server."""

_AT_ONCE = 16
"""Idle connections that are closed together: who opens many causes one search for several."""

HEALTH_PATHS = frozenset({"/healthz", "/readyz", "/health"})
"""What is answered on a connection beyond the limits."""

TOO_MANY = TooManyConnectionsError(
    "This server has as many connections as it may, and none of them is idle.",
    remedy="Try again later, over connections that are kept open.",
    retry_after_seconds=1,
)


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What one client and all clients together may hold open.

    Attributes:
        header_seconds: How long a request head may take from its first byte (the first head of a
            connection: from its start).
        idle_seconds: How long a connection may wait between requests.
        connections: How many there may be.
        connections_per_peer: How many of them may come from one address.
    """

    header_seconds: float = 10
    idle_seconds: float = 75
    connections: int = _MOST
    connections_per_peer: int = _MOST // 2

    @classmethod
    def within(cls, descriptors: int, *, header_seconds: float, idle_seconds: float) -> "ConnectionLimits":
        """Return limits that leave a quarter of the descriptors of this process to everything else."""
        connections = min(_MOST, max(2, descriptors * 3 // 4))
        return cls(header_seconds, idle_seconds, connections, connections // 2)


class Idleness(Enum):
    """Whether a connection may be closed without harm."""

    BUSY = "busy"
    IN_HEAD = "in head"
    """A part of a request head has come."""
    IDLE = "idle"


class Occupant(Protocol):
    """A connection that takes a place."""

    def idleness(self) -> Idleness:
        """Return whether it may be closed."""
        ...

    def give_way(self) -> None:
        """Leave the limiter and close."""
        ...

    def force_close(self) -> None:
        """Close."""
        ...


class Entry(Enum):
    """What a new connection may do."""

    ADMITTED = "admitted"
    FOR_HEALTH = "for health"
    """Ask for the health of the server, and nothing else."""
    REFUSED = "refused"


class ConnectionLimiter:
    """Counts open connections, in all and by peer, and decides what one too many may do.

    Connections with a lasting answer (an event stream) are counted apart: they take a place, but
    a drain does not wait for them.

    Args:
        limits: How many there may be.
        is_proxy: Returns whether an address is that of a trusted proxy, which stands for many clients.
    """

    def __init__(self, limits: ConnectionLimits, is_proxy: Callable[[str], bool] = lambda _: False) -> None:
        self._limits = limits
        self._is_proxy = is_proxy
        self._by_peer: dict[str, dict[Occupant, None]] = {}
        self._kept: dict[Occupant, None] = {}
        self._admitted = 0
        self._lasting: set[Occupant] = set()
        self._carrying: set[Occupant] = set()
        self._drained = asyncio.Event()
        self._drained.set()

    def __repr__(self) -> str:
        return (
            f"<ConnectionLimiter open={self._admitted} of {self._limits.connections} "
            f"peers={len(self._by_peer)} lasting={len(self._lasting)} for health={len(self._kept)}>"
        )

    def enter(self, connection: Occupant, peer: str) -> Entry:
        """Count a connection of `peer`, and return what it may do."""
        own = self._by_peer.get(peer, {})
        crowded = len(own) >= self._limits.connections_per_peer and not self._is_proxy(peer)
        if crowded or self._admitted >= self._limits.connections:
            others = own if crowded else chain.from_iterable(self._by_peer.values())
            if not _close_idle(others, _AT_ONCE):
                return self._keep(connection)
        self._by_peer.setdefault(peer, {})[connection] = None
        self._admitted += 1
        self._update()
        return Entry.ADMITTED

    def leave(self, connection: Occupant, peer: str) -> None:
        """Forget a connection; nothing if it is not counted."""
        self._lasting.discard(connection)
        self._carrying.discard(connection)
        own = self._by_peer.get(peer, {})
        if connection in own:
            del own[connection]
            self._admitted -= 1
            if not own:
                del self._by_peer[peer]
        self._kept.pop(connection, None)
        self._update()

    def lasts(self, connection: Occupant, *, lasting: bool, others: bool = False) -> None:
        """Note that a connection carries an answer without end, or no longer does.

        One that carries requests of others is not ended by `end_lasting`: it is of use until they are over.
        """
        counted = self._carrying if others else self._lasting
        (counted.add if lasting else counted.discard)(connection)
        self._update()

    def end_lasting(self) -> None:
        """Close every connection that carries an answer without end."""
        for connection in tuple(self._lasting):
            connection.force_close()

    async def drained(self) -> None:
        """Wait until no connection is open, except those with a lasting answer."""
        await self._drained.wait()

    def _keep(self, connection: Occupant) -> Entry:
        """Give a connection one of the places for health checks, if need be that of an idle one."""
        if len(self._kept) >= _KEPT and not _close_idle(self._kept, 1):
            return Entry.REFUSED
        self._kept[connection] = None
        self._update()
        return Entry.FOR_HEALTH

    def _update(self) -> None:
        if self._admitted + len(self._kept) > len(self._lasting) + len(self._carrying):
            self._drained.clear()
        else:
            self._drained.set()


def _close_idle(connections: Iterable[Occupant], most: int) -> bool:
    """Close the oldest idle connections, else the oldest in a head; return whether there were any."""
    known = tuple(connections)
    for wanted in (Idleness.IDLE, Idleness.IN_HEAD):
        found = list(islice(_that_are(wanted, known), most))
        for one in found:
            one.give_way()
        if found:
            return True
    return False


def _that_are(wanted: Idleness, connections: Iterable[Occupant]) -> Iterator[Occupant]:
    return (one for one in connections if one.idleness() is wanted)

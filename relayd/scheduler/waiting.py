"""What is known of a ticket while it is on its way to a slot?"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

import msgspec

from relayd.scheduler.capacity import Capacity
from relayd.scheduler.events import Ticket
from relayd.scheduler.exchange import Exchange


class Learner(Protocol):
    """A strategy that learns from what becomes of requests."""

    def started(self, waiting: "Waiting", capacity: Capacity, now: float) -> None:
        """Take note that a request runs on a replica."""
        ...

    def ended(self, waiting: "Waiting", capacity: Capacity, exchange: Exchange | None, now: float) -> None:
        """Take note that it has ended; `exchange` is None where its answer is not whole."""
        ...


class Hold(msgspec.Struct, frozen=True):
    """A ticket is to wait for a replica that is busy, though another one has a free slot.

    Attributes:
        goal: Which one.
        look_at: When to decide anew, if nothing happens before (monotonic seconds).
        unread_bytes: What the replica has not read of its prompt.
        ahead: How many tickets in front were held for it.
        served: How many dispatches the replica had had when this was decided.
    """

    goal: Capacity
    look_at: float
    unread_bytes: int = 0
    ahead: int = 0
    served: int = 0

    def stands(self, now: float) -> bool:
        """Return whether nothing has changed there, as far as starts and time go."""
        return now < self.look_at and self.goal.served == self.served


class Waiting(msgspec.Struct, eq=False):
    """A ticket on its way to a slot.

    Attributes:
        ticket: What waits.
        attempts: Dispatches so far.
        avoid: Where an attempt failed, and until when (monotonic seconds) it is avoided.
        is_suspect: It may have ended a replica: it runs beside no other of which that is so.
        hold_until: Until when it may be held for a busy replica while others pass it (monotonic seconds);
            None while it was not held.
        warm: Bytes of its prompt that replicas were found to have read before.
        held: What it is held for.
        yielded: How often it has given its slots to others after its prompt was read.
        spared_since: Since when it waits for what costs less (monotonic seconds); None while it did not.
        learner: What chose its replica, and learns from what becomes of it; None where nothing does.
    """

    ticket: Ticket
    attempts: int = 0
    avoid: Mapping[Capacity, float] = {}
    is_suspect: bool = False
    hold_until: float | None = None
    warm: Mapping[Capacity, int] = {}
    held: Hold | None = None
    yielded: int = 0
    spared_since: float | None = None
    learner: Learner | None = None

    def may_hold(self, now: float) -> bool:
        """Return whether others may pass it at `now` (monotonic seconds)."""
        return self.hold_until is None or now < self.hold_until

    def stay_away(self, capacity: Capacity, until: float) -> None:
        """Avoid a replica until then (monotonic seconds)."""
        self.avoid = {**self.avoid, capacity: until}

    def avoids(self, capacity: Capacity, now: float) -> bool:
        """Return whether an attempt failed there too recently, or another suspect runs there."""
        return self.avoid.get(capacity, now) > now or (self.is_suspect and capacity.suspect is not None)

    def away(self, capacities: Iterable[Capacity], now: float) -> frozenset[Capacity]:
        """Return those of some replicas that are avoided at `now` (monotonic seconds)."""
        if not (self.avoid or self.is_suspect):
            return frozenset()
        return frozenset(capacity for capacity in capacities if self.avoids(capacity, now))

    def moments(self, now: float) -> Iterator[float]:
        """Yield when time alone changes something for this ticket (monotonic seconds)."""
        if (deadline := self.ticket.ask.deadline) is not None:
            yield deadline
        if self.hold_until is not None:
            yield self.hold_until
        yield from (until for until in self.avoid.values() if until > now)


Choice = Capacity | Hold | None
"""Where a ticket runs now; or what it is held for; None where it cannot run yet."""

"""Restart policy: whether a replica that ended by itself is started again, and when (budget, backoff).

An exit is counted once for every request body: a body that ends a replica again and again spends one try, and
not the whole budget. Where the budget is spent, what follows depends on how the last incarnation ended: one
that had been ready and ended under load is tried again slowly, because the load may have been the reason; one
that did not get so far is given up, because an operator has to look at it.
"""

from collections import deque
from dataclasses import dataclass, replace
from random import Random

from relayd.config.schema import Restart
from relayd.supervisor.causes import Exit

_JITTER = 0.2
"""Share by which a delay is moved, so that replicas that ended together do not start together."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Start it again, after some seconds.

    Attributes:
        delay_seconds: How long to wait.
        slow: Whether the restart budget is spent, so that the wait is a long one.
    """

    delay_seconds: float
    slow: bool = False


AT_ONCE = Retry(0.0)
"""Without a wait."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Start it no more until an operator does."""


@dataclass(frozen=True, slots=True)
class Served:
    """How an incarnation had served when it ended.

    Attributes:
        ready_seconds: For how long it had been ready; None if it never was.
        in_flight: Digests of the request bodies that it was working on.
        busy: Whether it was working on any request.
    """

    ready_seconds: float | None = None
    in_flight: frozenset[str] = frozenset()
    busy: bool = False

    @property
    def was_ready(self) -> bool:
        """Whether it had come up."""
        return self.ready_seconds is not None

    @property
    def under_load(self) -> bool:
        """Whether it had been ready, and had requests to work on."""
        return self.was_ready and (self.busy or bool(self.in_flight))


NOT_SERVED = Served()
"""An incarnation that never was ready."""


@dataclass(frozen=True, slots=True)
class CountedExit:
    """An exit that the budget counts.

    Attributes:
        at: When it was, in seconds.
        weight: What it costs.
        in_flight: Digests of the request bodies that were in flight.
    """

    at: float
    weight: int
    in_flight: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Spent:
    """What a replica has spent of its restart budget.

    Attributes:
        exits: Those in the window.
        failures: Exits in a row, none of which was after a stable time.
        slow: Slow retries in a row.
    """

    exits: tuple[CountedExit, ...] = ()
    failures: int = 0
    slow: int = 0

    def moved(self, seconds: float) -> "Spent":
        """Return the same by another clock, which is ahead by so many seconds."""
        return replace(self, exits=tuple(replace(one, at=one.at + seconds) for one in self.exits))


NOTHING_SPENT = Spent()
"""The whole budget is left."""


class Restarts:
    """The exits of one replica, and what they allow.

    Args:
        settings: Delays, budget and its window.
        random: Spreads the delays.
    """

    def __init__(self, settings: Restart, random: Random) -> None:
        self._settings = settings
        self._random = random
        self._exits: deque[CountedExit] = deque()
        self._failures = 0
        self._slow = 0

    def __repr__(self) -> str:
        return f"<Restarts: {self._failures} failures in a row, {len(self._exits)} exits in the window>"

    def configure(self, settings: Restart) -> None:
        """Take other settings, from the next exit on."""
        self._settings = settings

    def is_stable(self, served: Served) -> bool:
        """Return whether an incarnation has been ready for so long that its end is a new story."""
        return served.ready_seconds is not None and served.ready_seconds >= self._settings.stable_seconds

    def ended(
        self, exit_: Exit, now: float, served: Served = NOT_SERVED, *, smaller: bool = False
    ) -> Retry | GiveUp:
        """Count an exit that was not commanded, and return what follows.

        Args:
            exit_: Why it ended.
            now: Monotonic seconds.
            served: How it had served.
            smaller: Whether the next start asks for less memory: that costs nothing of the budget.
        """
        stable = self.is_stable(served)
        self._failures = 1 if stable else self._failures + 1
        self._slow = 0 if stable else self._slow
        if smaller:
            return Retry(self._delay_seconds())
        self._exits.append(CountedExit(now, exit_.weight, served.in_flight))
        if exit_.hopeless:
            return GiveUp()
        if self.left(now) >= 0:
            return Retry(self._delay_seconds())
        return self._slowly() if served.under_load else GiveUp()

    def left(self, now: float) -> int:
        """Return how many more exits are tolerated; negative once the budget is overspent."""
        while self._exits and self._exits[0].at <= now - self._settings.budget_seconds:
            self._exits.popleft()
        seen, spent = set[str](), 0
        for one in self._exits:
            spent += one.weight if seen.isdisjoint(one.in_flight) else 0
            seen |= one.in_flight
        return self._settings.budget - spent

    def spent(self) -> Spent:
        """Return what has been counted, by the clock that it was counted with."""
        return Spent(tuple(self._exits), self._failures, self._slow)

    def resume(self, spent: Spent) -> None:
        """Continue with what another daemon has counted, by the clock of this one."""
        self._exits, self._failures, self._slow = deque(spent.exits), spent.failures, spent.slow

    def forget(self) -> None:
        """Forget every exit: an operator started the replica."""
        self.resume(NOTHING_SPENT)

    def _slowly(self) -> Retry:
        settings = self._settings
        delay = settings.slow_delay_seconds * 2.0 ** min(self._slow, 30)
        self._slow += 1
        return Retry(self._spread(min(settings.max_slow_delay_seconds, delay)), slow=True)

    def _delay_seconds(self) -> float:
        """Return the wait before the next start: it doubles with every failure in a row."""
        settings = self._settings
        delay = settings.first_delay_seconds * 2.0 ** min(self._failures - 1, 30)
        return self._spread(min(settings.max_delay_seconds, delay))

    def _spread(self, seconds: float) -> float:
        return seconds * (1 + _JITTER * self._random.uniform(-1, 1))

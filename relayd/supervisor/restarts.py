"""Restart policy: whether a replica that ended by itself is started again, and when (budget, backoff)."""

from collections import deque
from dataclasses import dataclass
from random import Random

from relayd.config.schema import Restart
from relayd.supervisor.causes import Exit

_JITTER = 0.2
"""Share by which a delay is moved, so that replicas that ended together do not start together."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Start it again, after some seconds."""

    delay_seconds: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Start it no more until an operator does."""


class Restarts:
    """The exits of one replica, and what they allow.

    Args:
        settings: Delays, budget and its window.
        random: Spreads the delays.
    """

    def __init__(self, settings: Restart, random: Random) -> None:
        self._settings = settings
        self._random = random
        self._exits: deque[tuple[float, int]] = deque()
        self._failures = 0

    def __repr__(self) -> str:
        return f"<Restarts: {self._failures} failures in a row, {len(self._exits)} exits in the window>"

    def configure(self, settings: Restart) -> None:
        """Take other settings, from the next exit on."""
        self._settings = settings

    def is_stable(self, served_seconds: float | None) -> bool:
        """Return whether an incarnation has been ready for so long that its end is a new story."""
        return served_seconds is not None and served_seconds >= self._settings.stable_seconds

    def ended(
        self, exit_: Exit, now: float, served_seconds: float | None, *, smaller: bool = False
    ) -> Retry | GiveUp:
        """Count an exit that was not commanded, and return what follows.

        Args:
            exit_: Why it ended.
            now: Monotonic seconds.
            served_seconds: For how long it had been ready; None if it never was.
            smaller: Whether the next start asks for less memory: that costs nothing of the budget.
        """
        self._failures = 1 if self.is_stable(served_seconds) else self._failures + 1
        if not smaller:
            self._exits.append((now, exit_.weight))
            if exit_.hopeless or self.left(now) < 0:
                return GiveUp()
        return Retry(self._delay_seconds())

    def left(self, now: float) -> int:
        """Return how many more exits are tolerated; negative once the budget is overspent."""
        while self._exits and self._exits[0][0] <= now - self._settings.budget_seconds:
            self._exits.popleft()
        return self._settings.budget - sum(weight for _, weight in self._exits)

    @property
    def failures(self) -> int:
        """Exits in a row, none of which was after a stable time."""
        return self._failures

    def resume(self, failures: int) -> None:
        """Go on with the failures in a row that another daemon has counted."""
        self._failures = failures

    def forget(self) -> None:
        """Forget every exit: an operator started the replica."""
        self._exits.clear()
        self._failures = 0

    def _delay_seconds(self) -> float:
        """Return the wait before the next start: it doubles with every failure in a row."""
        settings = self._settings
        delay = settings.first_delay_seconds * 2.0 ** min(self._failures - 1, 30)
        jitter = 1 + _JITTER * self._random.uniform(-1, 1)
        return min(settings.max_delay_seconds, delay) * jitter

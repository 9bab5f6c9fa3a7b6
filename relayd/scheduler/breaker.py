"""Which replica is left alone for a while, because it failed one request after the other (circuit breaker)?

A replica at which `MOST_FAILURES` attempts in a row have failed gets nothing for a second, doubling up to
30; then one request is tried there, and the next one only when that was answered, or after as long
again. The last replica of a model that takes work is never left alone.
"""

from collections.abc import Callable, Iterable, Sequence

import msgspec

from relayd.scheduler.capacity import Capacity

MOST_FAILURES = 3
"""Attempts that fail in a row at a replica that is still given work: one bad request may fail at each."""

_FIRST_SECONDS, _MOST_SECONDS = 1.0, 30.0


class _Failing(msgspec.Struct, eq=False):
    """A replica at which the last attempts failed."""

    failures: int = 0
    until: float = 0.0

    def rest(self, now: float) -> None:
        """Leave it alone from `now` on (monotonic seconds)."""
        doublings = min(self.failures - MOST_FAILURES, 10)
        self.until = now + min(_MOST_SECONDS, _FIRST_SECONDS * 2**doublings)


class CircuitBreaker:
    """Counts failures of replicas.

    Attributes:
        failing: The replicas whose last attempt failed; while there is none, nothing else here matters.
    """

    def __init__(self) -> None:
        self.failing: dict[Capacity, _Failing] = {}

    def __repr__(self) -> str:
        return f"<CircuitBreaker {len(self.failing)} failing>"

    def failed(self, capacity: Capacity, now: float) -> None:
        """Take note that an attempt failed."""
        failing = self.failing.setdefault(capacity, _Failing())
        failing.failures += 1
        if failing.failures >= MOST_FAILURES:
            failing.rest(now)

    def tried(self, capacity: Capacity, now: float) -> None:
        """Take note that a replica gets a request: where it is failing, no other one until that has ended."""
        failing = self.failing.get(capacity)
        if failing is not None and failing.failures >= MOST_FAILURES:
            failing.rest(now)

    def served(self, capacity: Capacity) -> None:
        """Take note that a replica has answered a request."""
        self.failing.pop(capacity, None)

    def allowed(
        self, fitting: Sequence[Capacity], all_of_model: Iterable[Capacity], now: float
    ) -> Sequence[Capacity]:
        """Return those of some replicas that are not left alone; all of them where the model has no other.

        Args:
            fitting: Replicas that have slots for a ticket.
            all_of_model: Every replica of its model that has slots at all.
            now: Monotonic seconds.
        """
        if not any(self._rests(one, now) for one in fitting):
            return fitting
        others = any(one.accepting and not self._rests(one, now) for one in all_of_model)
        return [one for one in fitting if not self._rests(one, now)] if others else fitting

    def keep(self, is_there: Callable[[Capacity], bool]) -> None:
        """Forget the replicas that are not there any more."""
        self.failing = {one: failing for one, failing in self.failing.items() if is_there(one)}

    def _rests(self, capacity: Capacity, now: float) -> bool:
        failing = self.failing.get(capacity)
        return failing is not None and failing.until > now

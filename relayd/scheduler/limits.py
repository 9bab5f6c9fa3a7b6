"""May a key send another request now, by its own limits and quotas?

Limits of a minute hold for any sixty seconds, not for those of the clock: what was used is counted in
steps of at most a second, and a step is forgotten once the last of it is a minute old. How many tokens an
answer takes is known at its end, so requests that run together may take more than what was left.

A key's limits are looked at with each request, so that a sum is read without a call: it is searched for what
is too old only once something is.
"""

import math
from collections import deque
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Generic, TypeVar

import msgspec

from relayd.rights import KeyLimits, Quota

MINUTE_SECONDS = 60
_MINUTE = MINUTE_SECONDS - 1e-6
"""Less than 60 by more than binary fractions lose: who waits as long as was reported is not refused again."""

Waiter = TypeVar("Waiter")


class Bound(Enum):
    """What a request is refused for."""

    REQUESTS = "requests a minute"
    TOKENS = "tokens a minute"
    QUEUE = "requests that wait"
    QUOTA = "quota"


class Over(msgspec.Struct, frozen=True):
    """A request is over a limit.

    Attributes:
        bound: Of which kind.
        limit: How much is allowed.
        wait_seconds: When another request makes sense.
        quota: The quota that is used up.
        ends: When it begins anew, in seconds since 1970.
    """

    bound: Bound
    limit: int
    wait_seconds: float
    quota: Quota | None = None
    ends: float = 0.0


class _CountedSecond:
    """What came within a second.

    Attributes:
        until: When the second is over.
        count: How much.
        last: When the last of it came.
    """

    __slots__ = ("count", "last", "until")

    def __init__(self, until: float) -> None:
        self.until = until
        self.count = 0
        self.last = 0.0


class MinuteCount:
    """A sum over the last minute; times are monotonic seconds, which never step back.

    Attributes:
        total: The sum, which is right before `stale_at`; then `at` makes it right.
        stale_at: When something of it may be a minute old.
        last: When something was counted last.
    """

    __slots__ = ("_newest", "_steps", "last", "stale_at", "total")

    def __init__(self) -> None:
        self._steps = deque[_CountedSecond]()
        self._newest = _CountedSecond(-math.inf)
        self.total = 0
        self.stale_at = math.inf
        self.last = 0.0

    def __repr__(self) -> str:
        return f"<MinuteCount {self.total}>"

    def at(self, now: float) -> int:
        """Return the sum at `now`."""
        if now >= self.stale_at:
            steps = self._steps
            while steps and now - steps[0].last >= _MINUTE:
                self.total -= steps.popleft().count
            self.stale_at = steps[0].last + _MINUTE if steps else math.inf
        return self.total

    def add(self, count: int, now: float) -> None:
        """Count something that came at `now`, for which the sum was read before."""
        step = self._newest
        if now >= step.until:
            self._newest = step = _CountedSecond(now + 1)
            if not self._steps:
                self.stale_at = now + _MINUTE
            self._steps.append(step)
        step.count += count
        step.last = self.last = now
        self.total += count

    def empty_seconds(self, now: float) -> float:
        """Return how long it takes until nothing is left of the sum."""
        return self.last + MINUTE_SECONDS - now if self.total else 0.0

    def seconds_until(self, most: int, now: float) -> float:
        """Return how long it takes until the sum is at most this."""
        left, last = self.total, now - MINUTE_SECONDS
        for step in self._steps:
            if left <= most:
                break
            left, last = left - step.count, step.last
        return max(0.0, last + MINUTE_SECONDS - now)


class Spending:
    """What a key has used in the day and in the month that it is (UTC).

    Args:
        now: Seconds since 1970.
        day: Requests and tokens of this day so far.
        month: Those of this month.
    """

    __slots__ = ("_day_ends", "_month_ends", "_used")

    def __init__(self, now: float, day: tuple[int, int] = (0, 0), month: tuple[int, int] = (0, 0)) -> None:
        self._used = {
            ("requests", "day"): day[0],
            ("tokens", "day"): day[1],
            ("requests", "month"): month[0],
            ("tokens", "month"): month[1],
        }
        self._day_ends, self._month_ends = period_ends(now)

    def __repr__(self) -> str:
        return f"<Spending {self._used}>"

    def add(self, tokens: int, now: float) -> None:
        """Count a request that is over (seconds since 1970)."""
        self._turn(now)
        for period in ("day", "month"):
            self._used["requests", period] += 1
            self._used["tokens", period] += tokens

    def used(self, quota: Quota, now: float) -> int:
        """Return what is used of a quota (seconds since 1970)."""
        self._turn(now)
        return self._used[quota.what, quota.period]

    def ends(self, quota: Quota) -> float:
        """Return when a quota begins anew, in seconds since 1970."""
        return self._day_ends if quota.period == "day" else self._month_ends

    def _turn(self, now: float) -> None:
        """Begin with nothing used where a day or a month is over."""
        if now < self._day_ends:
            return
        over = {"day"} if now < self._month_ends else {"day", "month"}
        for what, period in self._used:
            if period in over:
                self._used[what, period] = 0
        self._day_ends, self._month_ends = period_ends(now)


class Meter(Generic[Waiter]):
    """What one key has used of its limits, and which of its requests wait for their turn.

    Args:
        limits: What it may do at once and in a minute.
        quotas: What it may use in a day or a month.
        spending: What it has used in these.
    """

    def __init__(self, limits: KeyLimits, quotas: tuple[Quota, ...], spending: Spending) -> None:
        self.limits = limits
        self.quotas = quotas
        self.spending = spending
        self.requests = MinuteCount()
        self.tokens = MinuteCount()
        self.admitted = 0
        self.running = 0
        self._waiting = deque[Waiter]()

    def __repr__(self) -> str:
        return f"<Meter admitted={self.admitted} running={self.running} waiting={len(self._waiting)}>"

    def admit(self, now: float, wall: float) -> Over | None:
        """Count a request that arrives, or return why it may not.

        Args:
            now: Monotonic seconds.
            wall: Seconds since 1970.
        """
        limits, requests, tokens = self.limits, self.requests, self.tokens
        if (rpm := limits.rpm) is not None:
            used = requests.total if now < requests.stale_at else requests.at(now)
            if used >= rpm:
                return Over(Bound.REQUESTS, rpm, requests.seconds_until(rpm - 1, now))
        if (tpm := limits.tpm) is not None:
            used = tokens.total if now < tokens.stale_at else tokens.at(now)
            if used >= tpm:
                return Over(Bound.TOKENS, tpm, tokens.seconds_until(tpm - 1, now))
        for quota in self.quotas:
            open_requests = self.admitted if quota.what == "requests" else 0
            if self.spending.used(quota, wall) + open_requests >= quota.amount:
                ends = self.spending.ends(quota)
                return Over(Bound.QUOTA, quota.amount, max(0.0, ends - wall), quota, ends)
        if rpm is not None:
            requests.add(1, now)
        self.admitted += 1
        return None

    def leave(self, tokens: int, now: float, wall: float, *, used: bool) -> None:
        """Take note that an admitted request is over.

        Args:
            tokens: What it took.
            now: Monotonic seconds.
            wall: Seconds since 1970; any where there are no quotas.
            used: Whether it reached a replica: only then it counts for quotas.
        """
        self.admitted -= 1
        if tokens and self.limits.tpm is not None:
            minute = self.tokens
            if now >= minute.stale_at:
                minute.at(now)
            minute.add(tokens, now)
        if used and self.quotas:
            self.spending.add(tokens, wall)

    def take_turn(self, waiter: Waiter) -> "bool | Over":
        """Begin a request: True runs it at once, False has it wait until `end_turn` returns it."""
        limits = self.limits
        if limits.in_flight is None or self.running < limits.in_flight:
            self.running += 1
            return True
        if limits.queued is not None and len(self._waiting) >= limits.queued:
            return Over(Bound.QUEUE, limits.queued, 1.0)
        self._waiting.append(waiter)
        return False

    def end_turn(self) -> Waiter | None:
        """Take note that a request has ended, and return the one whose turn it is now."""
        most = self.limits.in_flight
        if self._waiting and (most is None or self.running <= most):
            return self._waiting.popleft()
        self.running -= 1
        return None

    def configure(self, limits: KeyLimits, quotas: tuple[Quota, ...]) -> list[Waiter]:
        """Take other limits, what was used stays; return the requests whose turn it is by them."""
        self.limits, self.quotas = limits, quotas
        free = len(self._waiting) if limits.in_flight is None else max(0, limits.in_flight - self.running)
        begun = [self._waiting.popleft() for _ in range(min(free, len(self._waiting)))]
        self.running += len(begun)
        return begun

    def give_up(self, waiter: Waiter) -> None:
        """Forget a request that waits."""
        self._waiting.remove(waiter)

    @property
    def waiting(self) -> tuple[Waiter, ...]:
        """Those that wait for their turn, the first in line first."""
        return tuple(self._waiting)


def period_ends(now: float) -> tuple[float, float]:
    """Return when this day and this month end, in seconds since 1970."""
    moment = datetime.fromtimestamp(now, UTC)
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    next_month = (midnight.replace(day=1) + timedelta(days=32)).replace(day=1)
    return (midnight + timedelta(days=1)).timestamp(), next_month.timestamp()

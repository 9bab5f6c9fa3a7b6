"""How is a client shown the limits of its key: in the head of every answer, and where one is over (429)?"""

from collections.abc import MutableMapping
from datetime import UTC, datetime

from relayd.errors import QuotaError, RateLimitError
from relayd.router.dialect import ShowLimit
from relayd.scheduler.limits import MINUTE_SECONDS, Bound, MinuteCount, Over

_ALMOST = 0.999999
"""Added to seconds that are then cut off to whole ones: rounded up, but not for the last binary digit."""

_ROUNDED = MINUTE_SECONDS + _ALMOST

_SECONDS = tuple(f"{seconds}s" for seconds in range(MINUTE_SECONDS + 1))


class ShownLimit:
    """A limit of a minute, as the fields that clients of OpenAI read.

    Args:
        what: `requests` or `tokens`.
        limit: How many there may be.
        count: How many there were.
    """

    __slots__ = ("_count", "_limit", "_limit_name", "_limit_text", "_remaining_name", "_reset_name", "_what")

    def __init__(self, what: str, limit: int, count: MinuteCount) -> None:
        self._what = what
        self._limit = limit
        self._count = count
        self._limit_text = str(limit)
        self._limit_name, self._remaining_name, self._reset_name = (
            f"x-ratelimit-{figure}-{what}" for figure in ("limit", "remaining", "reset")
        )

    def __repr__(self) -> str:
        return f"<ShownLimit {self._count.total} of {self._limit} {self._what}>"

    def add_to(self, fields: MutableMapping[str, str], now: float) -> None:
        """Add what is left, and in how many seconds all of it is (`now` in monotonic seconds)."""
        count = self._count
        left = self._limit - count.total
        fields[self._limit_name] = self._limit_text
        fields[self._remaining_name] = str(left) if left > 0 else "0"
        fields[self._reset_name] = _SECONDS[int(count.last + _ROUNDED - now)] if count.total else "0s"

    def add_by(self, show: ShowLimit, fields: MutableMapping[str, str], now: float, wall: float) -> None:
        """Add the same as another API has it (`wall` in seconds since 1970)."""
        left = max(0, self._limit - self._count.total)
        show(fields, self._what, self._limit, left, wall + self._count.empty_seconds(now))


def refusal(over: Over, turn_seconds: float = 1.0) -> RateLimitError:
    """Return why a request over a limit is refused, and when another one makes sense.

    Args:
        over: Which limit.
        turn_seconds: When one of those that wait for their turn probably gets it.
    """
    wait = max(1, int(over.wait_seconds + _ALMOST))
    if over.bound is Bound.QUOTA:
        ends = datetime.fromtimestamp(over.ends, UTC).strftime("%Y-%m-%d %H:%M UTC")
        return QuotaError(
            f"The quota of this key ({over.quota}) is used up; it begins anew at {ends}.",
            remedy="Wait until then, or ask for a higher one.",
            retry_after_seconds=wait,
        )
    if over.bound is Bound.QUEUE:
        return RateLimitError(
            f"{over.limit} requests of this key wait already.",
            remedy="Send fewer at a time, or ask for a higher limit.",
            retry_after_seconds=max(1.0, turn_seconds),
        )
    return RateLimitError(
        f"This key may have {over.limit} {over.bound.value}.",
        remedy=f"Wait {wait} s, or ask for a higher limit.",
        retry_after_seconds=wait,
    )

"""How is a client shown the limits of its key: in the head of every answer, and where one is over (429)?"""

from collections.abc import MutableMapping, Sequence
from datetime import UTC, datetime

import msgspec

from relayd.errors import QuotaError, RateLimitError
from relayd.router.dialect import ShowLimit
from relayd.scheduler.limits import MINUTE_SECONDS, Bound, MinuteCount, Over

_ALMOST = 0.999999
"""Added to seconds that are then cut off to whole ones: rounded up, but not for the last binary digit."""

_ROUNDED = MINUTE_SECONDS + _ALMOST

_SECONDS = tuple(f"{seconds}s" for seconds in range(MINUTE_SECONDS + 1))

_WHOLE = _SECONDS[MINUTE_SECONDS]


class ShownLimit(msgspec.Struct, frozen=True, eq=False):
    """A limit of a minute: how many `requests` or `tokens` there may be, and how many there were."""

    what: str
    limit: int
    count: MinuteCount


class ShownLimits:
    """The limits of a key, as the fields that clients of OpenAI read."""

    __slots__ = ("_fields", "_limits")

    def __init__(self, limits: Sequence[ShownLimit]) -> None:
        self._limits = limits
        self._fields = [(one.count, one.limit, str(one.limit), *_names(one.what)) for one in limits]

    def __repr__(self) -> str:
        used = (f"{one.count.total} of {one.limit} {one.what}" for one in self._limits)
        return f"<ShownLimits {', '.join(used)}>"

    def add_to(self, fields: MutableMapping[str, str], now: float) -> None:
        """Add what is left, and in how many seconds all of it is (`now` in monotonic seconds)."""
        for count, limit, text, limit_name, remaining_name, reset_name in self._fields:
            fields[limit_name] = text
            total = count.total
            fields[remaining_name] = str(limit - total) if total < limit else "0"
            if count.last == now:
                fields[reset_name] = _WHOLE
            else:
                fields[reset_name] = _SECONDS[int(count.last + _ROUNDED - now)] if total else "0s"

    def add_by(self, show: ShowLimit, fields: MutableMapping[str, str], now: float, wall: float) -> None:
        """Add the same as another API has it (`wall` in seconds since 1970)."""
        for one in self._limits:
            left = max(0, one.limit - one.count.total)
            show(fields, one.what, one.limit, left, wall + one.count.empty_seconds(now))


def _names(what: str) -> tuple[str, str, str]:
    return f"x-ratelimit-limit-{what}", f"x-ratelimit-remaining-{what}", f"x-ratelimit-reset-{what}"


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

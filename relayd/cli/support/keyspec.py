"""Limits, quotas, durations and days of API keys, as they are typed: `rpm=60`, `tokens=5M/month`, `30d`."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime

from msgspec.structs import replace

from relayd.errors import UsageError
from relayd.rights import LARGEST_AMOUNT, LATEST_MOMENT, KeyLimits, Quota

_NUMBER = re.compile(r"(\d+(?:\.\d+)?)([kMG]?)")
_MULTIPLES = {"": 1, "k": 1_000, "M": 1_000_000, "G": 1_000_000_000}
_DURATION = re.compile(r"(\d+)([mhdw])")
_SECONDS = {"m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_LIMITS = KeyLimits.__struct_fields__
_QUOTA = re.compile(r"(requests|tokens)=([^/]+)/(day|month)")
NONE = "none"


def parse_limits(texts: Iterable[str], known: KeyLimits) -> KeyLimits:
    """Return limits with what was typed in place of what is known; `none` takes one away.

    Args:
        texts: Each is one limit or several, with commas between.
        known: Those that hold now.

    Raises:
        UsageError: One cannot be read.
    """
    for part in (part.strip() for text in texts for part in text.split(",")):
        name, equals, value = part.partition("=")
        if name not in _LIMITS or not equals:
            raise UsageError(
                f"the limit {part!r} cannot be read",
                remedy=f"Write NAME=NUMBER, with one of {', '.join(_LIMITS)}: `rpm=60,in_flight=4`.",
            )
        known = replace(known, **{name: None if value == NONE else parse_count(value)})
    return known


def parse_quotas(texts: Iterable[str]) -> tuple[Quota, ...]:
    """Return the quotas that were typed; `none` alone takes all away.

    Raises:
        UsageError: One cannot be read.
    """
    parts = [part.strip() for text in texts for part in text.split(",")]
    return () if parts == [NONE] else tuple(map(_quota, parts))


def parse_count(text: str) -> int:
    """Return a number like `100000`, `100k` or `1.5M`.

    Raises:
        UsageError: It is not one.
    """
    found = _NUMBER.fullmatch(text)
    if found is None:
        raise UsageError(f"{text!r} is not a number", remedy="Write it like 60, 100k or 1.5M.")
    if (count := float(found[1]) * _MULTIPLES[found[2]]) > LARGEST_AMOUNT:
        raise UsageError(f"{text[:60]!r} is too large", remedy=f"At most {LARGEST_AMOUNT:g}, or none at all.")
    return round(count)


def parse_moment(text: str, now: float) -> float | None:
    """Return when something ends (seconds since 1970): `30d` from now, a day, or None for `never`.

    Raises:
        UsageError: It is none of these, or over already.
    """
    if text == "never":
        return None
    found = _DURATION.fullmatch(text)
    moment = now + _seconds(found) if found else parse_day(text).timestamp()
    if moment > LATEST_MOMENT:
        raise UsageError(
            f"{text[:60]} is after the year 9999", remedy="Write `never` for a key that does not end."
        )
    if moment <= now:
        raise UsageError(f"{text} is over already", remedy="Revoke the key instead.")
    return moment


def parse_since(text: str, now: float) -> str:
    """Return the first day of a time that ends now: `7d` ago, a day, or all.

    Raises:
        UsageError: It is none of these.
    """
    if text == "all":
        return ""
    if found := _DURATION.fullmatch(text):
        begun = datetime.fromtimestamp(max(now - _seconds(found), 0.0), UTC)
    else:
        begun = parse_day(text)
    return begun.strftime("%Y-%m-%d")


def parse_day(text: str) -> datetime:
    """Return the beginning of a day of UTC, like `2026-11-30`.

    Raises:
        UsageError: It is not one.
    """
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError as error:
        raise UsageError(
            f"{text!r} is neither a duration nor a day", remedy="Write it like 12h, 30d, or 2026-11-30."
        ) from error


def _seconds(duration: re.Match[str]) -> float:
    """Return how long a duration is; one longer than any date is as long as the last date."""
    return min(float(duration[1]) * _SECONDS[duration[2]], 2.0 * LATEST_MOMENT)


def _quota(text: str) -> Quota:
    found = _QUOTA.fullmatch(text)
    if found is None:
        raise UsageError(
            f"the quota {text!r} cannot be read",
            remedy="Write requests or tokens, a number, and day or month: `tokens=5M/month`.",
        )
    what, period = found[1], found[3]
    return Quota(
        "tokens" if what == "tokens" else "requests",
        parse_count(found[2]),
        "day" if period == "day" else "month",
    )

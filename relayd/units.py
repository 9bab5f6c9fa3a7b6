"""Units of numbers (bytes, seconds) and their text for people."""

from typing import NewType

Bytes = NewType("Bytes", int)
"""A count of bytes (never of mebibytes)."""

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30

MOST_DIGITS = 4
"""Digits that sizes get at most to be told apart: a MiB of a GiB."""


def mib(count: float) -> Bytes:
    """Return `count` mebibytes as bytes, rounded down."""
    return Bytes(int(count * MIB))


def show_bytes(count: int) -> str:
    """Return a size as a person reads it: `350 KiB`, `4.4 GiB`."""
    return _shown(count, 0)


def show_apart(*counts: int) -> tuple[str, ...]:
    """Return sizes as a person reads them, with more digits where different ones would look equal."""
    for digits in range(MOST_DIGITS):
        texts = tuple(_shown(count, digits) for count in counts)
        if len(set(texts)) == len(set(counts)):
            break
    return texts


def _shown(count: int, digits: int) -> str:
    for unit, size in (("GiB", GIB), ("MiB", MIB), ("KiB", KIB)):
        if abs(count) >= size:
            value = count / size
            return f"{value:.{digits + (value < 10)}f} {unit}"
    return f"{count} B"


def show_seconds(seconds: float) -> str:
    """Return a duration as a person reads it: `0.4 s`, `3 min`, `3 min 5 s`, `2 h 10 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min" + (f" {rest} s" if rest else "")
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h" + (f" {minutes} min" if minutes else "")
    days, hours = divmod(hours, 24)
    return f"{days} d" + (f" {hours} h" if hours else "")

"""Clocks, passed in so that tests control the time."""

import time
from typing import Protocol


class Clock(Protocol):
    """Durations come from `monotonic`; `wall` is for people to read."""

    def monotonic(self) -> float:
        """Return seconds that never step back."""
        ...

    def wall(self) -> float:
        """Return seconds since 1970, which an operator may change."""
        ...


class SystemClock:
    """The clock of this machine."""

    monotonic = staticmethod(time.monotonic)
    """Return seconds that never step back; the function itself, as every request calls it several times."""

    wall = staticmethod(time.time)
    """Return seconds since 1970, for display only."""

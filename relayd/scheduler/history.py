"""How often is each model wanted, and how long does it take to load (learned from the past)?"""

import math
from collections.abc import Mapping

_MEMORY_SECONDS = 300.0
"""Time after which a request counts 1/e for the chance that its model is wanted again."""

_SOON_SECONDS = 60.0
"""The time ahead that the chance is about."""


class DemandRates:
    """Requests of each model, those of long ago forgotten (exponential decay).

    Requests are counted elsewhere, for nothing, and noted here in bulk: those of an interval count as if
    they had been spread evenly over it.
    """

    def __init__(self) -> None:
        self._counts: dict[str, tuple[float, float]] = {}

    def __repr__(self) -> str:
        return f"<DemandRates of {len(self._counts)} models>"

    def note(self, model: str, requests: int, now: float) -> None:
        """Take note of the requests since the last note (`now` in monotonic seconds)."""
        count, at = self._counts.get(model, (0.0, now))
        span = max(0.0, now - at) / _MEMORY_SECONDS
        kept = (1 - math.exp(-span)) / span if span > 0 else 1.0
        self._counts[model] = (count * math.exp(-span) + requests * kept, now)

    def chance(self, model: str, now: float) -> float:
        """Return the chance (0 to 1) that a request for a model comes within a minute."""
        count, at = self._counts.get(model, (0.0, now))
        rate = count * math.exp(-max(0.0, now - at) / _MEMORY_SECONDS) / _MEMORY_SECONDS
        return 1 - math.exp(-rate * _SOON_SECONDS)

    def forget(self, model: str) -> None:
        """Forget a model."""
        self._counts.pop(model, None)


class LoadTimes:
    """How long loads of each model took (moving mean; three in ten replace the past)."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    def __repr__(self) -> str:
        return f"<LoadTimes of {len(self._seconds)} models>"

    def learn(self, model: str, seconds: float) -> None:
        """Take note of how long a load took."""
        known = self._seconds.get(model, seconds)
        self._seconds[model] = known + 0.3 * (seconds - known)

    def seconds(self, model: str, estimate: float) -> float:
        """Return how long a load takes; an estimate while none was seen."""
        return self._seconds.get(model, estimate)

    def forget(self, model: str) -> None:
        """Forget a model."""
        self._seconds.pop(model, None)

    def known(self) -> dict[str, float]:
        """Return all that was learned."""
        return dict(self._seconds)

    def resume(self, seconds: Mapping[str, float]) -> None:
        """Take up what another daemon has learned of models of which nothing is known here."""
        self._seconds = {**seconds, **self._seconds}

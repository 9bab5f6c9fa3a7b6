"""How long does a request of each model take (mean service time)?"""

from collections.abc import Mapping


class ServiceTimes:
    """Moving means over complete answers; one request in ten replaces the past."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    def __repr__(self) -> str:
        return f"<ServiceTimes of {len(self._seconds)} models>"

    def learn(self, model: str, seconds: float) -> None:
        """Take note of how long an answer took."""
        known = self._seconds.get(model, seconds)
        self._seconds[model] = known + 0.1 * (seconds - known)

    def seconds(self, model: str) -> float:
        """Return how long a request takes; 1 while nothing is known."""
        return self._seconds.get(model, 1.0)

    def forget(self, model: str) -> None:
        """Forget what was learnt of a model."""
        self._seconds.pop(model, None)

    def known(self) -> dict[str, float]:
        """Return all that was learnt."""
        return dict(self._seconds)

    def resume(self, seconds: Mapping[str, float]) -> None:
        """Take up what another daemon has learnt of models of which nothing is known here."""
        self._seconds = {**seconds, **self._seconds}

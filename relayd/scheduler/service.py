"""How long does a request of each model take, and how soon do slots become free (mean times)?"""

from collections.abc import Mapping


class ServiceTimes:
    """Moving means over complete answers; one request in ten replaces the past."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._intervals: dict[str, float] = {}
        self._left_at: dict[str, float | None] = {}

    def __repr__(self) -> str:
        return f"<ServiceTimes of {len(self._seconds)} models>"

    def line_begins(self, model: str) -> None:
        """Take note that a request has to wait for a model, and is the first one to."""
        self._left_at[model] = None

    def departed(self, model: str, now: float) -> None:
        """Take note that a request has left its slots while others wait for a model."""
        before, self._left_at[model] = self._left_at.get(model), now
        if before is not None:
            known = self._intervals.get(model, now - before)
            self._intervals[model] = known + 0.1 * (now - before - known)

    def wait_seconds(self, model: str, place: int, slots: int) -> float:
        """Return how long a place in the line of a model waits: at the rate at which requests have left.

        Until some have left while others waited, as long as they take.

        Args:
            model: The model.
            place: From 1.
            slots: That it has.
        """
        interval = self._intervals.get(model)
        return place * (self.seconds(model) / max(slots, 1) if interval is None else interval)

    def learn(self, model: str, seconds: float) -> None:
        """Take note of how long an answer took."""
        known = self._seconds.get(model, seconds)
        self._seconds[model] = known + 0.1 * (seconds - known)

    def seconds(self, model: str) -> float:
        """Return how long a request takes; 1 while nothing is known."""
        return self._seconds.get(model, 1.0)

    def forget(self, model: str) -> None:
        """Forget what was learnt of a model."""
        for known in (self._seconds, self._intervals, self._left_at):
            known.pop(model, None)

    def known(self) -> dict[str, float]:
        """Return all that was learnt."""
        return dict(self._seconds)

    def resume(self, seconds: Mapping[str, float]) -> None:
        """Take up what another daemon has learnt of models of which nothing is known here."""
        self._seconds = {**seconds, **self._seconds}

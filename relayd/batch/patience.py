"""Does a line that was refused run again, and when (retry policy)?"""

from relayd.batch.results import LineAnswer
from relayd.batch.running import RunningBatch, Tried

PATIENCE_SECONDS = 600.0
"""How long a line is tried again where its model cannot serve."""

MOST_FAILURES = 3

_FIRST_SECONDS, _LONGEST_SECONDS = 0.5, 30.0

_FAILED = "upstream_failed"

_PASSING = frozenset(
    {
        "queue_full",
        "queue_timeout",
        "rate_limit_exceeded",
        "insufficient_quota",
        "server_stopping",
        "replica_stopped",
        "body_budget_spent",
    }
)
"""Refusals that pass: a line is tried again until the time of its batch is over."""

_OF_MODELS = frozenset({"model_unavailable", "model_not_loaded"})

_NEVER = (0.0, 0.0)


class LinePatience:
    """Pauses a model, for the lines of a key, after a refusal that may pass; each pause is twice the last."""

    def __init__(self) -> None:
        self._pauses: dict[tuple[str, str], tuple[float, float]] = {}

    def __repr__(self) -> str:
        return f"<LinePatience {len(self._pauses)} paused>"

    def is_paused(self, key: str, model: str, now: float) -> bool:
        """Return whether no line of a key for a model is to be begun (monotonic seconds)."""
        return self._pauses.get((key, model), _NEVER)[0] > now

    def served(self, key: str, model: str) -> None:
        """Take note that a line was carried out."""
        self._pauses.pop((key, model), None)

    def goes_again(
        self, batch: RunningBatch, model: str, number: int, answer: LineAnswer, now: float
    ) -> bool:
        """Return whether a line is to run again, and pause its model where it is.

        Args:
            batch: Of the line.
            model: That it names.
            number: Of the line.
            answer: What it got.
            now: Monotonic seconds.
        """
        code = answer.code
        if code not in _PASSING and code not in _OF_MODELS and code != _FAILED:
            return False
        tried = batch.tried.setdefault(number, Tried(0, now))
        tried.times += 1
        if code == _FAILED and tried.times >= MOST_FAILURES:
            return False
        if code in _OF_MODELS and now - tried.since >= PATIENCE_SECONDS:
            return False
        key = batch.row.key
        until, last = self._pauses.get((key, model), _NEVER)
        if until <= now:
            pause = min(max(2 * last, _FIRST_SECONDS), _LONGEST_SECONDS)
            self._pauses[key, model] = now + max(pause, answer.retry_after_seconds or 0.0), pause
        return True

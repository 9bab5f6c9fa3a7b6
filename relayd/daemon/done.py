"""What the requests of each model came to, for `relayd status`."""

from collections.abc import Iterable, Mapping
from statistics import median

from relayd.daemon.donereport import DoneReport
from relayd.daemon.totals import Totals
from relayd.scheduler import Ended, Exchange

LEAST_TOKENS = 8
"""Of an answer that counts for the speed of answers."""

_WHOLE = frozenset({Ended.DONE.value, Ended.CONTINUED.value})
"""How requests end whose clients got all of the answer."""


def done_reports(totals: Totals, recent: Iterable[Exchange]) -> dict[str, DoneReport]:
    """Return model → what its requests came to, and how fast its last answers were written."""
    speeds = dict[str, list[float]]()
    for one in recent:
        usage = one.usage
        if usage is not None and usage.completion_ms > 0 and usage.completion_tokens >= LEAST_TOKENS:
            speeds.setdefault(one.ask.model, []).append(usage.completion_tokens / usage.completion_ms * 1000)
    return {
        model: DoneReport(
            requests=sum(row.requests for row in rows.values()),
            failed=sum(row.requests for ended, row in rows.items() if ended not in _WHOLE),
            prompt_tokens=sum(row.prompt_tokens for row in rows.values()),
            completion_tokens=sum(row.completion_tokens for row in rows.values()),
            tokens_per_second=round(median(speeds[model]), 1) if model in speeds else 0.0,
        )
        for model, rows in totals.by_model().items()
    }


def speeds_of_nodes(recent: Iterable[Exchange]) -> Mapping[tuple[str, str], float]:
    """Return node and model → tokens a second of its last answers, by the middle one; "" is this machine."""
    found: dict[tuple[str, str], list[float]] = {}
    for one in recent:
        usage = one.usage
        if usage is not None and usage.completion_ms > 0 and usage.completion_tokens >= LEAST_TOKENS:
            key = one.replica.partition("@")[2], one.ask.model
            found.setdefault(key, []).append(1000 * usage.completion_tokens / usage.completion_ms)
    return {key: round(median(speeds), 1) for key, speeds in found.items()}

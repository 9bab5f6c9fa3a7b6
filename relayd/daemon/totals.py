"""What requests came to since the daemon began (totals), and how long recent ones took."""

from collections.abc import Iterable
from statistics import quantiles

from relayd.daemon.adminreport import EndedRequests, Spread
from relayd.scheduler import Ended, Exchange


class _RequestSums:
    """Counts of one model and one way to end."""

    __slots__ = ("cached_tokens", "completion_tokens", "prompt_tokens", "requests", "seconds")

    def __init__(self) -> None:
        self.requests = self.prompt_tokens = self.cached_tokens = self.completion_tokens = 0
        self.seconds = 0.0


class Totals:
    """Adds up finished requests, model by model and by how they ended.

    Attributes:
        count: How many there were.
    """

    def __init__(self) -> None:
        self._rows: dict[tuple[str, Ended], _RequestSums] = {}
        self.count = 0

    def __repr__(self) -> str:
        return f"<Totals of {self.count} requests>"

    def note(self, exchange: Exchange) -> None:
        """Count a request that has ended."""
        self.count += 1
        key = exchange.ask.model, exchange.ended
        if (row := self._rows.get(key)) is None:
            row = self._rows[key] = _RequestSums()
        row.requests += 1
        row.seconds += exchange.ended_at - exchange.arrived_at
        if (usage := exchange.usage) is not None:
            row.prompt_tokens += usage.prompt_tokens
            row.cached_tokens += usage.cached_tokens
            row.completion_tokens += usage.completion_tokens

    def by_model(self) -> dict[str, dict[str, EndedRequests]]:
        """Return model → how requests ended → what they came to; those that named no model are at `""`."""
        found: dict[str, dict[str, EndedRequests]] = {}
        for (model, ended), row in self._rows.items():
            found.setdefault(model, {})[ended.value] = EndedRequests(
                row.requests,
                row.prompt_tokens,
                row.cached_tokens,
                row.completion_tokens,
                round(row.seconds, 3),
            )
        return found


def spread(seconds: Iterable[float]) -> Spread:
    """Return the middle of some durations, and what 95 % and 99 % of them stay below."""
    known = sorted(seconds)
    if len(known) < 2:
        only = round(known[0], 4) if known else 0.0
        return Spread(len(known), only, only, only)
    cuts = quantiles(known, n=100, method="inclusive")
    return Spread(len(known), *(round(cuts[at - 1], 4) for at in (50, 95, 99)))

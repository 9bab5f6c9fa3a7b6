"""What requests came to since the daemon began (totals), and how long recent ones took.

A request adds to plain integers and to lists of buckets; what they are called is made when they are read.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from statistics import quantiles

from relayd.daemon.adminreport import EndedRequests, Spread
from relayd.scheduler import Exchange

FIRST_BYTE_EDGES = (
    0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0, 1280.0, 2560.0,
)  # fmt: skip
"""Seconds; a CPU with 100,000 tokens of prompt needs minutes. The same for whole requests."""

QUEUE_EDGES = (0.01, *FIRST_BYTE_EDGES)
TOKEN_EDGES = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6)


_MOST_CODES = 100
_OTHER = "other"
"""What further codes count as: some are the engine's, and nothing bounds those."""


class Distribution:
    """How often values lay between some edges, and their sum.

    Args:
        edges: Upper ends of the buckets, the last one without an end left out.
    """

    __slots__ = ("_edges", "counts", "total")

    def __init__(self, edges: Sequence[float]) -> None:
        self._edges = edges
        self.counts = [0] * (len(edges) + 1)
        self.total = 0.0

    def __repr__(self) -> str:
        return f"<Distribution of {sum(self.counts)} values>"

    def add(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self._edges, value)] += 1
        self.total += value

    def copy(self) -> "Distribution":
        """Return another one with the same counts."""
        other = Distribution(self._edges)
        other.counts, other.total = [*self.counts], self.total
        return other

    def buckets(self) -> list[tuple[str, float]]:
        """Return upper end → how many values are not above it, as Prometheus has it."""
        found, so_far = [], 0
        for edge, count in zip((*map(_shown, self._edges), "+Inf"), self.counts, strict=True):
            so_far += count
            found.append((edge, float(so_far)))
        return found


def _shown(edge: float) -> str:
    return f"{edge:g}" if edge % 1 else f"{edge:.1f}"


class RequestSums:
    """What the requests of one model came to that ended in one way, streamed or not."""

    __slots__ = (
        "cached_tokens", "completion_tokens", "continued", "first_byte", "prompt_tokens", "queue", "requests",
        "retries", "seconds", "token",
    )  # fmt: skip

    def __init__(self) -> None:
        self.requests = self.prompt_tokens = self.cached_tokens = self.completion_tokens = 0
        self.retries = self.continued = 0
        self.seconds = Distribution(FIRST_BYTE_EDGES)
        self.queue = Distribution(QUEUE_EDGES)
        self.first_byte = Distribution(FIRST_BYTE_EDGES)
        self.token = Distribution(TOKEN_EDGES)

    def __repr__(self) -> str:
        return f"<RequestSums of {self.requests} requests>"


class KeySums:
    """What the requests of one key came to."""

    __slots__ = ("completion_tokens", "prompt_tokens", "requests")

    def __init__(self) -> None:
        self.requests = self.prompt_tokens = self.completion_tokens = 0

    def __repr__(self) -> str:
        return f"<KeySums of {self.requests} requests>"


class Totals:
    """Adds up finished requests, model by model and by how they ended.

    Attributes:
        count: How many there were.
        keys: Key's id → what its requests came to; empty for those without a key.
        refused: Code of an error → how many requests got it.
    """

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str, bool], RequestSums] = {}
        self.count = 0
        self.keys: dict[str, KeySums] = {}
        self.refused: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<Totals of {self.count} requests>"

    def note(self, exchange: Exchange) -> None:
        """Count a request that has ended."""
        self.count += 1
        ask = exchange.ask
        place = ask.model, exchange.ended.value, ask.stream
        if (row := self._rows.get(place)) is None:
            row = self._rows[place] = RequestSums()
        row.requests += 1
        arrived_at, ended_at, first_at = exchange.arrived_at, exchange.ended_at, exchange.first_byte_at
        row.seconds.add(ended_at - arrived_at)
        if exchange.queued_at is not None and exchange.placed_at is not None:
            row.queue.add(exchange.placed_at - exchange.queued_at)
        if exchange.attempts > 1:
            row.retries += exchange.attempts - 1
        row.continued += exchange.continued
        if code := exchange.code:
            code = code if code in self.refused or len(self.refused) < _MOST_CODES else _OTHER
            self.refused[code] = self.refused.get(code, 0) + 1
        if (key := self.keys.get(ask.key)) is None:
            key = self.keys[ask.key] = KeySums()
        key.requests += 1
        if first_at is not None:
            row.first_byte.add(first_at - arrived_at)
        if (usage := exchange.usage) is not None:
            tokens = usage.completion_tokens
            row.prompt_tokens += usage.prompt_tokens
            row.cached_tokens += usage.cached_tokens
            row.completion_tokens += tokens
            key.prompt_tokens += usage.prompt_tokens
            key.completion_tokens += tokens
            if tokens > 1 and first_at is not None and ask.stream:
                row.token.add((ended_at - first_at) / (tokens - 1))

    def rows(self) -> Iterator[tuple[str, str, bool, RequestSums]]:
        """Yield model, how requests ended, whether they were streamed, and what they came to."""
        for (model, ended, stream), row in self._rows.items():
            yield model, ended, stream, row

    def by_model(self) -> dict[str, dict[str, EndedRequests]]:
        """Return model → how requests ended → what they came to; those that named no model are at `""`."""
        found: dict[str, dict[str, EndedRequests]] = {}
        for model, ended, _, row in self.rows():
            ends = found.setdefault(model, {})
            known = ends.get(ended, EndedRequests())
            ends[ended] = EndedRequests(
                known.requests + row.requests,
                known.prompt_tokens + row.prompt_tokens,
                known.cached_tokens + row.cached_tokens,
                known.completion_tokens + row.completion_tokens,
                round(known.seconds + row.seconds.total, 3),
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

"""What requests came to since the daemon began (totals), and how long recent ones took.

A request costs one append to a list; requests are added up many at a time, or when the sums are read.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import quantiles

from relayd.daemon.adminreport import EndedRequests, Spread
from relayd.scheduler import Ended, Exchange

FIRST_BYTE_EDGES = (
    0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0, 1280.0, 2560.0,
)  # fmt: skip
"""Seconds; a CPU with 100,000 tokens of prompt needs minutes. The same for whole requests."""

QUEUE_EDGES = (0.01, *FIRST_BYTE_EDGES)
TOKEN_EDGES = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6)


_MOST_NOTED = 512
"""Requests that are kept one by one before they are added up."""

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

    def add(self, values: Iterable[float]) -> None:
        """Count some values: few edges are looked up among many values."""
        ordered, before, counts = sorted(values), 0, self.counts
        for bucket, edge in enumerate(self._edges):
            up_to = bisect_right(ordered, edge, before)
            counts[bucket] += up_to - before
            before = up_to
        counts[-1] += len(ordered) - before
        self.total += sum(ordered)

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

    def add(self, some: Sequence[Exchange], *, stream: bool) -> None:
        """Add requests that have ended, all of them streamed or none."""
        self.requests += len(some)
        self.seconds.add(one.ended_at - one.arrived_at for one in some)
        self.queue.add(
            one.placed_at - one.queued_at
            for one in some
            if one.placed_at is not None and one.queued_at is not None
        )
        answered = [(one.first_byte_at, one) for one in some if one.first_byte_at is not None]
        self.first_byte.add(first_at - one.arrived_at for first_at, one in answered)
        self.retries += sum(one.attempts - 1 for one in some if one.attempts > 1)
        self.continued += sum(one.continued for one in some)
        used = [one.usage for one in some if one.usage is not None]
        self.prompt_tokens += sum(usage.prompt_tokens for usage in used)
        self.cached_tokens += sum(usage.cached_tokens for usage in used)
        self.completion_tokens += sum(usage.completion_tokens for usage in used)
        if stream:
            self.token.add(
                (one.ended_at - first_at) / (one.usage.completion_tokens - 1)
                for first_at, one in answered
                if one.usage is not None and one.usage.completion_tokens > 1
            )

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
    """Adds up finished requests, model by model and by how they ended."""

    def __init__(self) -> None:
        self._noted: list[Exchange] = []
        self._rows: dict[tuple[str, str, bool], RequestSums] = {}
        self._count = 0
        self._keys: dict[str, KeySums] = {}
        self._refused: dict[str, int] = {}
        self._origins: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<Totals of {self.count} requests>"

    def note(self, exchange: Exchange) -> None:
        """Count a request that has ended."""
        self._noted.append(exchange)
        if len(self._noted) >= _MOST_NOTED:
            self._add_up()

    @property
    def count(self) -> int:
        """How many requests there were."""
        return self._count + len(self._noted)

    @property
    def keys(self) -> Mapping[str, KeySums]:
        """Key's id → what its requests came to; empty for those without a key."""
        self._add_up()
        return self._keys

    @property
    def origins(self) -> Mapping[str, int]:
        """Upstream, node or worker → how many requests it was the last to get; empty is this machine."""
        self._add_up()
        return self._origins

    @property
    def refused(self) -> Mapping[str, int]:
        """Code of an error → how many requests got it."""
        self._add_up()
        return self._refused

    def _add_up(self) -> None:
        noted, self._noted = self._noted, []
        self._count += len(noted)
        alike: defaultdict[tuple[str, Ended, bool], list[Exchange]] = defaultdict(list)
        for exchange in noted:
            ask = exchange.ask
            alike[ask.model, exchange.ended, ask.stream].append(exchange)
            if code := exchange.code:
                code = code if code in self._refused or len(self._refused) < _MOST_CODES else _OTHER
                self._refused[code] = self._refused.get(code, 0) + 1
            if (key := self._keys.get(ask.key)) is None:
                key = self._keys[ask.key] = KeySums()
            key.requests += 1
            if replica := exchange.replica:
                origin = replica.partition("@")[2]
                self._origins[origin] = self._origins.get(origin, 0) + 1
            if (usage := exchange.usage) is not None:
                key.prompt_tokens += usage.prompt_tokens
                key.completion_tokens += usage.completion_tokens
        for (model, ended, stream), some in alike.items():
            place = model, ended.value, stream
            if (row := self._rows.get(place)) is None:
                row = self._rows[place] = RequestSums()
            row.add(some, stream=stream)

    def rows(self) -> Iterator[tuple[str, str, bool, RequestSums]]:
        """Yield model, how requests ended, whether they were streamed, and what they came to."""
        self._add_up()
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

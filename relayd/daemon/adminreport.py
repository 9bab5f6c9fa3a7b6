"""What a daemon reports to administrators besides its status, as values with one JSON form.

Members are added with a default, never renamed; times are seconds since 1970, sizes are bytes.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from relayd.daemon.report import LedgerReport


class MessageReport(Struct, frozen=True):
    """What was done, a sentence; and how replicas came out that it has changed."""

    message: str
    replicas: dict[str, str] = {}


class ModelLineReport(Struct, frozen=True):
    """A configured model.

    Attributes:
        settings: What its line sets; the defaults are left out.
        written: Whether it is in models.toml, and so can be changed and removed here.
        replicas: Replica → its state.
        servers: URLs of other servers that serve it, as LLMStream lists them.
        strategy: How requests are spread.
    """

    settings: dict[str, Any]
    written: bool
    running: int = 0
    waiting: int = 0
    slots: int = 0
    replicas: Mapping[str, str] = {}
    servers: tuple[str, ...] = ()
    strategy: str = ""


class WorkerReport(Struct, frozen=True):
    """What works on requests: a replica, with ModelRelay's members first.

    Attributes:
        reported_load: Requests that it works on, as it would report them itself.
        rss: Bytes of RAM that its process holds; None where that is not known.
    """

    worker_id: str
    provider: str
    worker_name: str
    models: tuple[str, ...]
    max_concurrent: int
    reported_load: int
    in_flight_count: int
    is_draining: bool
    state: str = ""
    pid: int | None = None
    address: str | None = None
    devices: tuple[str, ...] = ()
    restarts: int = 0
    rss: int | None = None


class WorkersReport(Struct, frozen=True):
    """Everything that works on requests."""

    workers: tuple[WorkerReport, ...] = ()


class EndedRequests(Struct, frozen=True):
    """Requests of a model that ended in one way since the daemon began, and what they came to."""

    requests: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0


class Spread(Struct, frozen=True):
    """Seconds that recent requests took; the middle, and what 95 % and 99 % of them stayed below."""

    requests: int = 0
    p50: float = 0.0
    p95: float = 0.0
    p99: float = 0.0


class ProviderStats(Struct, frozen=True):
    """What the machines of one provider have, and what they have done since this daemon began.

    Attributes:
        origins: Nodes, workers and upstreams that offer something.
        slots: Requests that they take at once now.
        running: Requests that they work on.
        requests: Requests that have ended there.
    """

    origins: tuple[str, ...] = ()
    slots: int = 0
    running: int = 0
    requests: int = 0


class StatsReport(Struct, frozen=True):
    """Figures of the daemon, ModelRelay's first.

    Attributes:
        queue_depth: Provider → requests that wait; replicas of this machine are `local`.
        active_workers: Replicas that serve.
        running: Requests that run.
        models: Model → how its requests ended → how many, and what they came to.
        queue_seconds: How long recent requests waited for a slot.
        first_byte_seconds: How long they took from their arrival to the first byte of the answer.
        total_seconds: How long they took altogether.
        providers: Provider → what its machines do; `local` is this machine, and `""` what has no label.
    """

    queue_depth: Mapping[str, int]
    active_workers: int
    running: int = 0
    since: float = 0.0
    models: Mapping[str, Mapping[str, EndedRequests]] = {}
    queue_seconds: Spread = Spread()
    first_byte_seconds: Spread = Spread()
    total_seconds: Spread = Spread()
    providers: Mapping[str, ProviderStats] = {}


class PlacedReport(Struct, frozen=True):
    """A replica as planned: what it is started with, what that takes by device, and how that is known."""

    replica: str
    state: str
    spec: dict[str, Any]
    needs: Mapping[str, int]
    basis: str
    reduced: tuple[str, ...] = ()
    reason: str = ""


class PlacementReport(Struct, frozen=True):
    """What runs where: every replica, and the ledger of memory."""

    replicas: tuple[PlacedReport, ...]
    memory: LedgerReport


class RequestReport(Struct, frozen=True):
    """A request that is open.

    Attributes:
        state: `held` while its key has as many requests in flight as it may, `waiting` for a slot, `running`
            without a byte of its answer yet, or `answering`.
        since: When it arrived.
        waited_seconds: How long it has waited for its slot, or did.
        position: Its place in the queue of its model, or in the line of its key while it is held; 1 runs
            next, 0 for what does not wait.
        expected_seconds: When it probably gets one.
        reason: What it waits for.
        tokens: Of its answer, as far as that was sent; an estimate.
        first_byte_seconds: From its arrival to the first byte of its answer; 0 before that.
        prompt_total: Tokens of its prompt, while that is read.
        prompt_done: Those of them that are read, or were in the cache.
        prompt_seconds_left: How long the rest will probably take.
    """

    id: str
    path: str
    model: str
    key: str
    state: str
    since: float
    waited_seconds: float
    stream: bool = False
    replica: str = ""
    attempts: int = 0
    sent_bytes: int = 0
    ticket: int = 0
    klass: str = ""
    position: int = 0
    expected_seconds: float = 0.0
    reason: str = ""
    tokens: int = 0
    first_byte_seconds: float = 0.0
    prompt_total: int = 0
    prompt_done: int = 0
    prompt_seconds_left: float = 0.0


class RequestsReport(Struct, frozen=True):
    """Every request that is open, those that wait in the order of their arrival."""

    requests: tuple[RequestReport, ...] = ()


class CancelReport(Struct, frozen=True):
    """How many requests of an id were ended."""

    cancelled: int


class LogLineReport(Struct, frozen=True):
    """A line of a log: whose, when, and the text without control characters."""

    replica: str
    time: float | None
    line: str


class NodeLogReport(Struct, frozen=True):
    """The last lines of the logs of a node's replicas."""

    lines: tuple[LogLineReport, ...] = ()


class Happening(Struct, frozen=True):
    """Something that the daemon wrote into its journal; `relayd logs relayd` shows the same."""

    event: str
    time: float
    level: str
    fields: Mapping[str, Any] = {}

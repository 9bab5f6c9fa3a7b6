"""What is followed as it happens (dashboard, `relayd top`), as values with one JSON form.

Members are added with a default, never renamed; times are seconds since 1970, sizes are bytes.
"""

from collections.abc import Mapping

from msgspec import UNSET, Raw, Struct, UnsetType

from relayd.daemon.adminreport import RequestReport
from relayd.daemon.report import StatusReport


class RemedyReport(Struct, frozen=True, omit_defaults=True):
    """What mends something.

    Attributes:
        label: On its button.
        command: The same on a terminal.
        verb: Of the administrators' API; empty where only the command does it.
        target: What the verb is about.
    """

    label: str
    command: str
    verb: str = ""
    target: str = ""


class AttentionReport(Struct, frozen=True, omit_defaults=True):
    """Something that an operator should look at, the worst first.

    Attributes:
        level: `error`, `warning` or `note`.
        subject: The model, replica or device that it is about; empty for the daemon.
        text: What is the matter, a sentence.
        cause: Why, as far as that is known.
        remedies: What mends it.
    """

    level: str
    subject: str
    text: str
    cause: str = ""
    remedies: tuple[RemedyReport, ...] = ()


class NowReport(Struct, frozen=True, omit_defaults=True):
    """What a model or a replica does at this moment; tokens of answers that stream, in each second."""

    running: int = 0
    waiting: int = 0
    tokens_per_second: float = 0.0


class FinishedReport(Struct, frozen=True, omit_defaults=True):
    """A request that is over.

    Attributes:
        ended: `done`, `continued`, `refused`, `cut` or `cancelled`.
        at: When it ended.
        queue_seconds: How long it waited for its slot, loads and failed attempts included.
        load_seconds: How long of that its model was loading.
        retry_seconds: How long of that it was tried on replicas that failed.
        first_byte_seconds: From its arrival to the first byte of its answer.
        seconds: Altogether.
        prefill_tokens_per_second: How fast its prompt was read, what was cached left out.
        tokens_per_second: How fast its answer was generated.
        continued: How often another replica went on with its answer.
    """

    id: str
    path: str = ""
    model: str = ""
    key: str = ""
    klass: str = ""
    replica: str = ""
    ended: str = ""
    status: int = 0
    code: str = ""
    stream: bool = False
    attempts: int = 0
    continued: int = 0
    at: float = 0.0
    seconds: float = 0.0
    queue_seconds: float | None = None
    load_seconds: float = 0.0
    retry_seconds: float = 0.0
    first_byte_seconds: float | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    prefill_tokens_per_second: float = 0.0
    tokens_per_second: float = 0.0


class LiveReport(Struct, frozen=True):
    """The daemon as it is at one moment.

    Attributes:
        status: What `relayd status` shows.
        attention: What an operator should look at; empty while all is well.
        models: Model → what it does.
        replicas: Replica → what it does.
        requests: Ticket → a request that waits or runs.
        finished: Number → one of the last requests that are over; the number grows.
        tokens_per_second: Of all answers that stream.
        keys: Key's id → its name, of those keys that appear in the requests.
    """

    status: StatusReport
    attention: tuple[AttentionReport, ...] = ()
    models: Mapping[str, NowReport] = {}
    replicas: Mapping[str, NowReport] = {}
    requests: Mapping[str, RequestReport] = {}
    finished: Mapping[str, FinishedReport] = {}
    tokens_per_second: float = 0.0
    keys: Mapping[str, str] = {}


class LiveEvent(Struct, frozen=True, omit_defaults=True):
    """A moment of a feed: all of a live report, or what has changed since the revision before.

    Attributes:
        revision: Grows by one.
        state: A live report, its models, replicas and accounts by name.
        patch: A merge patch (RFC 7396) for the state of the revision before.
    """

    revision: int
    state: Raw | UnsetType = UNSET
    patch: Raw | UnsetType = UNSET


class SampleReport(Struct, frozen=True, omit_defaults=True):
    """What a stretch of time came to, for plots.

    Attributes:
        at: Its end.
        requests: Requests that ended in it.
        failed: Those of them that were refused by a fault, or cut.
        running: Requests that ran at its end.
        waiting: Those that waited.
        prompt_tokens: Tokens of prompts, those in the cache included.
        cached_tokens: Those of them that were in the cache.
        completion_tokens: Tokens of answers.
        tokens_per_second: Of answers, over this time.
        first_byte_p50: Seconds to the first byte that half of its requests stayed below.
        first_byte_p95: Seconds that 95 % of them stayed below.
        held: Account of the ledger → bytes that are held.
    """

    at: float
    requests: int = 0
    failed: int = 0
    running: int = 0
    waiting: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    tokens_per_second: float = 0.0
    first_byte_p50: float = 0.0
    first_byte_p95: float = 0.0
    held: Mapping[str, int] = {}


class MarkReport(Struct, frozen=True):
    """Something that plots mark: a load, an eviction, a restart."""

    at: float
    event: str
    subject: str
    text: str = ""


class HistoryReport(Struct, frozen=True):
    """The last hour, and the last 24 hours, as the daemon has kept them.

    Attributes:
        hour: Samples of `hour_seconds` each, the oldest first.
        day: Samples of `day_seconds` each.
    """

    hour: tuple[SampleReport, ...] = ()
    day: tuple[SampleReport, ...] = ()
    marks: tuple[MarkReport, ...] = ()
    hour_seconds: float = 10.0
    day_seconds: float = 300.0


class PullReport(Struct, frozen=True, omit_defaults=True):
    """A model that is fetched.

    Attributes:
        state: `running`, `done`, `failed` or `interrupted`.
        text: The last line that `relayd pull` has printed.
        share: How much of it is here, 0 to 1.
    """

    model: str
    state: str = "running"
    text: str = ""
    share: float = 0.0
    since: float = 0.0


class PullsReport(Struct, frozen=True):
    """The pulls that run, and the last ones that have ended."""

    pulls: tuple[PullReport, ...] = ()


class LinkReport(Struct, frozen=True):
    """A link that opens the dashboard once, on this machine, within some seconds."""

    url: str
    seconds: float

    def __repr__(self) -> str:
        return f"LinkReport(seconds={self.seconds!r})"

"""What a daemon reports, as values with one JSON form (control and admin API).

Schema 1. Members are added with a default, never renamed; times are seconds since 1970, sizes are bytes.
A reader ignores members that it does not know, and reads an older daemon's answer with the defaults.
"""

from collections.abc import Mapping

from msgspec import Struct

from relayd.daemon.batchreport import BatchesReport
from relayd.daemon.donereport import DoneReport
from relayd.daemon.nodereport import JoinedHubReport, NodeReport
from relayd.daemon.upstreamreport import UpstreamReport

SCHEMA = 1


class EngineReport(Struct, frozen=True):
    """The llama-server that runs the replicas."""

    path: str = ""
    version: str = ""
    source: str = ""


class ServiceReport(Struct, frozen=True):
    """The service manager that runs the daemon, and what it allows."""

    manager: str
    name: str
    journal: str
    open_files: int
    tasks: int | None = None
    memory: int | None = None
    watchdog_seconds: float | None = None


class PredecessorReport(Struct, frozen=True):
    """A daemon that this one has taken over from and that still finishes requests."""

    pid: int
    requests: int


class PlannedMemoryReport(Struct, frozen=True):
    """What a replica should hold.

    Attributes:
        bytes: Device → bytes, without what the prompt cache may come to.
        prompt_cache_bytes: RAM that it may fill with earlier prompts.
        basis: How these are known: `prediction`, `confirmed` by the engine, or `measured`.
        rough: What has no closed form, so that the figure is only roughly right.
    """

    bytes: Mapping[str, int]
    prompt_cache_bytes: int = 0
    basis: str = ""
    rough: tuple[str, ...] = ()


class HeldMemoryReport(Struct, frozen=True):
    """What a replica really holds.

    Attributes:
        bytes: Device → bytes.
        source: How that was read: `pss` or `rss`.
        mapped_bytes: Of RAM, pages of files, which the kernel can drop.
    """

    bytes: Mapping[str, int]
    source: str = ""
    mapped_bytes: int = 0


class MemoryWallReport(Struct, frozen=True):
    """What stops a process from taking all memory.

    Attributes:
        bytes: The limit of its anonymous memory (RLIMIT_DATA); None where only `oom_score_adj` stands.
        reason: Why it has none.
    """

    bytes: int | None = None
    reason: str = ""


class MemoryReport(Struct, frozen=True):
    """Memory of one replica; None is not known, or without a process."""

    planned: PlannedMemoryReport | None = None
    held: HeldMemoryReport | None = None
    wall: MemoryWallReport | None = None


class AccountReport(Struct, frozen=True):
    """One account of the memory ledger, in bytes.

    Attributes:
        account: `host`, or a device.
        capacity: What models may take of it, whatever is free at the moment.
        planned: What the plans of those in memory come to.
        measured: What those of them hold that were measured.
        held: What counts: the larger of both, replica by replica.
        others: What other programs hold beyond the reserve.
        free: What the next load may take; negative where more is held than models may take.
        weights: Of RAM, what of `planned` are weights: they count whole, mapped or not.
    """

    account: str
    capacity: int
    planned: int = 0
    measured: int = 0
    held: int = 0
    others: int = 0
    free: int = 0
    weights: int = 0


class MemoryWaitReport(Struct, frozen=True):
    """A replica that waits for memory, since when, for how many bytes, and for which replicas to leave.

    Attributes:
        wanted: Whether others make room for it, because something asks for it.
    """

    replica: str
    model: str
    since: float
    needs: Mapping[str, int] = {}
    waits_for: tuple[str, ...] = ()
    wanted: bool = True


class LoadReport(Struct, frozen=True):
    """A load that has ended: when, how long it waited for memory and then took, and why it failed, if so."""

    replica: str
    at: float
    waited_seconds: float
    seconds: float
    failure: str = ""


class LedgerReport(Struct, frozen=True):
    """Memory, as it is counted.

    Attributes:
        accounts: Host and devices; none where nothing is counted.
        waiting: Replicas that wait for memory, the longest first.
        leaving: Those that are about to leave memory, with the cause.
        loads: The last loads, the newest first.
        evictions: Cause → how many replicas have left memory for it since the daemon started.
    """

    accounts: tuple[AccountReport, ...] = ()
    waiting: tuple[MemoryWaitReport, ...] = ()
    leaving: Mapping[str, str] = {}
    loads: tuple[LoadReport, ...] = ()
    evictions: Mapping[str, int] = {}


class ExitReport(Struct, frozen=True):
    """How an incarnation ended."""

    cause: str
    code: int | None
    message: str
    remedy: str = ""
    at: float | None = None
    last_words: tuple[str, ...] = ()


class ReplicaReport(Struct, frozen=True):
    """One replica.

    Attributes:
        name: `MODEL#N`.
        since: When it came into its state.
        reason: Why it is not in memory; empty unless it is cold.
        differs: The flags that it runs with otherwise than planned; a restart applies the plan.
        budget_left: Unexpected exits that are tolerated before it is given up.
        reduced: The steps by which it was made smaller to fit.
        retry_at: When it is started again.
        health_fault: What failed in relayd itself when it last looked at it.
    """

    name: str
    state: str
    since: float = 0.0
    pid: int | None = None
    incarnation: int = 0
    address: str | None = None
    slots: int = 0
    restarts: int = 0
    budget_left: int = 0
    memory: MemoryReport = MemoryReport()
    reduced: tuple[str, ...] = ()
    retry_at: float | None = None
    health_fault: str | None = None
    last_exit: ExitReport | None = None
    log: str | None = None
    command: tuple[str, ...] = ()
    reason: str = ""
    differs: tuple[str, ...] = ()


class ModelReport(Struct, frozen=True):
    """One configured model, its load and its replicas.

    Attributes:
        load: When it is loaded: `start` or `demand`.
        pinned: Whether no other model takes its place, by its line or by command.
        done: What its requests came to.
        continuation: Where an answer of a chat breaks off → how the prompt of its continuation begins: `same`
            as the first one, `inserts` a text before the answer, `differs`, `not rendered`, `not continued`.
    """

    name: str
    aliases: tuple[str, ...] = ()
    file: str = ""
    demo: bool = False
    waiting: int = 0
    running: int = 0
    slots: int = 0
    replicas: tuple[ReplicaReport, ...] = ()
    load: str = "start"
    pinned: bool = False
    done: DoneReport = DoneReport()
    continuation: Mapping[str, str] = {}


class StatusReport(Struct, frozen=True):
    """The daemon, what it was given, and every model.

    Attributes:
        keyed: Whether clients need a key.
        config: Files and variables that the configuration came from.
        warnings: What the operator should know.
        logs: Folder of the logs.
        runtime: Folder of the sockets.
        since: When the daemon started.
        url: Where clients connect.
        memory: The ledger of host and devices, and what came and went.
        batches: Work that can wait.
        upstreams: Servers elsewhere that serve models too.
        nodes: Machines that have joined this hub, with their memory and what they serve.
        hubs: Hubs that this machine has joined.
    """

    schema: int = SCHEMA
    version: str = ""
    pid: int = 0
    keyed: bool = False
    config: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    engine: EngineReport = EngineReport()
    logs: str = ""
    runtime: str = ""
    service: ServiceReport | None = None
    since: float = 0.0
    url: str = ""
    stopping: bool = False
    predecessor: PredecessorReport | None = None
    models: tuple[ModelReport, ...] = ()
    memory: LedgerReport = LedgerReport()
    batches: BatchesReport = BatchesReport()
    upstreams: tuple[UpstreamReport, ...] = ()
    nodes: tuple[NodeReport, ...] = ()
    hubs: tuple[JoinedHubReport, ...] = ()


class SettingReport(Struct, frozen=True):
    """A setting that a reload changes; one that is not `live` waits for the next start."""

    key: str
    old: str
    new: str
    live: bool


class ReloadReport(Struct, frozen=True, omit_defaults=True):
    """What a reload changes.

    Attributes:
        models: Model → its settings that change no process, as `aliases: old → new`.
        replicas: How each new or changed replica came out; absent in a dry run.
        not_started: Those of them that are not in memory, with the reason.
    """

    dry_run: bool
    settings: list[SettingReport]
    added: list[str]
    removed: list[str]
    changed: dict[str, list[str]]
    unchanged: list[str]
    replicas: dict[str, str] | None = None
    models: dict[str, list[str]] = {}
    not_started: dict[str, str] = {}


class ReplicasReport(Struct, frozen=True, omit_defaults=True):
    """How a command left replicas.

    Attributes:
        replicas: Replica → its state.
        not_started: Those kept down by memory, with the reason.
        changed: What a new plan has changed for their processes, as `context: 8192 → 4096`.
        note: Why there is no new plan although one was to be made.
    """

    replicas: dict[str, str]
    not_started: dict[str, str] = {}
    changed: dict[str, list[str]] = {}
    note: str = ""


class PinReport(Struct, frozen=True):
    """Whether a model stays in memory, once loaded, whatever else needs memory; its replicas' states."""

    model: str
    pinned: bool
    replicas: dict[str, str] = {}


class StoppingReport(Struct, frozen=True):
    """The daemon ends; `stopping` is its pid."""

    stopping: int


class UpgradeReport(Struct, frozen=True):
    """A new daemon has taken over; the old one finishes its requests within `drain_seconds`.

    Those that run are counted apart from those that wait for a slot or still arrive.
    """

    running: int
    waiting: int
    pid: int
    version: str
    old_version: str
    drain_seconds: float

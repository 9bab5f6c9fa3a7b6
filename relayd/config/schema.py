"""Every setting of relay.toml: unit, range and default."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from relayd.config.values import (
    AliasName,
    CacheType,
    Count,
    CountOrZero,
    DefaultName,
    FilePath,
    HostName,
    Interval,
    Mebibytes,
    MemberName,
    Minutes,
    ModelName,
    OptionalFilePath,
    Origin,
    ReplicaCount,
    Seconds,
    Sha256,
    Share,
)
from relayd.secret import Secret


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of relay.toml: unknown keys are errors, values never change."""


class Server(Section, frozen=True):
    """The HTTP server that clients use.

    Attributes:
        listen: HOST:PORT; IPv6 in brackets. Other machines reach it only with a key.
        api_key: The key that clients send; empty requires none. `${ENV:NAME}` reads that variable.
        allowed_hosts: Host names a client may use besides loopback and the listening address.
        cors_origins: Origins of web pages that may call the API; none by default. Applications and
            browser extensions have schemes of their own (`app://`); `null` needs a key.
        default_model: The model of requests that name none; by default the only one that can answer.
        max_body_mib: Largest request body, in MiB.
        unknown_members: What becomes of a member of a body that is not known: dropped, or refused.
        extra_members: Members that pass although relayd does not know them: what a newer engine accepts.
        body_budget_mib: What the bodies of all requests may take together, in MiB, at any time.
        header_seconds: How long the head of a request may take to arrive.
        body_seconds: Longest pause while a request body arrives.
        write_stall_seconds: Longest time a client may stop reading before it is disconnected.
        first_byte_suspect_seconds: How long a replica may owe the first byte of an answer before others
            are preferred, and a stream that waits behind is moved to one.
        keep_alive_seconds: How long an unused connection stays open.
        takeover_seconds: How long the new daemon of `relayd upgrade` may take to come up.
    """

    listen: str = "127.0.0.1:8080"
    api_key: Secret = msgspec.field(default_factory=lambda: Secret(""))
    allowed_hosts: tuple[HostName, ...] = ()
    cors_origins: tuple[Origin, ...] = ()
    default_model: DefaultName = ""
    max_body_mib: Mebibytes = 16
    unknown_members: Literal["drop", "refuse"] = "drop"
    extra_members: tuple[MemberName, ...] = ()
    body_budget_mib: Mebibytes = 256
    header_seconds: Interval = 10
    body_seconds: Interval = 30
    write_stall_seconds: Interval = 60
    first_byte_suspect_seconds: Interval = 60
    keep_alive_seconds: Interval = 75
    takeover_seconds: Interval = 60


class QueueSettings(Section, frozen=True):
    """How long and how deep requests wait for a free slot.

    Attributes:
        depth: Requests that may wait for one model; more are refused.
        max_wait_seconds: Longest wait for a slot; zero never waits.
        attempts: Replicas a request may be given to before it fails.
        avoid_seconds: How long a request stays away from a replica that failed it, while
            another one is there.
        progress_comments: Whether a stream that waits gets comments on how far it is: its position, a model
            that loads, the seconds expected. The header `X-Relayd-Progress: 1` asks for them otherwise.
    """

    depth: Count = 256
    max_wait_seconds: Seconds = 300
    attempts: Count = 3
    avoid_seconds: Seconds = 1
    progress_comments: bool = False


class Replicas(Section, frozen=True):
    """How llama-server processes are run.

    Attributes:
        listen: What a replica listens on: a unix socket, or a TCP port of the loopback interface.
        ports: Range of ports for `tcp`, both ends included.
        on_daemon_exit: Whether a signal to the daemon stops replicas too, or keeps them for the
            next one; `relayd stop` always stops them.
        ready_seconds: How long a started process may take to answer at all.
        load_stall_seconds: Longest time without progress while a model loads.
        drain_seconds: How long running requests may finish before a stop.
        stop_seconds: Time between SIGTERM and SIGKILL.
        kill_seconds: How long to wait for a killed process to be gone.
    """

    listen: Literal["unix", "tcp"] = "unix"
    ports: str = "8100-8199"
    on_daemon_exit: Literal["stop", "keep"] = "stop"
    ready_seconds: Interval = 30
    load_stall_seconds: Interval = 60
    drain_seconds: Seconds = 30
    stop_seconds: Seconds = 10
    kill_seconds: Seconds = 5


class Restart(Section, frozen=True):
    """When a replica that has exited is restarted (backoff and budget).

    Attributes:
        first_delay_seconds: Wait before the first restart; it doubles with every further one.
        max_delay_seconds: Longest wait before a restart.
        slow_delay_seconds: The first wait once the budget is spent by exits under load; it doubles too.
        max_slow_delay_seconds: Longest of these waits.
        stable_seconds: Time in service after which the wait starts over.
        budget: Unexpected exits tolerated within `budget_seconds`; after one more the replica is given up, or
            restarted slowly if it ended under load. One by the kernel's out-of-memory killer counts as two;
            those with the same request body in flight count once.
        budget_seconds: The window in which exits are counted.
        file_check_seconds: How often the files of a replica that was given up are looked at; once they have
            come or changed, it is started again.
    """

    first_delay_seconds: Seconds = 1
    max_delay_seconds: Seconds = 60
    slow_delay_seconds: Seconds = 300
    max_slow_delay_seconds: Seconds = 3600
    stable_seconds: Seconds = 120
    budget: Count = 5
    budget_seconds: Interval = 600
    file_check_seconds: Interval = 5


class Probe(Section, frozen=True):
    """How often a replica's health is checked.

    Attributes:
        fast_seconds: Period just after the start, when a small model is about to be ready.
        slow_seconds: Period of a load that takes longer.
        ready_seconds: Period once the replica serves.
        timeout_seconds: How long one answer may take.
        failures: Failed probes in a row after which it gets no new work.
        hung_seconds: Silence after which it is killed and started again.
        stall_seconds: Time without progress on its requests after which it is; ten times as
            long while it uses the CPU.
        suspect_seconds: How long a replica that owes the end of a request may use the CPU and decode nothing
            before it is killed; at least what two batches of a prompt take it.
    """

    fast_seconds: Interval = 0.02
    slow_seconds: Interval = 1
    ready_seconds: Interval = 5
    timeout_seconds: Interval = 3
    failures: Count = 2
    hung_seconds: Interval = 30
    stall_seconds: Interval = 120
    suspect_seconds: Interval = 2


class Logs(Section, frozen=True):
    """How much of the replicas' logs is kept.

    Attributes:
        max_mib: Size at which a replica's log is rotated, in MiB.
        backups: Rotated logs kept of each replica.
        requests: Which requests get a line in the request log: none, those that were refused
            or cut, or all.
    """

    max_mib: Mebibytes = 10
    backups: CountOrZero = 3
    requests: Literal["off", "errors", "all"] = "errors"


class Compat(Section, frozen=True):
    """What other programs expect that most do not need.

    Attributes:
        rewrite_ids: Whether answers to requests that were named (X-Request-ID) have that name as `id`.
    """

    rewrite_ids: Literal["never", "named"] = "never"


class EngineSettings(Section, frozen=True):
    """Which llama-server runs.

    Attributes:
        path: The llama-server program; empty looks for one.
        release_sha256: The only archive `relayd engine install` accepts; empty trusts the
            digest its release publishes.
    """

    path: OptionalFilePath = ""
    release_sha256: Sha256 = ""


class Models(Section, frozen=True):
    """Where models are found besides the usual stores.

    Attributes:
        folders: Folders with models of your own, searched with those inside; read only.
    """

    folders: tuple[FilePath, ...] = ()


class Catalog(Section, frozen=True):
    """Where `relayd catalog update` finds a newer catalogue.

    Attributes:
        url: A bundle, by https; empty keeps the catalogue that came with relayd.
        sha256: The only bundle that is accepted; empty trusts the address.
    """

    url: str = ""
    sha256: Sha256 = ""


class MemoryBudget(Section, frozen=True):
    """How much memory models may take; plans are made for it, whatever is free at the moment.

    Attributes:
        reserve_mib: RAM that stays free, in MiB; 0 is the larger of 4 GiB and 20 % of RAM, at most half of
            it, and 10 % where no user logs in or a control group limits relayd.
        device_reserve_mib: Memory of each device that stays free, in MiB; 0 is 5 %, at least 512 MiB.
        host_mib: RAM that models may take, in MiB, without a reserve; 0 is all but the reserve.
        device_mib: Memory that they may take of each device, in MiB, likewise.
        min_resident_seconds: How long a model stays in memory after it was loaded, before another one may
            take its place; less when a request for that other is about to reach its longest wait.
        swap_batch_requests: Requests that a loaded model may begin while another one waits for its place.
        swap_turn_seconds: How long it may go on beginning requests while another one waits.
    """

    reserve_mib: CountOrZero = 0
    device_reserve_mib: CountOrZero = 0
    host_mib: CountOrZero = 0
    device_mib: CountOrZero = 0
    min_resident_seconds: Seconds = 3
    swap_batch_requests: Count = 32
    swap_turn_seconds: Seconds = 10


class LoraFile(Section, frozen=True):
    """An adapter applied to a model.

    Attributes:
        file: The adapter, a GGUF.
        scale: Strength it is applied with; 1 is as trained.
    """

    file: FilePath
    scale: float = 1.0


class Allocation(Section, frozen=True, repr_omit_defaults=True):
    """Where a model runs, and in which form. What is not set here, relayd decides.

    Attributes:
        gpu_layers: Layers on the devices, the output layer counted; 0 is none.
        devices: What `llama-server --list-devices` calls them, in the order of their layers; an empty
            list is the CPU alone.
        shares: Layers of each device, relative to the others; empty for one device.
        experts_on_cpu: Layers, counted from the first, whose experts stay in RAM.
        cache_type_k: Type of the keys in the cache: f16, q8_0, …
        cache_type_v: Type of the values in it.
        flash_attention: Whether attention is computed without its score matrix.
        unified: Whether the slots share one cache.
        batch: Tokens of one request to decode.
        micro_batch: Tokens of one pass.
    """

    gpu_layers: CountOrZero | None = None
    devices: tuple[str, ...] | None = None
    shares: tuple[Share, ...] | None = None
    experts_on_cpu: CountOrZero | None = None
    cache_type_k: CacheType | None = None
    cache_type_v: CacheType | None = None
    flash_attention: bool | None = None
    unified: bool | None = None
    batch: Count | None = None
    micro_batch: Count | None = None


class ReplicaRange(Section, frozen=True, kw_only=True):
    """How many processes serve a model: as few as suffice, as many as pay.

    Attributes:
        min: Processes that are there as long as the model is in memory.
        max: Processes it may grow to while requests wait and memory is free.
    """

    min: Count = 1
    max: Count


class Model(Section, frozen=True):
    """A model that clients can ask for.

    Attributes:
        name: What clients ask for.
        file: The GGUF, or the first part of a split one.
        projector: The GGUF that lets the model take images or audio (`mmproj`); empty for none.
        aliases: Other names that clients may use; `*` is any characters.
        context: Tokens a slot can hold; 0 is what the model was trained on.
        slots: Requests one replica works on at once; 0 leaves their number to the plan.
        replicas: Processes that serve the model; a range is from `min`, all started, to `max`, started while
            its queue is long enough for another to pay.
        load: When the model is loaded: as relayd starts, if it fits beside the others, or on demand, when a
            client asks for it. What does not fit is loaded on demand too.
        idle_minutes: Minutes after its last request after which the model is unloaded; 0 keeps it until
            another one needs its memory.
        pin: Whether the model, once loaded, stays: no other takes its place.
        home: Whether the model is loaded again when the machine is idle, after another took its place.
        threads: CPU threads of a replica, for prompts too; 0 is its share where replicas, a quota or an
            affinity leave fewer than the engine counts, else the engine's choice.
        embeddings: Whether a model for chat answers `/v1/embeddings` too, inputs up to its context; a model
            that is made for vectors or for ranking is served so without it.
        cache_ram_mib: Host memory for the prompts of earlier requests, in MiB, at most: each replica gets a
            share of what is left over; 0 is none.
        fit: Who decides what is not set here: relayd plans it, or the engine shortens the context and
            moves layers until the model fits.
        args: Further flags for llama-server, one string each; they win over what relayd decides.
        placement: Where it runs, and in which form.
        lora: Adapters applied at load.
    """

    name: ModelName
    file: FilePath
    projector: OptionalFilePath = ""
    aliases: tuple[AliasName, ...] = ()
    context: CountOrZero = 0
    slots: Annotated[int, Meta(ge=0, le=256)] = 0
    replicas: ReplicaCount | ReplicaRange = 1
    load: Literal["start", "demand"] = "start"
    idle_minutes: Minutes = 0
    pin: bool = False
    home: bool = False
    threads: CountOrZero = 0
    embeddings: bool = False
    cache_ram_mib: CountOrZero = 8192
    fit: Literal["plan", "engine"] = "plan"
    args: tuple[str, ...] = ()
    placement: Allocation = Allocation()
    lora: tuple[LoraFile, ...] = ()

    @property
    def least_replicas(self) -> int:
        """Replicas that are there as long as the model is in memory."""
        return self.replicas.min if isinstance(self.replicas, ReplicaRange) else self.replicas

    @property
    def most_replicas(self) -> int:
        """Replicas that there may be."""
        return self.replicas.max if isinstance(self.replicas, ReplicaRange) else self.replicas


class Config(Section, frozen=True):
    """Everything in relay.toml.

    Attributes:
        server: The HTTP server that clients use.
        queue: How long and how deep requests wait for a free slot.
        replicas: How llama-server processes are run.
        restart: When a replica that has exited is restarted (backoff and budget).
        probe: How often a replica's health is checked.
        logs: How much of the replicas' logs is kept.
        compat: What other programs expect that most do not need.
        engine: Which llama-server runs.
        models: Where models are found besides the usual stores.
        catalog: Where a newer catalogue is found.
        memory: How much memory models may take.
        model: The models that clients can ask for.
    """

    server: Server = Server()
    queue: QueueSettings = QueueSettings()
    replicas: Replicas = Replicas()
    restart: Restart = Restart()
    probe: Probe = Probe()
    logs: Logs = Logs()
    compat: Compat = Compat()
    engine: EngineSettings = EngineSettings()
    models: Models = Models()
    catalog: Catalog = Catalog()
    memory: MemoryBudget = MemoryBudget()
    model: tuple[Model, ...] = ()

"""How llama-server processes are run, restarted, checked and logged."""

from typing import Literal

import msgspec

from relayd.config.schema.section import Section
from relayd.config.values import (
    BusUrl,
    Count,
    CountOrZero,
    HubUrl,
    Interval,
    Mebibytes,
    OptionalFilePath,
    ProviderLine,
    Seconds,
    Sha256,
    WakeAddress,
    WebhookUrl,
)
from relayd.secret import Secret


class Replicas(Section, frozen=True):
    """How llama-server processes are run.

    Attributes:
        listen: What a replica listens on: a unix socket, or a TCP port of the loopback interface.
        ports: Range of ports for `tcp`, both ends included.
        sandbox: Whether replicas run in a sandbox (bubblewrap): no network, read-only models, their own /tmp.
        slots_on_disk_mib: How much disk the long prompts of stopped or unloaded replicas may take,
            which read them again when they are started; 0 keeps none.
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
    sandbox: Literal["none", "bwrap"] = "none"
    slots_on_disk_mib: CountOrZero = 0
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
        level: What relayd's own log holds: from this level up. `debug` has a line for each request.
        format: Whether a line of it is text, or a JSON object.
    """

    max_mib: Mebibytes = 10
    backups: CountOrZero = 3
    requests: Literal["off", "errors", "all"] = "errors"
    level: Literal["error", "warning", "info", "debug"] = "info"
    format: Literal["text", "json"] = "text"


class Notify(Section, frozen=True):
    """What is run and asked when a model is loaded, evicted, given up, long waited for, or not known.

    Attributes:
        command: A program and its arguments; it reads a JSON object, and has RELAYD_EVENT, RELAYD_SUBJECT
            and RELAYD_TEXT.
        webhooks: URLs that the same object is posted to.
    """

    command: tuple[str, ...] = ()
    webhooks: tuple[WebhookUrl, ...] = ()


class EngineSettings(Section, frozen=True):
    """Which llama-server runs.

    Attributes:
        path: The llama-server program; empty looks for one.
        release_sha256: The only archive `relayd engine install` accepts; empty trusts the
            digest its release publishes.
    """

    path: OptionalFilePath = ""
    release_sha256: Sha256 = ""


class HubSettings(Section, frozen=True):
    """Whether other machines may join this one as nodes, whose models clients then find here.

    Attributes:
        enabled: Whether they may (`serve --hub`). Each needs a token, which an invite gives it.
        url: Where nodes reach this hub, for the line that an invite prints: `wss://hub.example`. By default
            the address that the daemon listens on, or that this machine has in its network.
        resume_seconds: How long a link that fell silent may take to go on before its requests are tried or
            continued elsewhere; 5 at most where the node's machine has closed the connection.
        file_mib_s: How fast model files travel between machines at most, in MiB a second: a node gets one
            from another that has it, through the hub, before it asks the internet; 0 lets none travel.
        worker_secret: What ModelRelay's workers prove themselves with (`modelrelay-worker --worker-secret`);
            empty lets none connect. `${ENV:NAME}` reads that variable.
        providers: What holds for the machines of a provider (`relayd join --provider`, a worker's
            `--provider`), as "PROVIDER cost=60 weight=0.5 models=qwen*": seconds that a request rather waits
            for something cheaper, its share among equals, and the models that it may serve.
    """

    enabled: bool = False
    url: HubUrl = ""
    resume_seconds: Seconds = 30
    file_mib_s: Seconds = 64
    worker_secret: Secret = msgspec.field(default_factory=lambda: Secret(""))
    providers: tuple[ProviderLine, ...] = ()

    @property
    def takes_others(self) -> bool:
        """Whether other machines may join at all."""
        return self.enabled or bool(self.worker_secret)


class BusSettings(Section, frozen=True):
    """Where hubs and nodes meet on NATS: for nodes that reach no hub, and fleets of many (`relayd[nats]`).

    Attributes:
        url: Of its servers, with commas (`serve --bus`); empty is without.
        credentials: The file that `relayd bus init` makes for this machine: its role, name and key.
    """

    url: BusUrl = ""
    credentials: OptionalFilePath = ""


class PowerSettings(Section, frozen=True):
    """How machines of a hub are woken (`relayd nodes wake`), and when this one is put to sleep.

    Attributes:
        wake: Nodes that are woken over the network, as "NAME=MAC".
        wake_command: A program that wakes a node, instead; its name is added as the last argument.
        wake_seconds: How long a node may take to connect after it was woken.
        suspend_minutes: After how long without a request `suspend_command` runs; 0 never.
        suspend_command: What puts this machine to sleep.
    """

    wake: tuple[WakeAddress, ...] = ()
    wake_command: tuple[str, ...] = ()
    wake_seconds: Interval = 180
    suspend_minutes: Seconds = 0
    suspend_command: tuple[str, ...] = ("systemctl", "suspend")

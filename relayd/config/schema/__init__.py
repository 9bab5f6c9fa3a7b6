"""Every setting of relay.toml: unit, range and default."""

from relayd.config.schema.models import Allocation, LoraFile, Model, ReplicaRange
from relayd.config.schema.running import (
    BusSettings,
    EngineSettings,
    HubSettings,
    Logs,
    Notify,
    PowerSettings,
    Probe,
    Replicas,
    Restart,
)
from relayd.config.schema.section import Section
from relayd.config.schema.serving import Compat, QueueSettings, Server
from relayd.config.schema.stores import BatchSettings, Catalog, MemoryBudget, Models
from relayd.config.schema.upstreams import UpstreamServer
from relayd.config.schema.virtual import VirtualModel

__all__ = [
    "Allocation",
    "BatchSettings",
    "BusSettings",
    "Catalog",
    "Compat",
    "Config",
    "EngineSettings",
    "HubSettings",
    "Logs",
    "LoraFile",
    "MemoryBudget",
    "Model",
    "Models",
    "Notify",
    "PowerSettings",
    "Probe",
    "QueueSettings",
    "ReplicaRange",
    "Replicas",
    "Restart",
    "Section",
    "Server",
    "UpstreamServer",
    "VirtualModel",
]


class Config(Section, frozen=True):
    """Everything in relay.toml.

    Attributes:
        server: The HTTP server that clients use.
        queue: How long and how deep requests wait for a free slot.
        replicas: How llama-server processes are run.
        restart: When a replica that has exited is restarted (backoff and budget).
        probe: How often a replica's health is checked.
        logs: How much of the replicas' logs is kept.
        notify: What is run and asked when something happens.
        compat: What other programs expect that most do not need.
        hub: Whether other machines may join this one as nodes.
        bus: Whether hubs and nodes meet on NATS.
        power: How machines are woken, and put to sleep.
        engine: Which llama-server runs.
        models: Where models are found besides the usual stores.
        catalog: Where a newer catalogue is found.
        memory: How much memory models may take.
        batches: What uploaded files and batches may take.
        model: The models that clients can ask for.
        virtual: Names with parameters of their own, which those models serve.
        upstream: Servers elsewhere that serve models too.
    """

    server: Server = Server()
    queue: QueueSettings = QueueSettings()
    replicas: Replicas = Replicas()
    restart: Restart = Restart()
    probe: Probe = Probe()
    logs: Logs = Logs()
    notify: Notify = Notify()
    compat: Compat = Compat()
    hub: HubSettings = HubSettings()
    bus: BusSettings = BusSettings()
    power: PowerSettings = PowerSettings()
    engine: EngineSettings = EngineSettings()
    models: Models = Models()
    catalog: Catalog = Catalog()
    memory: MemoryBudget = MemoryBudget()
    batches: BatchSettings = BatchSettings()
    model: tuple[Model, ...] = ()
    virtual: tuple[VirtualModel, ...] = ()
    upstream: tuple[UpstreamServer, ...] = ()

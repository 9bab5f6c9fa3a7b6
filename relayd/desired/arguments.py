"""What was typed after `relayd serve`: a value that commands read without what makes plans."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Overrides:
    """What was typed for the models that the command line names; None is not typed.

    Attributes:
        context: Tokens a slot holds; 0 is what the model was trained on.
        slots: Requests at once.
        gpu_layers: Layers on the devices.
        flags: Further flags for llama-server, one string each.
    """

    context: int | None = None
    slots: int | None = None
    gpu_layers: int | None = None
    flags: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Return whether anything was typed."""
        return self != NO_OVERRIDES


NO_OVERRIDES = Overrides()


@dataclass(frozen=True, slots=True)
class ServeArguments:
    """What was typed after `relayd serve`; it holds over every reload.

    Attributes:
        targets: Configured models, files or models on disk; empty for all that are configured.
        demo: Whether the demo model runs.
        listen: HOST:PORT instead of the configured one.
        config: The relay.toml to use; None looks for one.
        llama_server: The engine instead of the configured one.
        insecure_bind: Whether other machines may come in without a key.
        overrides: Settings of the models that are named.
        on_demand: Whether models that relayd finds on the disk wait until a client asks for them.
        log_level: The level of relayd's own log instead of the configured one.
        hub: Whether other machines may join this one, whatever is configured.
        bus: Where hubs and nodes meet instead of the configured address.
        bus_credentials: The file by which the bus knows this machine, likewise.
    """

    targets: tuple[str, ...] = ()
    demo: bool = False
    listen: str | None = None
    config: Path | None = None
    llama_server: str | None = None
    insecure_bind: bool = False
    overrides: Overrides = NO_OVERRIDES
    on_demand: bool = False
    log_level: str | None = None
    hub: bool = False
    bus: str | None = None
    bus_credentials: Path | None = None

    @property
    def demo_alone(self) -> bool:
        """Whether the demo runs by itself, with folders of its own."""
        return self.demo and not self.targets

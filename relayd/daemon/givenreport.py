"""What a daemon was given, for commands of its owner that read the same files (values with one JSON form)."""

from msgspec import Struct


class GivenArguments(Struct, frozen=True):
    """What was typed after `relayd serve`, and where: commands that read the same files need all of it.

    Attributes:
        targets: Models and files that were named.
        demo: Whether the demo model runs.
        config: The relay.toml that was named; "" where none was.
        llama_server: The engine that was named; "" where none was.
        cwd: The folder it was typed in.
        home: What `~` stands for there.
        environ: The environment, with whatever secrets it holds.
        context: `--context`; None where it was not typed.
        slots: `--slots`, likewise.
        gpu_layers: `--gpu-layers`, likewise.
        flags: What followed `--`.
        on_demand: Whether models found on the disk wait until a client asks for them.
        hub: Whether `--hub` was typed.
        bus: `--bus`; None where it was not typed.
        bus_credentials: `--bus-credentials`, likewise.
    """

    targets: tuple[str, ...] = ()
    demo: bool = False
    config: str = ""
    llama_server: str = ""
    cwd: str = ""
    home: str = ""
    environ: dict[str, str] = {}
    context: int | None = None
    slots: int | None = None
    gpu_layers: int | None = None
    flags: tuple[str, ...] = ()
    on_demand: bool = False
    hub: bool = False
    bus: str | None = None
    bus_credentials: str | None = None

    def __repr__(self) -> str:
        return f"GivenArguments(targets={self.targets!r}, config={self.config!r}, cwd={self.cwd!r})"


NOTHING_GIVEN = GivenArguments()


class ConfigurationReport(Struct, frozen=True):
    """What the daemon was given, for commands that talk to the doors of its clients; it holds the key.

    For the control socket (0600) only: never logged, never in `status`.

    Attributes:
        sources: Files read, then variables used, in the order they apply.
        listen: Where clients connect, as configured.
        url: Where they connect.
        key: What they authenticate with; empty where none is needed.
        given: What was typed, and where.
        certificate: The file of the certificate that clients are shown; empty where nothing is encrypted.
    """

    sources: tuple[str, ...] = ()
    listen: str = ""
    url: str = ""
    key: str = ""
    given: GivenArguments = NOTHING_GIVEN
    certificate: str = ""

    def __repr__(self) -> str:
        return f"ConfigurationReport(sources={self.sources!r}, listen={self.listen!r}, url={self.url!r})"

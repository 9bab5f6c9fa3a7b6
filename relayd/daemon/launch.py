"""What replicas are started with, and what else they touch: command line, environment, dependencies."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from relayd.clock import Clock, SystemClock
from relayd.config import parse_ports
from relayd.daemon.slots import kept_flags
from relayd.desired.away import check_files, files_of
from relayd.desired.confirming import LoadConfirmation
from relayd.desired.smaller import Ladder
from relayd.desired.state import DesiredState
from relayd.desired.wall import MemoryWalls
from relayd.endpoint import LocalAddress
from relayd.engine import command, environment
from relayd.engine.memory import MemoryProbe
from relayd.engine.sandbox import DEVICES, PROGRAM, REMEDY, SandboxFolder, folders_of, sandboxed
from relayd.errors import EngineError
from relayd.hardware import OomKills
from relayd.planner import Planned, ReplicaSpec
from relayd.router import Suspects
from relayd.store import Reductions
from relayd.supervisor import Dependencies, EngineLauncher, ReplicaListener
from relayd.supervisor.adoption import Adopted
from relayd.supervisor.child import Files
from relayd.supervisor.grants import Grants
from relayd.supervisor.launcher import Launcher, Sandbox
from relayd.supervisor.launching import Launch
from relayd.supervisor.orphans import INSTANCE_VARIABLE, REPLICA_VARIABLE
from relayd.supervisor.probe import Fetch
from relayd.supervisor.reductions import KeptReductions
from relayd.supervisor.sizing import Reduction
from relayd.supervisor.slots import SlotKeeper


def dependencies(
    desired: DesiredState,
    listener: ReplicaListener,
    clock: Clock,
    fetch: Fetch,
    busy: Callable[[str], bool],
    suspects: Suspects,
    grants: Grants,
    slots: SlotKeeper | None,
) -> Dependencies:
    """Return everything that replicas of a desired state touch."""
    return Dependencies(
        CheckedLauncher(launcher(desired)),
        listener,
        clock,
        fetch,
        busy=busy,
        in_flight=suspects.in_flight,
        explain=suspects.exited,
        smaller=Ladder(desired.engine.features, desired.budget),
        out_of_memory=OomKills().ended,
        grants=grants,
        reductions=KeptReductions(Reductions(desired.paths.state)),
        slots=slots,
    )


def confirmation(desired: DesiredState) -> Callable[[Planned], Planned]:
    """Return what has a plan confirmed by the engine before its first load; it blocks."""
    if desired.budget is None:
        return lambda planned: planned
    probe = MemoryProbe(desired.engine, desired.site.cache / "engine", desired.environ)
    return LoadConfirmation(desired.engine, probe, desired.budget, desired.paths.state)


class CheckedLauncher:
    """Starts a process only where the files are that it opens: else the engine's log would have to say so.

    Args:
        launcher: Starts processes.
    """

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher

    def __repr__(self) -> str:
        return f"<CheckedLauncher: {self._launcher!r}>"

    def prepare(self, planned: Planned, incarnation: int, reduction: Reduction | None = None) -> Launch:
        """Make what a start needs; see `Launcher`.

        Raises:
            ModelFileError: A file is missing, unreadable or no GGUF.
        """
        check_files(planned.spec)
        return self._launcher.prepare(planned, incarnation, reduction)

    def adopt(self, planned: Planned) -> Adopted | None:
        """Return the living process of this plan's line, whatever has become of its files; see `Launcher`."""
        return self._launcher.adopt(planned)


def launcher(desired: DesiredState) -> EngineLauncher:
    """Return what starts replicas with the engine and in the folders of a desired state."""
    features, binary, paths = desired.engine.features, desired.engine.path, desired.paths
    boxed = desired.config.replicas.sandbox == "bwrap"

    def argv(spec: ReplicaSpec, address: LocalAddress, key_file: Path) -> tuple[str, ...]:
        return (str(binary), *command(spec, features, address, key_file), *kept_flags(desired, spec))

    def child_environment(replica: str) -> dict[str, str]:
        return environment(
            desired.environ,
            instance=str(paths.runtime),
            replica=replica,
            empty_config_home=paths.runtime / "xdg",
        )

    made = EngineLauncher(
        argv,
        child_environment,
        runtime=paths.runtime,
        logs=paths.state / "logs",
        engine=f"{binary} {desired.engine.version}{' bwrap' if boxed else ''}",
        clock=SystemClock(),
        wall=MemoryWalls(features, desired.budget),
        ports=parse_ports(desired.config.replicas.ports) if desired.config.replicas.listen == "tcp" else (),
    )
    if boxed:
        made.sandbox = _sandbox(binary, paths.runtime)
    return made


def _sandbox(binary: Path, runtime: Path) -> Sandbox:
    """Return what builds the argv that runs a replica in a sandbox."""

    def build(spec: ReplicaSpec, command: Sequence[str], files: Files) -> tuple[str, ...]:
        if (program := shutil.which(PROGRAM)) is None:
            raise EngineError('sandbox = "bwrap" needs bubblewrap, which is not in PATH.', remedy=REMEDY)
        return sandboxed(
            Path(program),
            command,
            readable=(*folders_of(binary), *files_of(spec), files.key),
            folder=SandboxFolder(files.box, runtime),
            devices=[found for name in DEVICES for found in sorted(Path("/dev").glob(name))],
            variables={INSTANCE_VARIABLE: str(runtime), REPLICA_VARIABLE: spec.name},
        )

    return build

"""What replicas are started with, and what else they touch: command line, environment, dependencies."""

from collections.abc import Callable
from pathlib import Path

from relayd.clock import Clock, SystemClock
from relayd.config import parse_ports
from relayd.desired.smaller import Ladder
from relayd.desired.state import DesiredState
from relayd.desired.wall import MemoryWalls
from relayd.endpoint import Address
from relayd.engine import command, environment
from relayd.hardware import OomKills
from relayd.planner import ReplicaSpec
from relayd.router import Suspects
from relayd.store import Reductions
from relayd.supervisor import Dependencies, EngineLauncher, ReplicaListener
from relayd.supervisor.probe import Fetch
from relayd.supervisor.reductions import KeptReductions


def dependencies(
    desired: DesiredState,
    listener: ReplicaListener,
    clock: Clock,
    fetch: Fetch,
    busy: Callable[[str], bool],
    suspects: Suspects,
) -> Dependencies:
    """Return everything that replicas of a desired state touch."""
    return Dependencies(
        launcher(desired),
        listener,
        clock,
        fetch,
        busy=busy,
        in_flight=suspects.in_flight,
        explain=suspects.exited,
        smaller=Ladder(desired.engine.features, desired.budget),
        out_of_memory=OomKills().ended,
        reductions=KeptReductions(Reductions(desired.paths.state)),
    )


def launcher(desired: DesiredState) -> EngineLauncher:
    """Return what starts replicas with the engine and in the folders of a desired state."""
    features, binary, paths = desired.engine.features, desired.engine.path, desired.paths

    def argv(spec: ReplicaSpec, address: Address, key_file: Path) -> tuple[str, ...]:
        return (str(binary), *command(spec, features, address, key_file))

    def child_environment(replica: str) -> dict[str, str]:
        return environment(
            desired.environ,
            instance=str(paths.runtime),
            replica=replica,
            empty_config_home=paths.runtime / "xdg",
        )

    return EngineLauncher(
        argv,
        child_environment,
        runtime=paths.runtime,
        logs=paths.state / "logs",
        engine=f"{binary} {desired.engine.version}",
        clock=SystemClock(),
        wall=MemoryWalls(features, desired.budget),
        ports=parse_ports(desired.config.replicas.ports) if desired.config.replicas.listen == "tcp" else (),
    )

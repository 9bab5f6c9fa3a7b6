"""Replicas without a daemon around them: the supervisor, real processes, and a llama-server of any faults."""

import asyncio
import contextlib
import os
import resource
import signal
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from relayd.clock import SystemClock
from relayd.config.schema import Probe, Replicas, Restart
from relayd.endpoint import Endpoint, LocalAddress, TcpAddress
from relayd.engine import environment
from relayd.planner import Planned, ReplicaSpec
from relayd.router import Pools
from relayd.supervisor import Dependencies, EngineLauncher, Replica, Settings
from relayd.supervisor.child import EngineChild
from relayd.supervisor.probe import Fetch
from tests.daemons import DEADLINE_SECONDS

FAST = Settings(
    Replicas(ready_seconds=10, load_stall_seconds=10, drain_seconds=0.01, stop_seconds=2),
    Restart(first_delay_seconds=0.02, max_delay_seconds=0.05),
    Probe(fast_seconds=0.01, slow_seconds=0.02, ready_seconds=0.05, timeout_seconds=1, hung_seconds=2),
)
"""Intervals at about a fiftieth of their defaults, but for those that kill what a busy machine holds up."""


def quick(**changes: float) -> Settings:
    """Return the fast settings with some of them changed, each named as only one section names it."""
    sections = {name: getattr(FAST, name) for name in ("replicas", "restart", "probe")}
    for key, value in changes.items():
        (name,) = (name for name, section in sections.items() if key in section.__struct_fields__)
        sections[name] = msgspec.structs.replace(sections[name], **{key: value})
    return Settings(**sections)


class SteppedClock(SystemClock):
    """The system's clock, moved on by a test."""

    def __init__(self) -> None:
        self.monotonic_ahead = 0.0
        self.wall_ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.monotonic_ahead

    def wall(self) -> float:
        return super().wall() + self.wall_ahead


@dataclass
class Listener:
    """Notes what replicas say of themselves."""

    heard: list[str] = field(default_factory=list)

    def waiting(self, replica: str, model: str) -> None:
        self.heard.append(f"{replica} waiting")

    def expected(self, replica: str, model: str) -> None:
        self.heard.append(f"{replica} expected")

    def ready(self, planned: Planned, endpoint: Endpoint) -> None:
        self.heard.append(f"{planned.name} ready {endpoint.incarnation}")

    def paused(self, replica: str) -> None:
        self.heard.append(f"{replica} paused")

    def draining(self, replica: str) -> None:
        self.heard.append(f"{replica} draining")

    def stopping(self, endpoint: Endpoint) -> None:
        self.heard.append(f"{endpoint.replica} stopping {endpoint.incarnation}")

    def lost(self, endpoint: Endpoint) -> None:
        self.heard.append(f"{endpoint.replica} lost {endpoint.incarnation}")

    def unloaded(self, replica: str, model: str, reason: str) -> None:
        self.heard.append(f"{replica} unloaded: {reason}")

    def load_failed(self, replica: str, reason: str) -> None:
        self.heard.append(f"{replica} load failed: {reason}")

    def gone(self, replica: str, reason: str) -> None:
        self.heard.append(f"{replica} gone: {reason}")

    def forgotten(self, replica: str) -> None:
        self.heard.append(f"{replica} forgotten")


@dataclass
class CountedProbes:
    """Reads from replicas, and counts what it has begun and ended of each."""

    fetch: Fetch
    begun: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)

    async def __call__(
        self, endpoint: Endpoint, path: str, *, with_key: bool, timeout_seconds: float
    ) -> tuple[int, bytes]:
        self.begun[endpoint.replica] += 1
        try:
            return await self.fetch(endpoint, path, with_key=with_key, timeout_seconds=timeout_seconds)
        finally:
            self.ended[endpoint.replica] += 1

    def waits_for(self, replica: str) -> bool:
        return self.begun[replica] > self.ended[replica]


@dataclass
class Stage:
    """Where replicas live: a folder, an engine, a clock.

    Attributes:
        engine: The program that is started.
        home: Folder of everything.
        program: What is started instead, if not the engine.
        ports: Where replicas listen; empty for unix sockets.
    """

    engine: Path
    home: Path
    program: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    clock: SteppedClock = field(default_factory=SteppedClock)
    listener: Listener = field(default_factory=Listener)
    probes: CountedProbes = field(default_factory=lambda: CountedProbes(Pools().get))

    @property
    def runtime(self) -> Path:
        return self.home / "r"

    def launcher(self) -> EngineLauncher:
        self.runtime.mkdir(mode=0o700, exist_ok=True)
        return EngineLauncher(
            self._command,
            lambda replica: environment(
                {"PATH": "/usr/bin:/bin"},
                instance=str(self.runtime),
                replica=replica,
                empty_config_home=self.home / "xdg",
            ),
            runtime=self.runtime,
            logs=self.home / "logs",
            engine="fake",
            clock=self.clock,
            ports=self.ports,
        )

    def planned(self, faults: str = "", name: str = "m", **fields: Any) -> Planned:
        model = self.home / f"{name}.gguf"
        model.touch()
        args = ("--fault", faults) if faults else ()
        return Planned(ReplicaSpec(name, 0, model, extra_args=args, **fields))

    def replica(self, faults: str = "", name: str = "m", settings: Settings = FAST, **world: Any) -> Replica:
        known = Dependencies(self.launcher(), self.listener, self.clock, self.probes, **world)
        return Replica(self.planned(faults, name), known, settings)

    def log(self, name: str = "m") -> str:
        path = self.home / "logs" / f"{name}.0.log"
        return path.read_text() if path.exists() else ""

    def go(self, name: str = "m") -> None:
        """Let a replica that is held load to the end."""
        (self.home / f"{name}.gguf.go").touch()

    def living(self) -> dict[int, str]:
        """Return every process that was started here and lives, with the replica it is for."""
        found = {}
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                tags = process.environ()
                if tags.get("RELAYD_INSTANCE") == str(self.runtime) and process.status() != "zombie":
                    found[process.pid] = tags["RELAYD_REPLICA"]
        return found

    def play(self, story: Callable[[], Awaitable[None]], *replicas: Replica) -> None:
        """Tell a story, bring its replicas down, and see that nothing is left."""

        async def tell() -> None:
            async with asyncio.timeout(DEADLINE_SECONDS):
                await story()
                for replica in replicas:
                    replica.stop(0)
                for replica in replicas:
                    await replica.down()

        try:
            asyncio.run(tell())
        finally:
            left = self.living()
            for pid in left:
                os.kill(pid, signal.SIGKILL)
        assert {} == left
        assert not list(self.runtime.glob("*.sock"))

    def _command(self, spec: ReplicaSpec, address: LocalAddress, key_file: Path) -> tuple[str, ...]:
        if self.program:
            return self.program
        if isinstance(address, TcpAddress):
            where: tuple[str, ...] = (address.host, "--port", str(address.port))
        else:
            where = (address.path.name,)
        flags = ("--model", str(spec.file), "--api-key-file", str(key_file), "--parallel", str(spec.slots))
        return (str(self.engine), *flags, "--host", *where, *spec.extra_args)


def launched(launcher: EngineLauncher, planned: Planned, incarnation: int = 1) -> EngineChild:
    """Start a process, with every step in the thread of the test."""
    launch = launcher.prepare(planned, incarnation)
    child = launch.spawn() or launch.find()
    launch.record()
    return child


on_both = pytest.mark.parametrize("listen", ["unix", "tcp"], indirect=True)
"""Runs a test with replicas on unix sockets, and again with replicas on assigned ports."""


def free_ports(count: int) -> tuple[int, ...]:
    """Return ports that nobody listens on; another process may still take one, as in real life."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return tuple(one.getsockname()[1] for one in sockets)


async def until(condition: Callable[[], object]) -> None:
    """Wait for what another process does."""
    while not condition():
        await asyncio.sleep(0.005)


@contextlib.contextmanager
def no_descriptor_left() -> Iterator[None]:
    """Let this process open nothing more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def pid_of(replica: Replica) -> int:
    """Return the pid of a replica that has a process."""
    pid = replica.status().pid
    assert pid is not None
    return pid

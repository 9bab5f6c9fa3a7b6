"""Processes that are real and never answer, and what else a replica touches, for tests."""

import asyncio
import subprocess
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event
from typing import Any

import msgspec

from relayd.clock import SystemClock
from relayd.config.schema import Probe, Replicas, Restart
from relayd.endpoint import Endpoint, UnixAddress
from relayd.planner import Facts, Planned, ReplicaSpec, Step, step_down
from relayd.planner.wall import NO_WALL, MemoryWall
from relayd.router import Pools
from relayd.secret import Secret
from relayd.supervisor import Dependencies, Replica, Settings
from relayd.supervisor.adoption import Adopted
from relayd.supervisor.grants import Granted
from relayd.supervisor.sizing import Reduction
from tests.daemons import DEADLINE_SECONDS

PLANNED = Planned(ReplicaSpec("m", 0, Path("/m.gguf")))


@dataclass
class Sleeper:
    """A process that does nothing, in a group of its own."""

    process: subprocess.Popen[bytes]
    endpoint: Endpoint
    log: Path
    log_offset: int = 0
    command: tuple[str, ...] = ("sleep",)
    signals: list[int] = field(default_factory=list)
    wall: MemoryWall = NO_WALL
    disk: Event = field(default_factory=Event)

    def __post_init__(self) -> None:
        self.disk.set()

    @property
    def pid(self) -> int:
        return self.process.pid

    def signal(self, number: int) -> None:
        self.signals.append(number)
        self.process.send_signal(number)

    def reap(self) -> int | None:
        assert self.disk.wait(DEADLINE_SECONDS)
        return self.process.wait()


@dataclass
class Launcher:
    """Starts sleepers, or fails as it is told to."""

    folder: Path
    command: tuple[str, ...] = ("sleep", "60")
    failures: list[Exception] = field(default_factory=list)
    children: list[Sleeper] = field(default_factory=list)
    launched: list[tuple[Planned, Reduction | None]] = field(default_factory=list)
    adoptable: Adopted | None = None
    recorded: int = 0
    abandoned: int = 0
    disk: Event = field(default_factory=Event)

    def __post_init__(self) -> None:
        self.disk.set()

    def prepare(
        self, planned: Planned, incarnation: int, reduction: Reduction | None = None
    ) -> "SleeperLaunch":
        assert self.disk.wait(DEADLINE_SECONDS)
        if self.failures:
            raise self.failures.pop(0)
        return SleeperLaunch(self, planned, incarnation, reduction)

    def launch(self, planned: Planned, incarnation: int, reduction: Reduction | None = None) -> Sleeper:
        endpoint = Endpoint(UnixAddress(self.folder / "none.sock"), Secret("k"), planned.name, incarnation)
        process = subprocess.Popen(self.command, start_new_session=True)
        self.children.append(Sleeper(process, endpoint, self.folder / "log"))
        self.launched.append((planned, reduction))
        return self.children[-1]

    def adopt(self, planned: Planned) -> Adopted | None:
        found = self.adoptable
        return found if found and found.planned.name == planned.name else None


@dataclass
class SleeperLaunch:
    """A sleeper that is about to be started."""

    launcher: Launcher
    planned: Planned
    incarnation: int
    reduction: Reduction | None

    def spawn(self) -> Sleeper:
        assert threading.current_thread() is threading.main_thread()
        return self.launcher.launch(self.planned, self.incarnation, self.reduction)

    def find(self) -> Sleeper:
        raise AssertionError("it was there at once")

    def discard(self) -> None:
        raise AssertionError("it was there at once")

    def record(self) -> None:
        assert self.launcher.disk.wait(DEADLINE_SECONDS)
        self.launcher.recorded += 1

    def abandon(self) -> None:
        self.launcher.abandoned += 1


@dataclass
class Listener:
    """Notes what a replica says of itself."""

    heard: list[str] = field(default_factory=list)

    def waiting(self, replica: str, model: str) -> None:
        self.heard.append("waiting")

    def expected(self, replica: str, model: str) -> None:
        self.heard.append("expected")

    def ready(self, planned: Planned, endpoint: Endpoint) -> None:
        self.heard.append("ready")

    def paused(self, replica: str) -> None:
        self.heard.append("paused")

    def draining(self, replica: str) -> None:
        self.heard.append("draining")

    def stopping(self, endpoint: Endpoint) -> None:
        self.heard.append("stopping")

    def lost(self, endpoint: Endpoint) -> None:
        self.heard.append("lost")

    def unloaded(self, replica: str, model: str, reason: str) -> None:
        self.heard.append(f"unloaded: {reason}")

    def load_failed(self, replica: str, reason: str) -> None:
        self.heard.append(f"load failed: {reason}")

    def gone(self, replica: str, reason: str) -> None:
        self.heard.append(f"gone: {reason}")

    def forgotten(self, replica: str) -> None:
        self.heard.append("forgotten")


FAST = Settings(
    Replicas(ready_seconds=60, stop_seconds=0.2),
    Restart(first_delay_seconds=0.02, max_delay_seconds=0.05, budget=3),
    Probe(fast_seconds=0.005),
)


def live(
    launcher: Launcher,
    story: Callable[[Replica, Listener], Awaitable[None]],
    *,
    ready_seconds: float = 60,
    facts: Facts | None = None,
    planned: Planned = PLANNED,
    **others: Any,
) -> None:
    """Tell a story of one replica, with short intervals, and end it."""
    settings = replace(FAST, replicas=msgspec.structs.replace(FAST.replicas, ready_seconds=ready_seconds))

    def smaller(planned: Planned, rung: int, *, host: bool) -> Step | None:
        return step_down(planned, facts, rung, host=host) if facts else None

    async def tell() -> None:
        listener = Listener()
        replica = Replica(
            planned,
            Dependencies(launcher, listener, SystemClock(), Pools().get, smaller=smaller, **others),
            settings,
        )
        async with asyncio.timeout(DEADLINE_SECONDS):
            await story(replica, listener)
            replica.stop(1)
            await replica.down()

    asyncio.run(tell())
    assert all(child.process.returncode is not None for child in launcher.children)


async def spawned(launcher: Launcher, count: int = 1) -> None:
    """Wait for the process of a start: what it needs from the disk is made aside."""
    await until(lambda: len(launcher.children) >= count)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.002)


@dataclass
class Holding:
    """A ledger that grants when it is told to."""

    asked: list[tuple[Sequence[Planned], Granted]] = field(default_factory=list)
    withdrawn: int = 0
    released: list[str] = field(default_factory=list)

    def ask(self, sizes: Sequence[Planned], granted: Granted) -> Callable[[], None]:
        self.asked.append((sizes, granted))

        def withdraw() -> None:
            self.withdrawn += 1

        return withdraw

    def release(self, replica: str) -> None:
        self.released.append(replica)

    def grant(self, size: int = 0) -> None:
        sizes, granted = self.asked[-1]
        granted(sizes[size])


@dataclass
class Remembered:
    """A disk that keeps reductions."""

    kept: dict[str, Reduction] = field(default_factory=dict)

    def read(self) -> Mapping[str, Reduction]:
        return self.kept

    def put(self, replica: str, reduction: Reduction | None) -> None:
        self.kept.pop(replica, None)
        if reduction:
            self.kept[replica] = reduction


SMALLER = replace(PLANNED, spec=replace(PLANNED.spec, slots=2))


def reduction(at: float = 0.0) -> Reduction:
    return Reduction(PLANNED.spec.digest, SMALLER.spec, 2, ("slots: 4 → 2",), at)

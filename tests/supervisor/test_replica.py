"""A replica's life, on processes that are real and never answer."""

import asyncio
import signal
import subprocess
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from relayd.clock import Clock, SystemClock
from relayd.config.schema import Probe, Replicas, Restart
from relayd.endpoint import Endpoint, UnixAddress
from relayd.errors import EngineError
from relayd.planner import Facts, Planned, ReplicaSpec, Step, step_down
from relayd.secret import Secret
from relayd.supervisor import Dependencies, Replica, Settings, State
from relayd.supervisor.causes import Cause
from relayd.supervisor.health import Verdict
from tests.daemons import DEADLINE_SECONDS

pytestmark = pytest.mark.fake

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

    @property
    def pid(self) -> int:
        return self.process.pid

    def signal(self, number: int) -> None:
        self.signals.append(number)
        self.process.send_signal(number)

    def reap(self) -> int | None:
        return self.process.wait()


@dataclass
class Launcher:
    """Starts sleepers, or fails as it is told to."""

    folder: Path
    command: tuple[str, ...] = ("sleep", "60")
    failures: list[Exception] = field(default_factory=list)
    children: list[Sleeper] = field(default_factory=list)

    def launch(self, planned: Planned, incarnation: int) -> Sleeper:
        if self.failures:
            raise self.failures.pop(0)
        endpoint = Endpoint(UnixAddress(self.folder / "none.sock"), Secret("k"), planned.name, incarnation)
        process = subprocess.Popen(self.command, start_new_session=True)
        self.children.append(Sleeper(process, endpoint, self.folder / "log"))
        return self.children[-1]

    def adopt(self, planned: Planned) -> Sleeper | None:
        return self.children[0] if self.children else None


class LaterClock(SystemClock):
    """The system's clock, moved on by a test."""

    later_seconds = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.later_seconds


@dataclass
class Listener:
    """Notes what a replica says of itself."""

    heard: list[str] = field(default_factory=list)

    def expected(self, replica: str, model: str) -> None:
        self.heard.append("expected")

    def ready(self, planned: Planned, endpoint: Endpoint) -> None:
        self.heard.append("ready")

    def paused(self, replica: str) -> None:
        self.heard.append("paused")

    def draining(self, replica: str) -> None:
        self.heard.append("draining")

    def lost(self, endpoint: Endpoint) -> None:
        self.heard.append("lost")

    def gone(self, replica: str, reason: str) -> None:
        self.heard.append(f"gone: {reason}")

    def forgotten(self, replica: str) -> None:
        self.heard.append("forgotten")


def live(
    launcher: Launcher,
    story: Callable[[Replica, Listener], Awaitable[None]],
    *,
    ready_seconds: float = 60,
    facts: Facts | None = None,
    clock: Clock | None = None,
    **world: Any,
) -> None:
    """Tell a story of one replica, with short intervals, and end it."""
    settings = Settings(
        Replicas(ready_seconds=ready_seconds, stop_seconds=0.2),
        Restart(first_delay_seconds=0.02, max_delay_seconds=0.05, budget=3),
        Probe(fast_seconds=0.005),
    )

    def smaller(planned: Planned, rung: int, *, host: bool) -> Step | None:
        return step_down(planned, facts, rung, host=host) if facts else None

    async def tell() -> None:
        listener = Listener()
        replica = Replica(
            PLANNED,
            Dependencies(launcher, listener, clock or SystemClock(), smaller=smaller, **world),
            settings,
        )
        async with asyncio.timeout(DEADLINE_SECONDS):
            await story(replica, listener)
            replica.stop(1)
            await replica.down()

    asyncio.run(tell())
    assert all(child.process.returncode is not None for child in launcher.children)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.002)


def test_start_is_idempotent(tmp_path: Path) -> None:
    launcher = Launcher(tmp_path)

    async def story(replica: Replica, listener: Listener) -> None:
        replica.start()
        replica.start()
        assert State.STARTING is replica.state
        assert ["expected"] == listener.heard

    live(launcher, story)
    assert 1 == len(launcher.children)


def test_an_engine_that_cannot_be_started_is_fatal_at_once(tmp_path: Path) -> None:
    launcher = Launcher(tmp_path, failures=[EngineError("no such file: /x", remedy="correct it")])

    async def story(replica: Replica, listener: Listener) -> None:
        replica.start()
        assert State.FATAL is replica.state
        last = replica.status().last_exit
        assert last
        assert (Cause.SPAWN_FAILED, "correct it") == (last.cause, last.remedy)
        assert "no such file" in listener.heard[-1]

    live(launcher, story)


def test_a_system_short_of_resources_is_tried_again(tmp_path: Path) -> None:
    launcher = Launcher(tmp_path, failures=[OSError(24, "Too many open files")])

    async def story(replica: Replica, _listener: Listener) -> None:
        replica.start()
        assert State.BACKOFF is replica.state
        await until(lambda: State.STARTING is replica.state)

    live(launcher, story)
    assert 1 == len(launcher.children)


def test_a_crash_is_restarted_until_the_budget_is_spent(tmp_path: Path) -> None:
    launcher = Launcher(tmp_path, command=("false",))

    async def story(replica: Replica, listener: Listener) -> None:
        replica.start()
        await replica.down()
        status = replica.status()
        assert (State.FATAL, 0, 4) == (status.state, status.budget_left, status.incarnation)
        assert listener.heard[-1].startswith("gone: m#0 gave up")

    live(launcher, story)
    assert 4 == len(launcher.children)


def test_a_stop_is_not_a_crash_and_is_not_restarted(tmp_path: Path) -> None:
    launcher = Launcher(tmp_path)

    async def story(replica: Replica, listener: Listener) -> None:
        replica.start()
        replica.stop(1)
        await replica.down()
        status = replica.status()
        assert (State.STOPPED, 3, 0) == (status.state, status.budget_left, status.restarts)
        assert status.last_exit
        assert Cause.COMMANDED is status.last_exit.cause
        assert ["expected", "gone: m#0 is stopped"] == listener.heard

    live(launcher, story)


def test_a_stop_in_backoff_cancels_the_retry(tmp_path: Path) -> None:
    launcher = Launcher(tmp_path, command=("false",))

    async def story(replica: Replica, _listener: Listener) -> None:
        replica.start()
        await until(lambda: State.BACKOFF is replica.state)
        replica.stop(1)
        count = len(launcher.children)
        await asyncio.sleep(0.15)
        assert (State.STOPPED, count) == (replica.state, len(launcher.children))

    live(launcher, story)


def test_a_start_while_stopping_waits_for_the_old_process(tmp_path: Path) -> None:
    launcher = Launcher(tmp_path)

    async def story(replica: Replica, _listener: Listener) -> None:
        replica.start()
        replica.stop(1)
        replica.start()
        assert (State.STOPPING, 1) == (replica.state, len(launcher.children))
        await until(lambda: len(launcher.children) == 2)
        assert launcher.children[0].process.returncode is not None

    live(launcher, story)


def test_what_ignores_term_is_killed_and_what_is_stopped_is_continued(tmp_path: Path) -> None:
    launcher = Launcher(tmp_path)
    launcher.command = ("sh", "-c", f"trap '' TERM; echo > {tmp_path}/log; while :; do sleep 1; done")

    async def story(replica: Replica, _listener: Listener) -> None:
        replica.start()
        await until((tmp_path / "log").exists)
        replica.stop(1)
        await replica.down()

    live(launcher, story)
    assert [signal.SIGTERM, signal.SIGCONT, signal.SIGKILL] == launcher.children[0].signals


def test_a_process_that_never_answers_is_killed_and_tried_again(tmp_path: Path) -> None:
    launcher = Launcher(tmp_path)

    async def story(replica: Replica, _listener: Listener) -> None:
        replica.start()
        await until(lambda: len(launcher.children) == 2)
        last = replica.status().last_exit
        assert last
        assert Cause.NOT_ANSWERING is last.cause

    live(launcher, story, ready_seconds=0.1)


def test_a_device_that_is_too_small_gets_smaller_specs_and_then_none(tmp_path: Path) -> None:
    words = "cudaMalloc failed: out of memory"
    log = tmp_path / "log"
    launcher = Launcher(tmp_path, command=("sh", "-c", f"echo {words} > {log}; exit 1"))
    facts = Facts(trained_context=8192, layers=32, smaller_files=(Path("/m-q4.gguf"),))

    async def story(replica: Replica, _listener: Listener) -> None:
        replica.start()
        await replica.down()
        status = replica.status()
        assert (State.FATAL, PLANNED) == (status.state, replica.wanted)
        assert (
            "slots: 4 → 2",
            "context: 8192 → 4096",
            "layers on the device: 33 → 24",
            "file: m.gguf → m-q4.gguf",
        ) == status.reduced

    live(launcher, story, facts=facts)
    assert 5 == len(launcher.children)


@pytest.mark.parametrize(("served_seconds", "reduced"), [(0, 1), (120, 0)])
def test_only_what_the_kernel_ends_soon_comes_back_smaller(
    tmp_path: Path, served_seconds: float, reduced: int
) -> None:
    launcher = Launcher(tmp_path)
    clock = LaterClock()

    async def story(replica: Replica, _listener: Listener) -> None:
        replica.start()
        replica._judge(Verdict.READY, "")
        clock.later_seconds = served_seconds
        launcher.children[0].process.kill()
        await until(lambda: replica.state is State.BACKOFF)
        assert reduced == len(replica.status().reduced)
        assert (3 if reduced else 1) == replica.status().budget_left

    facts = Facts(trained_context=8192, layers=32)
    live(launcher, story, clock=clock, facts=facts, out_of_memory=lambda _: True)


def test_a_replica_given_up_shows_its_last_words(tmp_path: Path) -> None:
    log = tmp_path / "log"
    launcher = Launcher(tmp_path, command=("sh", "-c", f"seq 30 > {log}; exit 3"))

    async def story(replica: Replica, _listener: Listener) -> None:
        replica.start()
        await replica.down()
        status = replica.status()
        assert State.FATAL is status.state
        assert tuple(map(str, range(11, 31))) == status.last_words

    live(launcher, story)

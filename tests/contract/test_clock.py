"""S60 to S67: clocks that jump, machines that sleep, and resources that run out."""

import asyncio
import logging
import os
import resource
import shutil
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event

import psutil
import pytest

from relayd.clock import SystemClock
from relayd.daemon.watchdog import LoopWatchdog
from relayd.supervisor.causes import Cause
from relayd.supervisor.state import State
from tests.contract.stage import Stage, launched, pid_of, quick, until
from tests.contract.test_adoption import await_incarnation, complete, through
from tests.daemons import DEADLINE_SECONDS, Daemon, wait_until


@pytest.mark.fake
@pytest.mark.parametrize("step_seconds", [3600, -3600])
def test_s60_a_step_of_the_wall_clock_moves_no_timer(stage: Stage, step_seconds: int) -> None:
    replica = stage.replica("hold", settings=quick(first_delay_seconds=1, max_delay_seconds=9))

    async def story() -> None:
        replica.start()
        await replica.reached(State.LOADING)
        stage.clock.wall_ahead += step_seconds
        stage.go()
        await replica.reached(State.READY)
        stage.clock.wall_ahead += step_seconds
        os.kill(pid_of(replica), signal.SIGSEGV)
        await replica.reached(State.BACKOFF)
        stage.clock.wall_ahead += step_seconds
        began = time.monotonic()
        await replica.reached(State.READY)
        assert time.monotonic() - began > 0.4
        replica.stop(0.01)
        stage.clock.wall_ahead -= 3 * step_seconds
        await replica.down()

    stage.play(story, replica)
    assert 2 == replica.status().incarnation


@pytest.mark.fake
def test_s62_an_idle_daemon_takes_no_time_and_keeps_no_descriptors(
    start_faked: Callable[..., Daemon], faulty: Callable[..., str]
) -> None:
    daemon = start_faked(faulty("", m="", replicas=4))
    process = psutil.Process(daemon.process.pid)
    complete(through(daemon), model="m")
    Event().wait(0.2)
    descriptors, began = process.num_fds(), sum(process.cpu_times()[:2])
    Event().wait(3)
    used = sum(process.cpu_times()[:2]) - began
    for _ in range(200):
        complete(through(daemon), model="m")

    assert used < 0.15, f"{used:.2f} s of CPU in 3 s: nothing happens that is worth 5 %"
    Event().wait(0.2)
    assert process.num_fds() <= descriptors + 8  # connections to replicas are kept for the next request


@pytest.mark.fake
def test_s63_a_daemon_out_of_descriptors_is_back_when_there_are_some(
    start_faked: Callable[..., Daemon], faulty: Callable[..., str]
) -> None:
    daemon = start_faked(faulty(m=""))
    process = psutil.Process(daemon.process.pid)
    soft, hard = process.rlimit(psutil.RLIMIT_NOFILE)
    assert soft == min(hard, 65536)
    assert f"soft={soft} hard={hard}" in daemon.run("logs", "--grep", "descriptors").stdout

    host, port = daemon.url.removeprefix("http://").split(":")
    process.rlimit(psutil.RLIMIT_NOFILE, (process.num_fds() + 3, hard))
    clients = [socket.create_connection((host, int(port)), DEADLINE_SECONDS) for _ in range(20)]
    Event().wait(0.3)
    assert process.is_running()
    for client in clients:
        client.close()
    process.rlimit(psutil.RLIMIT_NOFILE, (soft, hard))
    assert complete(through(daemon), model="m")["choices"]


@pytest.mark.fake
def test_s64_a_replica_goes_before_the_daemon_and_leaves_no_core(stage: Stage) -> None:
    child = launched(stage.launcher(), stage.planned(), 1)
    try:
        own, of_child = (int(Path(f"/proc/{pid}/oom_score_adj").read_text()) for pid in ("self", child.pid))
        assert 500 == of_child
        assert own < of_child
        assert (0, 0) == resource.prlimit(child.pid, resource.RLIMIT_CORE)
    finally:
        child.signal(signal.SIGKILL)
        child.reap()


@pytest.mark.fake
@pytest.mark.parametrize(
    ("by_kernel", "cause", "cost"), [(True, Cause.HOST_OOM, 2), (False, Cause.KILLED, 1)]
)
def test_s65_a_kill_by_the_kernel_counts_double_and_another_does_not(
    stage: Stage, by_kernel: bool, cause: Cause, cost: int
) -> None:
    asked: list[int] = []

    def out_of_memory(pid: int) -> bool:
        asked.append(pid)
        return by_kernel

    replica = stage.replica(out_of_memory=out_of_memory)

    async def story() -> None:
        replica.start()
        await replica.reached(State.READY)
        left, pid = replica.status().budget_left, pid_of(replica)
        os.kill(pid, signal.SIGKILL)
        await replica.reached(State.BACKOFF)
        last = replica.status().last_exit
        assert last
        assert cause is last.cause
        assert left - cost == replica.status().budget_left
        assert [pid] == asked

    stage.play(story, replica)


@pytest.mark.fake
def test_s66_a_device_that_is_too_small_gets_fewer_slots_and_says_so(
    start_faked: Callable[..., Daemon], faulty: Callable[..., str], tiny_model: Path, home: Path
) -> None:
    text = faulty(slots=2, m="oom")
    shutil.copy(tiny_model, home / "m.gguf")
    daemon = start_faked(text)
    replica = await_incarnation(daemon, "m#0", 2)

    assert ["slots: 2 → 1"] == replica["reduced"]
    assert 1 == replica["slots"]
    assert "out of device memory" == replica["last_exit"]["cause"]
    assert "`context` or `slots`" in replica["last_exit"]["remedy"]
    assert 5 == replica["budget_left"], "a step down is no failure"


@pytest.mark.fake
@pytest.mark.parametrize("faults", ["", "hold"])
def test_s61_a_machine_that_slept_kills_nothing(stage: Stage, faults: str) -> None:
    settings = quick(load_stall_seconds=60, timeout_seconds=0.2, hung_seconds=60)
    replica = stage.replica(faults, settings=settings)

    async def story() -> None:
        replica.start()
        await replica.reached(State.LOADING if faults else State.READY)
        os.kill(pid_of(replica), signal.SIGSTOP)
        await until(lambda: stage.probes.waits_for("m#0"))
        stage.clock.monotonic_ahead += 3600
        ended = stage.probes.ended["m#0"]
        await until(lambda: stage.probes.ended["m#0"] > ended)
        os.kill(pid_of(replica), signal.SIGCONT)
        stage.go()
        await replica.reached(State.READY)
        ended = stage.probes.ended["m#0"]
        await until(lambda: stage.probes.ended["m#0"] > ended + 3)

    stage.play(story, replica)
    assert (1, 0) == (replica.status().incarnation, replica.status().restarts)


@pytest.mark.system
def test_s67_a_loop_that_stands_still_is_told_with_its_stack(caplog: pytest.LogCaptureFixture) -> None:
    def stand_still() -> None:
        wait_until(lambda: caplog.records)

    async def story() -> None:
        with LoopWatchdog(SystemClock(), stall_seconds=0.2):
            stand_still()

    with caplog.at_level(logging.ERROR):
        asyncio.run(story())
    (record,) = caplog.records
    assert "loop.stalled" in record.message
    assert "stand_still" in record.message

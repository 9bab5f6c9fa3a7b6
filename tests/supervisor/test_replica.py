"""A replica's life, on processes that are real and never answer."""

import asyncio
import signal
from pathlib import Path

import pytest

from relayd.clock import SystemClock
from relayd.errors import EngineError
from relayd.planner import Facts
from relayd.router import Pools
from relayd.supervisor import Dependencies, Replica, State
from relayd.supervisor.causes import Cause
from tests.supervisor.sleepers import FAST, PLANNED, Launcher, Listener, live, spawned, until

pytestmark = pytest.mark.fake


def test_start_is_idempotent(tmp_path: Path) -> None:
    launcher = Launcher(tmp_path)

    async def story(replica: Replica, listener: Listener) -> None:
        replica.start()
        replica.start()
        assert State.STARTING is replica.state
        assert ["waiting", "expected"] == listener.heard
        await spawned(launcher)

    live(launcher, story)
    assert 1 == len(launcher.children)


def test_an_engine_that_cannot_be_started_is_fatal_at_once(tmp_path: Path) -> None:
    launcher = Launcher(tmp_path, failures=[EngineError("no such file: /x", remedy="correct it")])

    async def story(replica: Replica, listener: Listener) -> None:
        replica.start()
        assert State.FATAL is await replica.reached(State.FATAL)
        last = replica.status().last_exit
        assert last
        assert (Cause.SPAWN_FAILED, "correct it") == (last.cause, last.remedy)
        assert "no such file" in listener.heard[-1]

    live(launcher, story)


def test_a_system_short_of_resources_is_tried_again(tmp_path: Path) -> None:
    launcher = Launcher(tmp_path, failures=[OSError(24, "Too many open files")])

    async def story(replica: Replica, _listener: Listener) -> None:
        replica.start()
        assert State.BACKOFF is await replica.reached(State.BACKOFF)
        await spawned(launcher)

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
        await spawned(launcher)
        replica.stop(1)
        await replica.down()
        status = replica.status()
        assert (State.STOPPED, 3, 0) == (status.state, status.budget_left, status.restarts)
        assert status.last_exit
        assert Cause.COMMANDED is status.last_exit.cause
        assert ["waiting", "expected", "gone: m#0 is stopped"] == listener.heard

    live(launcher, story)


def test_a_stop_in_backoff_cancels_the_retry(tmp_path: Path) -> None:
    launcher, failing = (Launcher(tmp_path, command=("false",)) for _ in range(2))

    async def story(replica: Replica, _listener: Listener) -> None:
        replica.start()
        await until(lambda: State.BACKOFF is replica.state)
        replica.stop(1)
        count = len(launcher.children)
        # Another one with the same delays has come back twice: the retry of this one was due before.
        other = Replica(PLANNED, Dependencies(failing, Listener(), SystemClock(), Pools().get), FAST)
        other.load()
        await until(lambda: other.status().restarts == 2)
        assert (State.STOPPED, count) == (replica.state, len(launcher.children))
        await other.down()

    live(launcher, story)


def test_a_start_while_stopping_waits_for_the_old_process(tmp_path: Path) -> None:
    launcher = Launcher(tmp_path)

    async def story(replica: Replica, _listener: Listener) -> None:
        replica.start()
        await spawned(launcher)
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


def test_a_slow_disk_at_the_end_of_a_process_holds_nobody_up(tmp_path: Path) -> None:
    """What reaping and the cause of an exit read from the disk is read aside."""
    launcher = Launcher(tmp_path)

    async def story(replica: Replica, _listener: Listener) -> None:
        replica.load()
        await spawned(launcher)
        child = launcher.children[0]
        child.disk.clear()
        child.process.kill()
        await replica.reached(State.EXITED)
        turns = 0
        while turns < 100:  # the loop goes on
            await asyncio.sleep(0)
            turns += 1
        assert (State.EXITED, None) == (replica.state, replica.status().pid)
        child.disk.set()
        await replica.reached(State.BACKOFF)

    live(launcher, story)


def test_a_stop_while_the_disk_is_slow_waits_for_it_and_starts_nothing(tmp_path: Path) -> None:
    launcher = Launcher(tmp_path)

    async def story(replica: Replica, _listener: Listener) -> None:
        replica.load()
        await spawned(launcher)
        child = launcher.children[0]
        child.disk.clear()
        child.process.kill()
        await replica.reached(State.EXITED)
        replica.stop(1)
        assert State.STOPPING is await replica.reached(State.STOPPING)
        child.disk.set()
        assert State.STOPPED is await replica.reached(State.STOPPED)

    live(launcher, story)
    assert 1 == len(launcher.children)


def test_a_slow_disk_at_the_start_of_a_process_holds_nobody_up(tmp_path: Path) -> None:
    """Lock, key, log and record of a start are files, and made aside."""
    launcher = Launcher(tmp_path)
    launcher.disk.clear()

    async def story(replica: Replica, _listener: Listener) -> None:
        replica.load()
        for _ in range(100):  # the loop goes on
            await asyncio.sleep(0)
        assert (State.STARTING, None, 0) == (replica.state, replica.status().pid, len(launcher.children))
        launcher.disk.set()
        await spawned(launcher)
        assert launcher.children[0].pid == replica.status().pid

    live(launcher, story)


@pytest.mark.parametrize("again", [False, True])
def test_a_stop_before_the_process_is_there_calls_the_start_off(tmp_path: Path, again: bool) -> None:
    launcher = Launcher(tmp_path)
    launcher.disk.clear()

    async def story(replica: Replica, _listener: Listener) -> None:
        replica.load()
        replica.stop(0)
        assert State.STOPPING is replica.state
        if again:
            replica.start()
        launcher.disk.set()
        await (spawned(launcher) if again else replica.reached(State.STOPPED))

    live(launcher, story)
    assert (1, int(again)) == (launcher.abandoned, len(launcher.children))


async def recorded(replica: Replica) -> None:
    while (work := replica.launch_work) is not None:
        await asyncio.wait((work,))


def test_a_hand_over_waits_for_the_record_of_a_start_and_calls_other_starts_off(
    tmp_path: Path,
) -> None:
    launcher = Launcher(tmp_path)

    async def story(replica: Replica, _listener: Listener) -> None:
        launcher.disk.clear()
        replica.load()
        assert replica.launch_work
        launcher.disk.set()
        await recorded(replica)
        assert (1, 1) == (len(launcher.children), launcher.recorded)

        launcher.disk.clear()
        other = Replica(PLANNED, Dependencies(launcher, Listener(), SystemClock(), Pools().get), FAST)
        other.load()
        other.release()
        launcher.disk.set()
        await until(lambda: launcher.abandoned == 1)

    live(launcher, story)
    assert 1 == len(launcher.children)


def test_an_examination_that_fails_is_an_exit_like_any_other(tmp_path: Path) -> None:
    launcher = Launcher(tmp_path)

    def faulty(_pid: int) -> bool:
        raise RuntimeError("a fault of ours")

    async def story(replica: Replica, _listener: Listener) -> None:
        replica.load()
        await spawned(launcher)
        launcher.children[0].process.kill()
        await replica.reached(State.BACKOFF)
        last = replica.status().last_exit
        assert last
        assert "a fault of ours" in last.message

    live(launcher, story, out_of_memory=faulty)


def test_it_shows_where_it_stands(tmp_path: Path) -> None:
    async def story(replica: Replica, _listener: Listener) -> None:
        assert "<Replica m#0: cold, to be cold, incarnation 0, 0 restarts>" == repr(replica)

    live(Launcher(tmp_path), story)

"""When a replica may take its memory, what is cold, and what was made smaller to fit."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from relayd.clock import SystemClock
from relayd.endpoint import Endpoint
from relayd.planner import Facts, step_down
from relayd.supervisor import Dependencies, Replica, State
from relayd.supervisor.adoption import Adopted
from tests.supervisor.sleepers import (
    FAST,
    PLANNED,
    SMALLER,
    Holding,
    Launcher,
    Listener,
    Remembered,
    live,
    reduction,
    spawned,
    until,
)

pytestmark = pytest.mark.fake


def test_nothing_starts_before_its_memory_is_granted(tmp_path: Path) -> None:
    launcher, ledger = Launcher(tmp_path), Holding()

    async def story(replica: Replica, listener: Listener) -> None:
        replica.load()
        assert (State.WAITING, ["waiting"]) == (replica.state, listener.heard)
        assert not launcher.children
        ledger.grant()
        assert State.STARTING is replica.state
        await spawned(launcher)
        assert [((PLANNED,), 1)] == [(sizes, len(launcher.children)) for sizes, _ in ledger.asked]

    live(launcher, story, grants=ledger)
    assert ["m#0"] == ledger.released


@pytest.mark.parametrize(
    ("give_up", "state", "announced"),
    [
        (lambda replica: replica.stop(1), State.STOPPED, "gone: m#0 is stopped"),
        (lambda replica: replica.unload("no room", 1), State.COLD, "unloaded: no room"),
    ],
)
def test_who_waits_for_memory_can_be_called_off(
    tmp_path: Path, give_up: Callable[[Replica], None], state: State, announced: str
) -> None:
    launcher, ledger = Launcher(tmp_path), Holding()

    async def story(replica: Replica, listener: Listener) -> None:
        replica.load()
        give_up(replica)
        assert (state, announced) == (replica.state, listener.heard[-1])
        assert 1 == ledger.withdrawn

    live(launcher, story, grants=ledger)
    assert not launcher.children


def test_memory_is_given_back_once_the_process_is_gone_and_asked_for_again_by_a_retry(
    tmp_path: Path,
) -> None:
    launcher, ledger = Launcher(tmp_path), Holding()

    async def story(replica: Replica, _listener: Listener) -> None:
        replica.load()
        ledger.grant()
        await spawned(launcher)
        launcher.children[0].process.kill()
        await until(lambda: len(ledger.asked) == 2)
        assert (State.WAITING, ["m#0"]) == (replica.state, ledger.released)

    live(launcher, story, grants=ledger)


def test_a_replica_that_is_unloaded_comes_back_by_a_load_and_one_that_was_stopped_does_not(
    tmp_path: Path,
) -> None:
    launcher = Launcher(tmp_path)

    async def story(replica: Replica, listener: Listener) -> None:
        replica.load()
        await spawned(launcher)
        replica.unload("another model needs the room", 1)
        assert State.COLD is await replica.reached(State.COLD)
        assert "another model needs the room" == replica.status().reason
        assert "unloaded: another model needs the room" == listener.heard[-1]
        replica.load()
        assert State.STARTING is replica.state
        await spawned(launcher, 2)
        replica.stop(1)
        await replica.down()
        replica.load()
        replica.unload("no room", 1)
        assert (State.STOPPED, "") == (replica.state, replica.status().reason)

    live(launcher, story)
    assert 2 == len(launcher.children)


def test_what_was_reduced_is_kept_and_the_next_daemon_starts_it_so(tmp_path: Path) -> None:
    log, disk = tmp_path / "log", Remembered()
    words = "cudaMalloc failed: out of memory"
    failing = Launcher(tmp_path, command=("sh", "-c", f"echo {words} > {log}; exit 1"))
    facts = Facts(trained_context=2048, layers=0)

    async def first(replica: Replica, _listener: Listener) -> None:
        replica.load()
        await replica.down()
        assert ("slots: 4 → 2",) == replica.status().reduced

    live(failing, first, facts=facts, reductions=disk)
    assert [PLANNED.spec, SMALLER.spec] == [planned.spec for planned, _ in failing.launched]
    kept = disk.kept["m#0"]
    assert (PLANNED.spec.digest, SMALLER.spec) == (kept.line, kept.spec)

    launcher = Launcher(tmp_path)

    async def second(replica: Replica, _listener: Listener) -> None:
        replica.recall(disk.kept["m#0"])
        replica.load()
        await spawned(launcher)
        assert (("slots: 4 → 2",), SMALLER.spec) == (replica.status().reduced, replica.spec)

    live(launcher, second, reductions=disk)
    assert [(SMALLER.spec, kept)] == [(planned.spec, known) for planned, known in launcher.launched]


def test_an_operators_restart_brings_the_full_size_back(tmp_path: Path) -> None:
    launcher, disk = Launcher(tmp_path), Remembered({"m#0": reduction()})

    async def story(replica: Replica, _listener: Listener) -> None:
        replica.recall(reduction(at=SystemClock().wall()))
        replica.load()
        await spawned(launcher)
        replica.restart()
        await until(lambda: len(launcher.children) == 2)
        assert () == replica.status().reduced
        await until(lambda: not disk.kept)

    live(launcher, story, reductions=disk)
    assert [SMALLER.spec, PLANNED.spec] == [planned.spec for planned, _ in launcher.launched]


def test_a_day_later_the_ledger_chooses_between_the_full_size_and_the_smaller_one(tmp_path: Path) -> None:
    launcher, ledger = Launcher(tmp_path), Holding()

    async def story(replica: Replica, _listener: Listener) -> None:
        replica.recall(reduction(at=SystemClock().wall() - 25 * 3600))
        replica.load()
        ((sizes, _),) = ledger.asked
        assert [PLANNED.spec, SMALLER.spec] == [one.spec for one in sizes]
        ledger.grant(1)
        assert ("slots: 4 → 2",) == replica.status().reduced

    live(launcher, story, grants=ledger)


def test_an_adopted_replica_keeps_the_size_it_has(tmp_path: Path) -> None:
    launcher = Launcher(tmp_path)
    running = launcher.launch(SMALLER, 7, reduction())
    launcher.adoptable = Adopted(running, SMALLER, reduction())

    async def story(replica: Replica, _listener: Listener) -> None:
        assert replica.adopt()
        status = replica.status()
        assert (State.LOADING, 7, ("slots: 4 → 2",)) == (status.state, status.incarnation, status.reduced)
        assert PLANNED == replica.wanted

    live(launcher, story)
    assert 1 == len(launcher.children)


def test_a_stop_for_memory_after_a_long_service_steps_down_and_costs_nothing(tmp_path: Path) -> None:
    """A prompt cache fills over hours: it is then that the kernel ends the replica."""
    launcher = Launcher(tmp_path)
    settings = replace(FAST, restart=msgspec.structs.replace(FAST.restart, stable_seconds=0))
    facts = Facts(trained_context=2048, layers=0)
    needs = Dependencies(
        launcher,
        Listener(),
        SystemClock(),
        ready,
        smaller=lambda planned, rung, *, host: step_down(planned, facts, rung, host=host),
        out_of_memory=lambda _pid: True,
    )

    async def story() -> None:
        replica = Replica(PLANNED, needs, settings)
        replica.load()
        await replica.reached(State.READY)
        launcher.children[0].process.kill()
        await spawned(launcher, 2)
        status = replica.status()
        assert ("RAM for earlier prompts: 8192 → 2048 MiB",) == status.reduced
        assert FAST.restart.budget == status.budget_left
        replica.stop(0)
        await replica.down()

    asyncio.run(asyncio.wait_for(story(), 60))


async def ready(
    endpoint: Endpoint, path: str, *, with_key: bool, timeout_seconds: float
) -> tuple[int, bytes]:
    """Answer as an engine does that is ready."""
    assert endpoint.replica == "m#0"
    assert timeout_seconds
    return 401 if path == "/props" and not with_key else 200, b'{"status":"ok"}'

"""Every replica of a daemon, and how one plan follows another."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from relayd.clock import SystemClock
from relayd.errors import ModelNotFoundError
from relayd.planner import Planned, ReplicaSpec, Residence, compare
from relayd.router import Pools
from relayd.supervisor import Dependencies, Fleet, State
from relayd.supervisor.adoption import Adopted
from relayd.supervisor.grants import GrantAtOnce
from relayd.supervisor.sizing import line_of
from relayd.supervisor.snapshot import Snapshot
from relayd.units import Bytes
from tests.daemons import DEADLINE_SECONDS
from tests.supervisor.sleepers import FAST, Holding, Launcher, Listener, Remembered, reduction, spawned

pytestmark = pytest.mark.fake


def planned(model: str, index: int = 0, slots: int = 4, cold: str = "") -> Planned:
    return Planned(ReplicaSpec(model, index, Path(f"/{model}.gguf"), slots=slots), cold=cold)


@dataclass
class Stage:
    """What a fleet touches."""

    launcher: Launcher
    listener: Listener = field(default_factory=Listener)
    ledger: Holding = field(default_factory=Holding)
    disk: Remembered = field(default_factory=Remembered)


def play(
    folder: Path, plan: list[Planned], story: Callable[[Fleet, Stage], Awaitable[None]], *, held: bool = False
) -> Stage:
    """Tell a story of a fleet, and end its replicas; with `held`, memory is granted by the story alone."""
    stage = Stage(Launcher(folder))
    touched = Dependencies(
        stage.launcher,
        stage.listener,
        SystemClock(),
        Pools().get,
        grants=stage.ledger if held else GrantAtOnce(),
        reductions=stage.disk,
    )

    async def tell() -> None:
        fleet = Fleet(plan, touched, FAST)
        async with asyncio.timeout(DEADLINE_SECONDS):
            await story(fleet, stage)
            await fleet.stop(fleet.select(None), 1)

    asyncio.run(tell())
    assert all(child.process.returncode is not None for child in stage.launcher.children)
    return stage


def states(fleet: Fleet) -> dict[str, State]:
    return {status.spec.name: status.state for status in fleet.statuses()}


def test_what_fits_beside_the_others_is_started_and_the_rest_is_cold(tmp_path: Path) -> None:
    async def story(fleet: Fleet, stage: Stage) -> None:
        fleet.load()
        assert {"a#0": State.STARTING, "b#0": State.COLD} == states(fleet)
        assert "unloaded: b#0 is not started: no room" in stage.listener.heard
        assert "<Fleet: 1 starting, 1 cold>" == repr(fleet)

    play(tmp_path, [planned("a"), planned("b", cold="b#0 is not started: no room")], story)


def test_what_is_cold_is_shown_as_it_starts_next_after_another_plan(tmp_path: Path) -> None:
    async def story(fleet: Fleet, _stage: Stage) -> None:
        fleet.load()
        await fleet.apply(compare(fleet.plan, [planned("a", slots=2, cold="on demand")]))
        assert [2] == [status.spec.slots for status in fleet.statuses()]

    play(tmp_path, [planned("a", cold="on demand")], story)


def test_some_can_be_left_alone_and_what_was_stopped_elsewhere_stays_stopped(tmp_path: Path) -> None:
    async def story(fleet: Fleet, _stage: Stage) -> None:
        stopped = replace(fleet.snapshots()["a#0"], state=State.STOPPED)
        fleet.resume({"a#0": stopped, "unknown#0": stopped})
        fleet.load(leave={"b#0"})
        assert {"a#0": State.STOPPED, "b#0": State.COLD, "c#0": State.STARTING} == states(fleet)

    play(tmp_path, [planned("a"), planned("b"), planned("c")], story)


@pytest.mark.parametrize(
    ("target", "expected"),
    [(None, ["a#0", "a#1", "o/b#0"]), ("a", ["a#0", "a#1"]), ("a#1", ["a#1"]), ("o/b", ["o/b#0"])],
)
def test_a_name_selects_a_model_or_a_replica(tmp_path: Path, target: str | None, expected: list[str]) -> None:
    async def story(fleet: Fleet, _stage: Stage) -> None:
        assert expected == [replica.name for replica in fleet.select(target)]

    play(tmp_path, [planned("a"), planned("a", 1), planned("o/b")], story)


@pytest.mark.parametrize("target", ["c", "a#7", "a#x", "a@elsewhere", "a#0@elsewhere"])
def test_a_name_of_nothing_is_an_error_that_lists_what_there_is(tmp_path: Path, target: str) -> None:
    async def story(fleet: Fleet, _stage: Stage) -> None:
        with pytest.raises(ModelNotFoundError, match=target) as refused:
            fleet.select(target)
        assert "a#0" in refused.value.remedy

    play(tmp_path, [planned("a")], story)


def test_a_new_plan_ends_starts_and_keeps_what_it_says(tmp_path: Path) -> None:
    old = [planned("same"), planned("gone"), planned("stopped"), planned("cold", cold="no room")]
    more = replace(planned("same"), needs={"cuda0": Bytes(7)})
    new = [more, planned("new"), planned("stopped", slots=2), planned("cold")]

    async def story(fleet: Fleet, stage: Stage) -> None:
        fleet.load()
        await spawned(stage.launcher, 3)
        await fleet.stop(fleet.select("stopped"), 1)
        first = next(status for status in fleet.statuses() if status.spec.model == "same")
        applying = asyncio.create_task(fleet.apply(compare(fleet.plan, new)))
        while "gone#0" in states(fleet):
            await asyncio.sleep(0.002)
        assert {
            "same#0": State.STARTING,
            "stopped#0": State.STOPPED,
            "cold#0": State.STARTING,
            "new#0": State.STARTING,
        } == states(fleet)
        now = next(status for status in fleet.statuses() if status.spec.model == "same")
        assert (first.pid, {"cuda0": 7}) == (now.pid, now.planned.needs)
        assert {"same", "new", "stopped", "cold"} == {planned.model for planned in fleet.plan}
        assert "forgotten" in stage.listener.heard
        applying.cancel()

    stage = play(tmp_path, old, story)
    assert ["same", "gone", "stopped"] == [one.model for one, _ in stage.launcher.launched][:3]
    assert {"new", "cold"} == {one.model for one, _ in stage.launcher.launched[3:]}


def test_a_daemon_that_does_not_come_up_ends_what_it_started_and_no_more(tmp_path: Path) -> None:
    async def story(fleet: Fleet, stage: Stage) -> None:
        stage.launcher.adoptable = Adopted(stage.launcher.launch(planned("a"), 1), planned("a"))
        assert ["a#0"] == [*fleet.adopt()]
        fleet.load()
        await spawned(stage.launcher, 3)
        await fleet.abandon()
        assert {"a#0": State.LOADING, "b#0": State.STOPPED, "c#0": State.STOPPED} == states(fleet)

    play(tmp_path, [planned("a"), planned("b"), planned("c")], story)


def test_a_changed_replica_that_fits_no_more_is_unloaded_not_stopped(tmp_path: Path) -> None:
    async def story(fleet: Fleet, _stage: Stage) -> None:
        fleet.load()
        changes = compare(fleet.plan, [planned("a", slots=2, cold="a#0 is not started: no room")])
        await fleet.apply(changes)
        (replica,) = fleet.select("a")
        assert State.COLD is await replica.reached(State.COLD)
        assert "a#0 is not started: no room" == replica.status().reason

    play(tmp_path, [planned("a")], story)


def test_what_is_given_up_takes_another_plan_and_stays_given_up_until_its_line_changes(
    tmp_path: Path,
) -> None:
    line = ReplicaSpec("a", 0, Path("/a.gguf"), slots=0)
    old, new = replace(planned("a"), line=line), replace(planned("a", slots=2), line=line)
    edited = replace(planned("a", slots=3), line=replace(line, slots=3))

    async def story(fleet: Fleet, stage: Stage) -> None:
        fleet.resume({"a#0": Snapshot(line_of(old), State.FATAL)})
        assert {"a"} == fleet.given_up
        for plan in (new, replace(new, cold="no room"), new):
            assert {} == await fleet.apply(compare(fleet.plan, [plan, planned("b", cold="no room")]))
            (replica,) = fleet.select("a")
            assert (State.FATAL, plan.spec) == (replica.state, replica.wanted.spec)
        applying = asyncio.create_task(fleet.apply(compare(fleet.plan, [edited])))
        await spawned(stage.launcher, 1)
        assert set() == fleet.given_up
        applying.cancel()

    play(tmp_path, [old, planned("b", cold="no room")], story)


def test_a_ledger_unloads_a_replica_by_its_name(tmp_path: Path) -> None:
    async def story(fleet: Fleet, stage: Stage) -> None:
        fleet.load()
        stage.ledger.grant()
        fleet.unload("a#0", "another model needs the room")
        fleet.unload("unknown#0", "nobody minds")
        await fleet.select("a")[0].down()
        assert {"a#0": State.COLD} == states(fleet)
        assert ["a#0"] == stage.ledger.released

    play(tmp_path, [planned("a")], story, held=True)


def test_what_an_earlier_daemon_has_learnt_is_recalled_before_anything_starts(tmp_path: Path) -> None:
    known = reduction(at=SystemClock().wall())

    async def story(fleet: Fleet, stage: Stage) -> None:
        stage.disk.kept["m#0"] = known
        assert {} == fleet.adopt()
        fleet.load()
        (status,) = fleet.statuses()
        assert known.steps == status.reduced

    play(tmp_path, [planned("m")], story)


def test_a_stop_waits_for_all_and_a_kill_for_none(tmp_path: Path) -> None:
    async def story(fleet: Fleet, _stage: Stage) -> None:
        fleet.load()
        fleet.kill()
        assert {State.STOPPING} == set(states(fleet).values())
        await fleet.stop(fleet.select(None), 1)
        assert {State.STOPPED} == set(states(fleet).values())

    play(tmp_path, [planned("a"), planned("b")], story)


def test_a_changed_line_loads_nothing_that_waits_for_a_request(tmp_path: Path) -> None:
    def on_demand(slots: int, cold: str = "") -> Planned:
        return replace(planned("a", slots=slots, cold=cold), residence=Residence(demand=True))

    async def story(fleet: Fleet, stage: Stage) -> None:
        fleet.load()
        for plan in (on_demand(2), on_demand(3, cold="no room"), on_demand(3)):
            await fleet.apply(compare(fleet.plan, [plan]))
            assert {"a#0": State.COLD} == states(fleet)
        assert [] == stage.launcher.launched

    play(tmp_path, [on_demand(4)], story)

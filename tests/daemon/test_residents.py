"""The scheduler is given the policies of replicas with their pins, and what it decides is carried out."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from relayd.daemon.arguments import ModelArguments, UnloadArguments
from relayd.daemon.report import ReplicasReport
from relayd.daemon.residence import Residents
from relayd.errors import ModelNotFoundError, NotLoadedError, StateError
from relayd.planner import Residence
from relayd.scheduler import Event, Evict, EvictionCause, Load, Lost, ResidenceSet, Unloaded, UnloadWanted
from relayd.store import Pins
from relayd.supervisor import State
from relayd.units import Bytes
from tests.daemon.assembled import MODEL, Assembled, desired, with_parts

pytestmark = pytest.mark.system

ONE = msgspec.structs.replace(MODEL, replicas=1)


def told(home: Path, story: Callable[[Residents, Assembled, list[Event]], Awaitable[None]]) -> list[Event]:
    """Return what the scheduler is told in a story of residents."""
    events: list[Event] = []

    async def scene(daemon: Assembled) -> None:
        residents = Residents(events.append, daemon.parts.fleet, Pins(home))
        residents.recall()
        await story(residents, daemon, events)

    with_parts(desired(home, ONE), scene)
    return events


def pins(events: list[Event]) -> list[bool]:
    return [event.policy.pin for event in events if isinstance(event, ResidenceSet)]


def test_a_pin_reaches_the_scheduler_and_the_next_daemon(tmp_path: Path) -> None:
    async def pin(residents: Residents, daemon: Assembled, _: list[Event]) -> None:
        residents.enter(daemon.parts.fleet.plan)
        await residents.pin("m", pinned=True)

    async def recall(residents: Residents, daemon: Assembled, _: list[Event]) -> None:
        residents.enter(daemon.parts.fleet.plan)
        await residents.pin("m", pinned=False)

    assert [False, True] == pins(told(tmp_path, pin))
    assert [True, False] == pins(told(tmp_path, recall))
    assert {} == Pins(tmp_path).read()  # as the configuration has it


def test_a_pin_that_cannot_be_kept_changes_nothing(tmp_path: Path) -> None:
    async def pin(_: Residents, daemon: Assembled, events: list[Event]) -> None:
        lost = Residents(events.append, daemon.parts.fleet, Pins(tmp_path / "none"))
        with pytest.raises(StateError):
            await lost.pin("m", pinned=True)
        assert not lost.is_pinned(daemon.parts.fleet.plan[0])

    assert [] == told(tmp_path, pin)


def test_what_is_held_for_a_new_daemon_is_carried_out_when_this_one_stays(tmp_path: Path) -> None:
    async def hold(residents: Residents, daemon: Assembled, _: list[Event]) -> None:
        (replica,) = daemon.parts.fleet.select("m")
        residents.hold()
        residents.load(Load("m#0"))
        assert "cold" == replica.state.value
        residents.go_on()
        assert "waiting" == replica.state.value
        residents.hold()
        residents.evict(Evict("m#0", EvictionCause.IDLE))
        assert "waiting" == replica.state.value
        residents.go_on()
        assert (State.COLD, "no request came for it") == (replica.state, replica.status().reason)

    told(tmp_path, hold)


def test_what_was_decided_about_a_process_that_has_ended_since_is_dropped(tmp_path: Path) -> None:
    async def hold(residents: Residents, daemon: Assembled, _: list[Event]) -> None:
        (replica,) = daemon.parts.fleet.select("m")
        residents.hold()
        residents.evict(Evict("m#0", EvictionCause.IDLE))
        replica.load()
        replica._known.history.incarnation += 1  # as a start does
        residents.go_on()
        assert State.WAITING is replica.state

    told(tmp_path, hold)


def test_every_cause_of_an_eviction_has_its_reason(tmp_path: Path) -> None:
    async def evict(residents: Residents, daemon: Assembled, _: list[Event]) -> None:
        (replica,) = daemon.parts.fleet.select("m")
        for cause in EvictionCause:
            residents.evict(Evict("m#0", cause))
            assert replica.status().reason

    told(tmp_path, evict)


def test_what_is_too_large_keeps_the_reason_of_its_plan(tmp_path: Path) -> None:
    async def refuse(_: Residents, daemon: Assembled, events: list[Event]) -> None:
        fleet = daemon.parts.fleet
        (replica,) = fleet.select("m")
        replica.replan(replace(replica.wanted, cold="m#0 cannot be loaded: too large"))
        Residents(events.append, fleet, Pins(tmp_path)).evict(Evict("m#0", EvictionCause.TOO_LARGE))
        assert "m#0 cannot be loaded: too large" == replica.status().reason

    told(tmp_path, refuse)


def test_commands_of_what_is_not_there_are_refused(tmp_path: Path) -> None:
    async def story(daemon: Assembled) -> None:
        operations = daemon.operations
        for ask in (operations.load, operations.pin, operations.unpin):
            with pytest.raises(ModelNotFoundError):
                await ask(ModelArguments("nothing"))
        with pytest.raises(ModelNotFoundError):
            await operations.unload(UnloadArguments("nothing"))
        assert {"m#0": "cold"} == (await operations.unload(UnloadArguments("nick"))).replicas
        daemon.parts.fleet.unload("m#0", "its memory was needed")
        with pytest.raises(NotLoadedError, match="m cannot be loaded: its memory was needed"):
            await operations.load(ModelArguments("m"))  # the scheduler knows of no such replica

    with_parts(desired(tmp_path, ONE), story)


def test_an_unload_of_a_pinned_model_mentions_the_pin(tmp_path: Path) -> None:
    async def story(daemon: Assembled) -> tuple[ReplicasReport, ReplicasReport]:
        plain = await daemon.operations.unload(UnloadArguments("m"))
        await daemon.operations.pin(ModelArguments("m"))
        return plain, await daemon.operations.unload(UnloadArguments("m"))

    plain, pinned = with_parts(desired(tmp_path, ONE), story)

    assert "" == plain.note
    assert "m is still pinned" in pinned.note
    assert "relayd unpin m" in pinned.note


def test_a_residence_of_the_line_is_the_policy(tmp_path: Path) -> None:
    async def enter(residents: Residents, daemon: Assembled, _: list[Event]) -> None:
        (planned,) = daemon.parts.fleet.plan
        line = Residence(demand=True, home=True, idle_seconds=60.0, growth=True)
        residents.enter([replace(planned, residence=line)])

    (event,) = told(tmp_path, enter)
    assert isinstance(event, ResidenceSet)
    policy = event.policy
    assert (True, True, 60.0, True) == (policy.demand, policy.home, policy.idle_seconds, policy.growth)
    assert policy.reload_seconds > 0


@pytest.mark.parametrize(
    ("demand", "pinned", "released"), [(True, False, True), (True, True, False), (False, False, False)]
)
def test_a_client_unloads_only_what_is_on_demand_and_not_pinned(
    tmp_path: Path, demand: bool, pinned: bool, released: bool
) -> None:
    events: list[Event] = []

    async def scene(daemon: Assembled) -> None:
        residents = Residents(events.append, daemon.parts.fleet, Pins(tmp_path))
        residents.recall()
        await residents.pin("m", pinned=pinned)
        assert released == residents.release("m")
        assert not residents.release("other")

    wanted = desired(tmp_path, ONE)
    plan = tuple(replace(one, residence=Residence(demand=demand)) for one in wanted.plan)
    with_parts(replace(wanted, plan=plan), scene)

    assert [UnloadWanted("m#0", force=False)] * released == [
        event for event in events if isinstance(event, UnloadWanted)
    ]


def test_a_load_waits_until_the_memory_of_the_process_before_is_free(tmp_path: Path) -> None:
    async def story(daemon: Assembled) -> ReplicasReport:
        parts = daemon.parts
        (planned,) = parts.fleet.plan
        parts.residence.enter(parts.fleet.plan)
        parts.fleet.load()
        parts.grants.hold(replace(planned, needs={"cuda0": Bytes(1)}), None)
        parts.actor.post(Lost("m#0"))
        parts.actor.post(Unloaded("m#0", "m", "cold"))
        parts.grants.release("m#0")
        return await daemon.operations.load(ModelArguments("m"))

    demand = msgspec.structs.replace(ONE, load="demand")
    state = desired(tmp_path, demand)
    plan = tuple(replace(one, residence=Residence(demand=True)) for one in state.plan)
    report = with_parts(replace(state, plan=plan), story)

    assert {"m#0": "cold"} == report.replicas  # its engine cannot be started
    assert ["m#0"] == list(report.not_started)

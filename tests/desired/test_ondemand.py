"""Are models that are loaded on demand planned alone, without the engine, and the same the next time?"""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from relayd.config import Config, Model
from relayd.config.schema import ReplicaRange
from relayd.desired.cold import ColdCause
from relayd.desired.make import Made
from relayd.desired.plans import ModelPlanner, ModelPlans
from relayd.engine.memory import MemoryProbe, Row
from relayd.gguf import ModelMetadata
from relayd.memory.setup import Setup
from relayd.planner.plan import Basis, Planned
from relayd.units import GIB
from tests.desired.desk import ENGINE, later, planner, plans, sparse

pytestmark = pytest.mark.system

GIB_20 = 20 * 1024
"""MiB: room for the large model alone, or for two of the small ones."""


@pytest.fixture
def large(tmp_path: Path) -> Model:
    return Model(name="large", file=sparse(tmp_path, "qwen3-30b-a3b"), slots=1)


@pytest.fixture
def small(tmp_path: Path) -> Model:
    return Model(name="small", file=sparse(tmp_path, "qwen3-8b"), slots=1)


class Unasked(MemoryProbe):
    """An engine that must not be asked."""

    def __init__(self) -> None:
        super().__init__(ENGINE, Path("/cache"), {})

    def ask(self, file: Path, model: ModelMetadata, setup: Setup) -> tuple[Row, ...]:
        raise AssertionError(f"the engine was asked about {file}")


def few() -> ModelPlanner:
    return planner("ram=64", host_mib=GIB_20)


def unasked(found: ModelPlanner) -> ModelPlanner:
    return replace(found, probe=Unasked())


def demand(model: Model, **more: Any) -> Model:
    return msgspec.structs.replace(model, load="demand", **more)


def named(found: ModelPlans) -> dict[str, Planned]:
    return {one.name: one for one in found.plan}


def test_a_model_on_demand_is_planned_by_closed_form_and_not_started(small: Model) -> None:
    (one,) = plans(unasked(few()), demand(small)).plan

    assert one.residence.demand
    assert "small#0 is loaded on demand" == one.cold
    assert Basis.PREDICTED is one.basis
    assert small.name == one.model
    assert 0 < one.needs["host"] <= 20 * GIB
    assert not one.spec.fit


def test_two_hundred_files_on_demand_cost_no_run_of_the_engine(small: Model) -> None:
    lines = [demand(msgspec.structs.replace(small, name=f"m{number}")) for number in range(200)]
    found = plans(unasked(few()), *lines)

    assert 200 == len(found.plan) == len(found.cold) == len(found.remembered)


def test_models_on_demand_leave_those_that_start_as_they_are(small: Model, large: Model) -> None:
    beside = plans(few(), demand(large), small)
    alone = plans(few(), small)

    assert alone.plan[0].spec == beside.plan[1].spec
    assert ["small#0"] == [one.name for one in beside.fleet.assignments]


def test_a_restart_plans_the_same_without_reading_a_file(small: Model) -> None:
    room = few()
    line = demand(small)
    first = plans(room, line)
    with Path(small.file).open("r+b") as stream:
        known = os.fstat(stream.fileno())
        stream.write(bytes(1024))
    os.utime(small.file, ns=(known.st_atime_ns, known.st_mtime_ns))  # what a plan knows it by
    again = plans(later(unasked(room), first.remembered), line)

    assert first.plan == again.plan
    assert first.remembered == again.remembered


def test_what_has_no_place_is_loaded_on_demand_and_says_why(small: Model, large: Model) -> None:
    found = plans(few(), large, small)
    one = named(found)["small#0"]

    assert (True, ColdCause.NO_ROOM) == (one.residence.demand, found.cold[0].cause)
    assert "small#0 is not started: its file with 1 x 8192 tokens, f16 cache needs " in one.cold
    assert one.cold.endswith("It is loaded on demand")


def test_what_does_not_even_fit_alone_is_refused_with_need_and_have(small: Model, large: Model) -> None:
    found = plans(planner("ram=64", host_mib=8 * 1024), demand(large), small)
    one = named(found)["large#0"]

    assert "needs 1" in one.refused
    assert "8.0 GiB can be used" in one.refused
    assert (ColdCause.TOO_LARGE, one.cold) == (
        found.cold[0].cause,
        f"large#0 cannot be loaded: {one.refused}",
    )
    assert one.needs["host"] == found.cold[0].need > found.cold[0].have
    again = plans(
        later(unasked(planner("ram=64", host_mib=8 * 1024)), found.remembered), demand(large), small
    )
    assert one == named(again)["large#0"]


def test_more_memory_is_planned_for_anew(small: Model) -> None:
    first = plans(planner("ram=64", host_mib=6 * 1024), demand(small), demand(small, name="other"))
    more = plans(later(few(), first.remembered), demand(small), demand(small, name="other"))

    assert more.plan[0].spec.context > first.plan[0].spec.context


@pytest.mark.parametrize(("before", "after"), [("start", "demand"), ("demand", "start")])
def test_what_runs_keeps_its_process_when_its_line_changes_between_start_and_demand(
    small: Model, before: str, after: str
) -> None:
    room = few()
    other = msgspec.structs.replace(small, name="other")
    first = plans(room, msgspec.structs.replace(small, load=before), other)
    later_on = later(room, first.remembered, {"small", "other"})
    second = plans(later_on, msgspec.structs.replace(small, load=after), other)

    assert named(first)["small#0"].spec == named(second)["small#0"].spec
    assert named(first)["other#0"].spec == named(second)["other#0"].spec


def test_what_runs_on_demand_keeps_its_process_when_lines_and_limits_change(
    small: Model, large: Model
) -> None:
    first = plans(few(), demand(small), demand(large))
    room = later(planner("ram=64", host_mib=30 * 1024), first.remembered, {"small"})
    second = plans(room, demand(small), large, msgspec.structs.replace(small, name="other", threads=2))

    assert named(first)["small#0"].spec == named(second)["small#0"].spec


def test_what_found_no_place_and_was_loaded_since_stays_as_it_runs(small: Model, large: Model) -> None:
    room = few()
    first = plans(room, large, small)
    second = plans(later(room, first.remembered, {"small"}), large, small)

    assert [one.spec for one in first.plan] == [one.spec for one in second.plan]
    assert named(second)["small#0"].residence.demand


@pytest.mark.parametrize("more", [{"pin": True}, {"home": True}, {"idle_minutes": 5.0}])
def test_only_the_residence_follows_a_line_that_changes_when_its_model_is_in_memory(
    small: Model, more: dict[str, Any]
) -> None:
    room = few()
    first = plans(room, small)
    (one,) = plans(later(room, first.remembered, {"small"}), msgspec.structs.replace(small, **more)).plan

    assert first.plan[0].spec == one.spec
    assert first.plan[0].residence != one.residence
    assert more == {
        name: value
        for name, value in (
            ("pin", one.residence.pin),
            ("home", one.residence.home),
            ("idle_minutes", (one.residence.idle_seconds or 0) / 60),
        )
        if value
    }


def test_replicas_beyond_the_least_number_are_planned_like_the_first_and_not_started(small: Model) -> None:
    line = msgspec.structs.replace(small, context=4096, replicas=ReplicaRange(min=1, max=3))
    found = plans(few(), line)
    first, *others = found.plan

    assert ["", "small#1", "small#2"] == [one.cold.partition(" ")[0] for one in found.plan]
    assert [ColdCause.GROWTH, ColdCause.GROWTH] == [one.cause for one in found.cold]
    assert {(True, True)} == {(one.residence.growth, one.residence.demand) for one in others}
    assert {first.spec} == {replace(one.spec, index=0) for one in found.plan}
    assert first.needs == others[0].needs
    assert 1 == len(found.remembered[0].replicas)


def test_replicas_beyond_the_least_number_change_nothing_for_the_first(small: Model) -> None:
    one, several = (
        plans(few(), msgspec.structs.replace(small, replicas=count)).plan[0]
        for count in (1, ReplicaRange(min=1, max=5))
    )

    assert one.spec == several.spec


def test_a_model_on_demand_that_its_engine_fits_is_counted_too(small: Model) -> None:
    (one,) = plans(unasked(few()), demand(small, fit="engine", context=4096)).plan

    assert one.spec.fit
    assert one.residence.demand
    assert 0 < one.needs["host"] < 20 * GIB


def test_models_on_demand_share_no_cores_with_each_other(small: Model) -> None:
    lines = [demand(small, name=f"m{number}") for number in range(5)]
    started = msgspec.structs.replace(small, context=4096, replicas=2)
    found = plans(planner("ram=64,cores=8"), started, *lines)

    assert {4} == {one.spec.threads for one in found.plan}
    assert {0} == {one.spec.threads for one in plans(planner("ram=64,cores=8"), *lines).plan}


def test_planning_all_models_anew_reads_no_file_of_a_model_on_demand(small: Model, large: Model) -> None:
    room = planner("ram=64", host_mib=GIB_20)
    lines = (demand(small), msgspec.structs.replace(large, context=4096))
    first = plans(room, *lines)
    config = Config(model=lines)
    made = Made(config, first, later(unasked(room), first.remembered), ())
    with Path(small.file).open("r+b") as stream:
        known = os.fstat(stream.fileno())
        stream.write(bytes(1024))
    os.utime(small.file, ns=(known.st_atime_ns, known.st_mtime_ns))

    assert named(first)["small#0"] == {one.name: one for one in made.anew(asked=False).plan}["small#0"]


def test_what_a_plan_has_read_of_files_is_passed_on_and_what_is_remembered_is_not_read(
    large: Model, small: Model
) -> None:
    demand = msgspec.structs.replace(small, load="demand")
    made = plans(few(), large, demand)
    again = plans(later(few(), made.remembered), large, demand)

    assert {large.file: "qwen3moe", small.file: "qwen3"} == {
        file: facts.architecture for file, (_, facts) in made.files.items()
    }
    assert 2 * 36 * 8 * 128 * 2 == made.files[small.file][1].token_bytes  # K and V, layers, heads, width, f16
    assert {large.file} == {*again.files}

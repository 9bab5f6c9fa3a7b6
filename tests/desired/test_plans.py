"""Do configured models become processes that fit together, and the same ones the next time?"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from relayd.config import LoraFile, Model
from relayd.config.schema import Allocation
from relayd.daemon.footprint import planned_memory
from relayd.engine import Engine
from relayd.hardware.machine import Cpu
from relayd.planner.plan import Basis
from relayd.units import GIB, MIB, show_bytes
from tests.desired.desk import ENGINE, FEATURES, later, planner, plans, sparse

pytestmark = pytest.mark.system

GPU = "gpu=4090:24,ram=64"

FEATURES = msgspec.structs.replace(FEATURES, flags=FEATURES.flags | {"--embeddings", "--reranking"})


@pytest.fixture
def large(tmp_path: Path) -> Model:
    return Model(name="large", file=sparse(tmp_path, "qwen3-30b-a3b"), slots=1)


@pytest.fixture
def small(tmp_path: Path) -> Model:
    return Model(name="small", file=sparse(tmp_path, "qwen3-8b"), slots=1)


def test_a_line_becomes_a_process_of_which_the_engine_decides_nothing(small: Model) -> None:
    (one,) = plans(planner(GPU), small).plan

    assert not one.spec.fit
    assert ("CUDA0",) == one.spec.placement.devices
    assert {"cuda0", "host"} == one.needs.keys()
    assert Basis.PREDICTED is one.basis


def test_what_the_line_fixes_is_kept_beside_what_was_planned(small: Model) -> None:
    fixed = msgspec.structs.replace(small, context=8192, placement=Allocation(gpu_layers=10))
    (one,) = plans(planner(GPU), fixed).plan

    assert one.line
    assert (8192, 10) == (one.spec.context, one.spec.placement.gpu_layers)
    assert Allocation(gpu_layers=10) == one.line.placement


def test_models_are_planned_so_that_all_fit(small: Model, large: Model) -> None:
    found = plans(planner("ram=48"), large, small)

    assert () == found.cold
    assert sum(one.needs["host"] for one in found.plan) <= 48 * GIB * 0.8


def test_what_does_not_fit_beside_the_others_is_cold_and_says_why(small: Model, large: Model) -> None:
    found = plans(planner("ram=64", host_mib=20 * 1024), large, small)
    (cold,) = found.cold

    assert "small#0" == cold.name
    assert cold.need > cold.have
    assert ["large#0"] == [name for name, _ in cold.takers]
    assert "for large#0" in str(cold)
    assert [False, True] == [bool(one.cold) for one in found.plan]


def test_a_model_without_a_place_is_planned_alone_on_half_of_the_machine(small: Model, large: Model) -> None:
    beside = plans(planner("ram=64", host_mib=20 * 1024), large, small).plan[1]
    half = plans(planner("ram=64", host_mib=10 * 1024), small).plan[0]

    assert beside.residence.demand
    assert half.spec.placement == beside.spec.placement
    assert half.spec.context == beside.spec.context


def test_a_restart_plans_the_same(small: Model, large: Model) -> None:
    room = planner("ram=48")
    first = plans(room, large, small)

    assert first.plan == plans(later(room, first.remembered), large, small).plan


def test_what_runs_keeps_its_place_when_a_line_is_added_and_what_does_not_is_planned_anew(
    small: Model, large: Model
) -> None:
    room = planner("ram=48")
    alone = plans(room, small)
    running = plans(later(room, alone.remembered, {"small"}), large, small)
    stopped = plans(later(room, alone.remembered), large, small)

    assert alone.plan[0] == running.plan[1]
    assert alone.plan[0] != stopped.plan[1]
    assert () == stopped.cold


def test_what_is_given_up_takes_what_the_others_leave(small: Model, large: Model) -> None:
    room = planner("ram=64", host_mib=20 * 1024)
    first = plans(room, large)
    counted = plans(later(room, first.remembered), large, small)
    left = plans(replace(later(room, first.remembered), last={"large"}), large, small)
    edited = msgspec.structs.replace(large, context=4096)
    tried = plans(replace(later(room, first.remembered), last={"large"}), edited, small)

    assert [["small#0"], ["large#0"], ["small#0"]] == [
        [one.name for one in found.cold] for found in (counted, left, tried)
    ]


def test_another_line_is_planned_anew_although_its_model_runs(small: Model) -> None:
    room = planner("ram=48")
    first = plans(room, small)
    edited = msgspec.structs.replace(small, context=2048)

    (one,) = plans(later(room, first.remembered, {"small"}), edited).plan
    assert 2048 == one.spec.context


def test_an_alias_changes_no_plan(small: Model) -> None:
    room = planner("ram=48")
    first = plans(room, small)
    named = msgspec.structs.replace(small, aliases=("another",))

    assert first.plan == plans(later(room, first.remembered, {"small"}), named).plan


def test_one_replica_more_leaves_the_first_as_it_is(small: Model) -> None:
    room = planner("gpu=2x4090:24,ram=64")
    first = plans(room, small)
    found = plans(later(room, first.remembered, {"small"}), msgspec.structs.replace(small, replicas=2)).plan

    assert first.plan[0] == found[0]
    assert not found[1].cold
    assert found[0].spec.context == found[1].spec.context


def test_another_file_is_planned_anew(small: Model, tmp_path: Path) -> None:
    room = planner("ram=48")
    first = plans(room, small).remembered
    Path(small.file).unlink()
    sparse(tmp_path, "qwen3-8b")

    assert first[0].key != plans(room, small).remembered[0].key


def test_another_engine_is_planned_for_anew(small: Model) -> None:
    newer = Engine(ENGINE.path, ENGINE.source, msgspec.structs.replace(FEATURES, version="b20000"))

    assert plans(planner(GPU), small).remembered[0].key != plans(planner(GPU, newer), small).remembered[0].key


def test_a_plan_that_no_longer_fits_is_made_anew(small: Model) -> None:
    first = plans(planner("ram=48"), small).remembered
    tight = planner("ram=48", host_mib=7 * 1024)

    (one,) = plans(later(tight, first), small).plan
    assert one.needs["host"] <= 7 * GIB


def test_arguments_fix_what_they_say_and_stay_the_only_ones_to_say_it(small: Model) -> None:
    args = ("-ngl", "12", "-ctk", "q8_0", "--mlock")
    (one,) = plans(planner(GPU), msgspec.structs.replace(small, args=args)).plan

    assert args == one.spec.extra_args
    assert (None, None, "f16") == (
        one.spec.placement.gpu_layers, one.spec.placement.cache_type_k, one.spec.placement.cache_type_v,
    )  # fmt: skip
    (typed,) = plans(
        planner(GPU),
        msgspec.structs.replace(small, placement=Allocation(gpu_layers=12, cache_type_k="q8_0")),
    ).plan
    assert typed.needs == one.needs


def test_a_draft_model_and_its_cache_are_part_of_the_needs(small: Model, tmp_path: Path) -> None:
    drafted = msgspec.structs.replace(small, context=4096, args=("-md", sparse(tmp_path, "qwen3.5-4b")))
    plain = msgspec.structs.replace(small, context=4096)
    longer = msgspec.structs.replace(drafted, context=16384)

    alone, with_draft = (plans(planner(GPU), one).plan[0].needs["cuda0"] for one in (plain, drafted))
    weights = (tmp_path / "qwen3.5-4b.gguf").stat().st_size
    assert with_draft - alone > weights * 0.8
    base = plans(planner(GPU), msgspec.structs.replace(plain, context=16384)).plan[0].needs["cuda0"]
    assert plans(planner(GPU), longer).plan[0].needs["cuda0"] - base > with_draft - alone


def test_an_adapter_is_part_of_the_needs(small: Model, tiny_model: Path) -> None:
    plain = msgspec.structs.replace(small, context=4096)
    adapted = msgspec.structs.replace(plain, lora=(LoraFile(str(tiny_model)),))

    more, less = (plans(planner(GPU), one).plan[0].needs["cuda0"] for one in (adapted, plain))
    assert 0 < more - less <= MIB


def test_replicas_without_a_gpu_share_the_cores(small: Model) -> None:
    found = plans(planner("ram=64,cores=8"), msgspec.structs.replace(small, replicas=2, context=2048))

    assert [4, 4] == [one.spec.threads for one in found.plan]


def test_threads_of_what_runs_stay_when_a_line_is_added(small: Model, large: Model) -> None:
    room = planner("ram=64,cores=8")
    first = plans(room, small)
    found = plans(later(room, first.remembered, {"small"}), small, large)

    assert first.plan[0].spec.threads == found.plan[0].spec.threads
    assert 4 == found.plan[1].spec.threads


def test_a_device_that_is_not_there_leaves_a_line_to_the_engine(small: Model) -> None:
    found = plans(planner(GPU), msgspec.structs.replace(small, placement=Allocation(devices=("CUDA7",))))

    assert found.plan[0].spec.fit
    assert "CUDA7" in found.notes[0]


def test_remembered_places_on_a_device_that_has_gone_are_found_anew(small: Model) -> None:
    first = plans(planner("gpu=2x4090:24,ram=64"), small).remembered
    moved = tuple(
        msgspec.structs.replace(
            one,
            replicas=tuple(
                msgspec.structs.replace(
                    replica,
                    placement=msgspec.structs.replace(replica.placement, devices=("CUDA9",)),
                )
                for replica in one.replicas
            ),
        )
        for one in first
    )
    room = planner("gpu=2x4090:24,ram=64")

    (one,) = plans(later(room, moved, {"small"}), small).plan
    assert ("CUDA0",) == one.spec.placement.devices


def test_nothing_configured_is_an_empty_plan() -> None:
    found = plans(replace(planner(GPU), running={"gone"}))

    assert ((), ()) == (found.plan, found.cold)


@pytest.mark.parametrize(
    ("more", "note"),
    [
        ({"args": ("-ngl", "2")}, "small: gpu_layers = 2, and there is no device"),
        ({"args": ("--cpu-moe",)}, "small: experts_on_cpu = all, and there is no device"),
        ({"placement": Allocation(gpu_layers=2)}, "small: gpu_layers = 2, and there is no device"),
        ({"placement": Allocation(experts_on_cpu=3)}, "small: experts_on_cpu = 3, and there is no device"),
    ],
)
def test_layers_for_a_device_that_is_not_there_run_on_the_cpu_and_the_value_is_named(
    small: Model, large: Model, more: dict[str, Any], note: str
) -> None:
    found = plans(planner("ram=64"), msgspec.structs.replace(small, **more), large)

    assert note in found.notes
    assert () == found.cold
    assert [(), ()] == [one.spec.placement.devices for one in found.plan]


def test_what_runs_and_takes_more_than_is_allowed_since_is_said_with_its_true_size(small: Model) -> None:
    first = plans(planner("ram=48"), small)
    tight = later(planner("ram=48", host_mib=2048), first.remembered, {"small"})
    found = plans(tight, small)
    (before,), (left,) = found.fleet.before.rooms, found.fleet.left.rooms

    assert first.plan == found.plan
    assert first.plan[0].needs["host"] == before.free - left.free
    assert first.plan[0].needs["host"] - (2 << 30) == left.over
    assert show_bytes(left.over) in found.notes[0]
    assert "[memory] host_mib allows 2.0 GiB" in found.notes[0]
    assert f"{show_bytes(first.plan[0].needs['host'])} for small#0" in found.notes[0]


@pytest.mark.parametrize(
    "more",
    [{"needs": {"cuda7": 5, "host": 1}}, {"placement": Allocation(gpu_layers=9, devices=("CUDA7",))},
     {"placement": Allocation(cache_type_k="q99")}],
)  # fmt: skip
@pytest.mark.parametrize("running", [(), ("small",)])
def test_a_remembered_plan_that_makes_no_sense_is_made_anew_with_a_warning(
    small: Model, more: dict[str, Any], running: tuple[str, ...]
) -> None:
    room = planner(GPU)
    first = plans(room, small)
    (entry,) = first.remembered
    wrong = msgspec.structs.replace(
        entry, replicas=tuple(msgspec.structs.replace(one, **more) for one in entry.replicas)
    )
    found = plans(later(room, [wrong], running), small)

    assert first.plan == found.plan
    assert (
        "the remembered plan of small cannot be followed on this machine: it is planned anew" in found.notes
    )


@pytest.mark.parametrize("gib", [1, 20])
def test_what_is_planned_for_a_cold_replica_is_what_it_is_said_to_need(
    small: Model, large: Model, gib: int
) -> None:
    found = plans(planner("ram=64", host_mib=gib * 1024), large, small)
    cold = {one.name: one for one in found.cold}
    planned = next(one for one in found.plan if one.name == "small#0")
    least = (planned, *planned.others)[-1]
    shown = planned_memory(least)

    assert cold["small#0"].need == least.needs["host"] == shown.by_device["cpu"]
    assert cold["small#0"].need > Path(small.file).stat().st_size
    assert "host" == cold["small#0"].device


def test_a_replica_that_is_not_started_is_said_once(small: Model, large: Model) -> None:
    found = plans(planner("ram=64", host_mib=20 * 1024), large, small)

    assert ["small#0"] == [one.name for one in found.cold]
    assert not [note for note in found.notes if "small#0" in note]


def test_a_simulated_machine_is_not_said_to_lack_an_engine(small: Model) -> None:
    found = plans(replace(planner(GPU), simulated=True), small)

    assert ("memory is predicted: no engine can be asked on a simulated machine",) == found.notes


def test_threads_follow_a_quota_and_an_affinity_also_for_one_replica(small: Model) -> None:
    room = planner("ram=64")
    whole, quota, affinity = (
        replace(room, machine=replace(room.machine, cpu=cpu))
        for cpu in (
            Cpu("", 8, 16, 8),
            Cpu("", 8, 16, 8, quota_cores=2.5),
            Cpu("", 8, 16, 3),
        )
    )

    assert [0, 2, 3] == [plans(one, small).plan[0].spec.threads for one in (whole, quota, affinity)]
    engine = msgspec.structs.replace(small, fit="engine")
    assert [0, 2, 3] == [plans(one, engine).plan[0].spec.threads for one in (whole, quota, affinity)]

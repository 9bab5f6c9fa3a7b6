"""The ladder down for what does not fit."""

from dataclasses import replace
from pathlib import Path

import pytest

from relayd.config import Allocation
from relayd.planner import Basis, Facts, Planned, ReplicaSpec, Step, step_down
from relayd.units import Bytes

pytestmark = pytest.mark.pure

PLANNED = Planned(ReplicaSpec("m", 0, Path("/m-q8_0.gguf"), context=8192, slots=4))
FACTS = Facts(trained_context=32768, layers=32, smaller_files=(Path("/m-q4_k_m.gguf"),))


def descend(planned: Planned, facts: Facts, *, host: bool = False) -> list[Step]:
    steps: list[Step] = []
    while step := step_down(planned, facts, steps[-1].rung if steps else 0, host=host):
        steps.append(step)
        planned = step.planned
    return steps


def placed(placement: Allocation) -> Planned:
    return replace(PLANNED, spec=replace(PLANNED.spec, placement=placement, slots=1, context=2048))


def test_the_rungs_come_in_order_and_each_once() -> None:
    steps = descend(PLANNED, FACTS)

    assert [
        "slots: 4 → 2",
        "context: 8192 → 4096",
        "layers on the device: 33 → 24",
        "file: m-q8_0.gguf → m-q4_k_m.gguf",
    ] == [step.what for step in steps]
    last = steps[-1].planned.spec
    assert (2, 4096, Path("/m-q4_k_m.gguf")) == (last.slots, last.context, last.file)
    assert Allocation(gpu_layers=24) == last.placement


def test_for_the_host_the_prompt_cache_goes_first_and_no_layer_comes_to_it() -> None:
    steps = descend(PLANNED, replace(FACTS, has_experts=True), host=True)

    assert [
        "RAM for earlier prompts: 8192 → 2048 MiB",
        "slots: 4 → 2",
        "context: 8192 → 4096",
        "file: m-q8_0.gguf → m-q4_k_m.gguf",
    ] == [step.what for step in steps]
    assert 2048 == steps[-1].planned.spec.cache_ram_mib
    assert Allocation() == steps[-1].planned.spec.placement


def test_a_rung_that_changes_nothing_is_skipped() -> None:
    planned = placed(Allocation(gpu_layers=1))

    assert None is step_down(planned, Facts(trained_context=2048, layers=1))


def test_an_unset_context_is_halved_from_what_the_model_was_trained_on() -> None:
    step = step_down(Planned(ReplicaSpec("m", 0, Path("/m.gguf"), slots=1)), FACTS)

    assert step
    assert 16384 == step.planned.spec.context


def test_a_placement_keeps_all_but_the_value_that_is_reduced() -> None:
    placement = Allocation(gpu_layers=33, devices=("CUDA0", "CUDA1"), shares=(20, 13), cache_type_k="q8_0")

    step = step_down(placed(placement), FACTS)

    assert step
    assert "layers on the device: 33 → 24" == step.what
    expected = Allocation(gpu_layers=24, devices=("CUDA0", "CUDA1"), shares=(20, 13), cache_type_k="q8_0")
    assert expected == step.planned.spec.placement


def test_more_layers_than_the_model_has_are_not_what_is_reduced() -> None:
    step = step_down(placed(Allocation(gpu_layers=999)), FACTS)

    assert step
    assert "layers on the device: 33 → 24" == step.what


def test_experts_go_to_the_host_before_whole_layers_do() -> None:
    facts = replace(FACTS, has_experts=True, smaller_files=())

    steps = descend(placed(Allocation(gpu_layers=33, experts_on_cpu=8)), facts)

    assert ["layers with their experts in RAM: 8 → 14", "layers on the device: 33 → 24"] == [
        step.what for step in steps
    ]
    assert Allocation(gpu_layers=24, experts_on_cpu=14) == steps[-1].planned.spec.placement


@pytest.mark.parametrize("placement", [Allocation(devices=()), Allocation(gpu_layers=0)])
def test_where_nothing_is_on_a_device_nothing_leaves_one(placement: Allocation) -> None:
    facts = replace(FACTS, has_experts=True, smaller_files=())

    assert [] == descend(placed(placement), facts)


@pytest.mark.parametrize(
    ("fixed", "left_out"),
    [
        ("slots", "slots: 4 → 2"),
        ("context", "context: 8192 → 4096"),
        ("gpu_layers", "layers on the device: 33 → 24"),
        ("file", "file: m-q8_0.gguf → m-q4_k_m.gguf"),
    ],
)
def test_what_an_argument_of_the_operator_fixes_is_not_reported_as_reduced(fixed: str, left_out: str) -> None:
    every = [step.what for step in descend(PLANNED, FACTS)]

    steps = descend(PLANNED, replace(FACTS, fixed=frozenset({fixed})))

    assert [what for what in every if what != left_out] == [step.what for step in steps]


def test_nobody_has_planned_the_bytes_of_a_step() -> None:
    planned = Planned(PLANNED.spec, {"cuda0": Bytes(1)}, Basis.CONFIRMED, line=PLANNED.spec)

    step = step_down(planned, FACTS)

    assert step
    assert ({}, Basis.UNKNOWN, PLANNED.spec) == (step.planned.needs, step.planned.basis, step.planned.line)

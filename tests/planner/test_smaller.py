"""The ladder down for what does not fit."""

from pathlib import Path

import pytest

from relayd.config import Allocation
from relayd.planner import Facts, ReplicaSpec, step_down

pytestmark = pytest.mark.pure

SPEC = ReplicaSpec("m", 0, Path("/m-q8_0.gguf"), context=8192, slots=4)
FACTS = Facts(trained_context=32768, layers=32, smaller_files=(Path("/m-q4_k_m.gguf"),))


def test_the_rungs_come_in_order_and_each_once() -> None:
    steps, spec, rung = [], SPEC, 0
    while step := step_down(spec, FACTS, rung):
        steps.append(step.what)
        spec, rung = step.spec, step.rung

    assert [
        "slots: 4 → 2",
        "context: 8192 → 4096",
        "layers on the device: 33 → 24",
        "file: m-q8_0.gguf → m-q4_k_m.gguf",
    ] == steps
    layers = spec.placement.gpu_layers
    assert (2, 4096, 24, Path("/m-q4_k_m.gguf")) == (spec.slots, spec.context, layers, spec.file)


def test_for_the_host_the_prompt_cache_goes_first_and_no_layer_comes_to_it() -> None:
    steps, spec, rung = [], SPEC, 0
    while step := step_down(spec, FACTS, rung, host=True):
        steps.append(step.what)
        spec, rung = step.spec, step.rung

    assert [
        "RAM for earlier prompts: 8192 → 2048 MiB",
        "slots: 4 → 2",
        "context: 8192 → 4096",
        "file: m-q8_0.gguf → m-q4_k_m.gguf",
    ] == steps
    assert (2048, None) == (spec.cache_ram_mib, spec.placement.gpu_layers)


def test_a_rung_that_changes_nothing_is_skipped() -> None:
    spec = ReplicaSpec("m", 0, Path("/m.gguf"), context=2048, slots=1, placement=Allocation(gpu_layers=1))

    assert None is step_down(spec, Facts(trained_context=2048, layers=1))


def test_an_unset_context_is_halved_from_what_the_model_was_trained_on() -> None:
    step = step_down(ReplicaSpec("m", 0, Path("/m.gguf"), slots=1), FACTS)

    assert step
    assert 16384 == step.spec.context

"""Why a replica has to be started again, in the words of relay.toml."""

from dataclasses import replace
from pathlib import Path

import pytest

from relayd.config.schema import Allocation
from relayd.planner import Planned, ReplicaSpec, compare
from relayd.planner.plan import Lora

pytestmark = pytest.mark.pure

SPEC = ReplicaSpec("m", 0, Path("/m.gguf"), fit=False)


def reasons(was: ReplicaSpec, now: ReplicaSpec) -> tuple[str, ...]:
    (change,) = compare([Planned(was)], [Planned(now)]).changed
    return change.reasons


def test_values_are_those_of_a_line() -> None:
    now = replace(SPEC, slots=2, embeddings=True, extra_args=("--no-mmap",), loras=(Lora(Path("/l.gguf")),))

    assert (
        "slots: 4 → 2",
        "embeddings: false → true",
        "lora: none → /l.gguf",
        "args: none → --no-mmap",
    ) == reasons(SPEC, now)


def test_who_fits_a_model_is_the_reason_not_every_value_that_the_other_has_decided() -> None:
    planned = Allocation(devices=(), shares=(), gpu_layers=0, cache_type_k="f16", unified=True)
    ours, engines = replace(SPEC, placement=planned), replace(SPEC, fit=True)

    assert ("fit: engine → plan",) == reasons(engines, ours)
    assert ("context: 0 → 512", "fit: plan → engine") == reasons(ours, replace(engines, context=512))


def test_what_a_placement_changes_is_named() -> None:
    few, more = (replace(SPEC, placement=Allocation(gpu_layers=layers)) for layers in (None, 20))

    assert ("gpu_layers: the engine's choice → 20",) == reasons(few, more)

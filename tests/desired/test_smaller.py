"""What is tried next when memory does not hold a replica, and what that needs."""

from dataclasses import replace
from pathlib import Path

import pytest

from relayd.config import Model
from relayd.config.schema import MemoryBudget
from relayd.desired.smaller import Ladder, predicted_needs
from relayd.planner import Basis, ReplicaSpec
from relayd.planner.reserve import allowance
from tests.desired.desk import FEATURES, planner, plans, sparse
from tests.planner.models import machine

pytestmark = pytest.mark.pure

SIMULATED = "ram=32"
ROOM = allowance(machine(SIMULATED), MemoryBudget())


def test_the_smaller_plan_has_the_bytes_that_a_plan_of_that_size_has(tmp_path: Path) -> None:
    model = Model("m", sparse(tmp_path, "qwen3-4b"), context=4096, slots=4, cache_ram_mib=0)
    (planned,) = plans(planner(SIMULATED), model).plan

    step = Ladder(FEATURES, ROOM)(planned, 0, host=False)

    (half,) = plans(planner(SIMULATED), Model("m", model.file, context=4096, slots=2, cache_ram_mib=0)).plan
    assert step
    assert ("slots: 4 → 2", half.needs, Basis.PREDICTED) == (
        step.what,
        step.planned.needs,
        step.planned.basis,
    )
    assert planned.needs["host"] > step.planned.needs["host"]


def test_less_ram_for_prompts_is_counted_too(tmp_path: Path) -> None:
    spec = ReplicaSpec("m", 0, Path(sparse(tmp_path, "qwen3-4b")), context=4096, cache_ram_mib=1024)

    more, less = (
        predicted_needs(replace(spec, cache_ram_mib=mib), FEATURES, ROOM)["host"] for mib in (1024, 256)
    )

    assert 768 << 20 == more - less


def test_where_nothing_was_planned_no_bytes_are(tmp_path: Path) -> None:
    (planned,) = plans(planner(SIMULATED), Model("m", sparse(tmp_path, "qwen3-4b"))).plan

    step = Ladder(FEATURES, None)(planned, 0, host=True)

    assert step
    assert ({}, Basis.UNKNOWN) == (step.planned.needs, step.planned.basis)


def test_a_model_whose_file_is_gone_has_no_smaller_plan(tmp_path: Path) -> None:
    (planned,) = plans(planner(SIMULATED), Model("m", sparse(tmp_path, "qwen3-4b"))).plan
    gone = replace(planned, spec=replace(planned.spec, file=tmp_path / "gone.gguf"))

    assert None is Ladder(FEATURES, ROOM)(gone, 0, host=True)

"""Does the ledger of a plan add up, and count what other programs hold beyond the reserve?"""

from dataclasses import replace

import pytest

from relayd.config.schema import MemoryBudget
from relayd.planner.fleet import FleetPlan, Wanted, plan_fleet
from relayd.planner.ledger import ledger_of
from relayd.planner.placement import Aim
from relayd.planner.reserve import allowance
from relayd.units import GIB, Bytes
from tests.planner.models import forms, machine

pytestmark = pytest.mark.pure


@pytest.fixture
def plan() -> FleetPlan:
    aim = Aim(context=8192, least_context=8192, slots=2, least_slots=2, extend=False, prompt_cache_mib=0)
    room = allowance(machine("gpu=3060:12,ram=24"), MemoryBudget())
    return plan_fleet([Wanted("qwen3-8b", forms("qwen3-8b")[-1:], aim)], room)


def test_planned_others_and_free_add_up_to_what_models_may_take(plan: FleetPlan) -> None:
    for row in ledger_of(plan, plan.before, None):
        assert row.capacity == row.planned + row.others + row.free
        assert row.measured is None


def test_what_others_hold_beyond_the_reserve_is_not_free(plan: FleetPlan) -> None:
    gpu, host = plan.before.rooms
    now = replace(plan.before, gpus=(replace(gpu, free=Bytes(gpu.free - 2 * GIB)),), host=host)
    before, after = ledger_of(plan, plan.before, None)[0], ledger_of(plan, now, None)[0]

    assert (0, 2 * GIB) == (before.others, after.others)
    assert 2 * GIB == before.free - after.free


def test_more_than_there_is_leaves_nothing_free(plan: FleetPlan) -> None:
    gpu, _ = plan.before.rooms
    now = replace(plan.before, gpus=(replace(gpu, free=Bytes(0)),))

    assert 0 == ledger_of(plan, now, None)[0].free


def test_what_running_replicas_hold_is_shown_where_some_run(plan: FleetPlan) -> None:
    rows = {row.key: row.measured for row in ledger_of(plan, plan.before, {"cuda0": 5 * GIB})}

    assert {"cuda0": 5 * GIB, "host": 0} == rows


def test_weights_in_ram_are_a_column_of_the_host(plan: FleetPlan) -> None:
    gpu, host = ledger_of(plan, plan.before, None)
    on_cpu = plan_fleet(
        [Wanted("qwen3-8b", forms("qwen3-8b")[-1:], Aim(prompt_cache_mib=0))],
        allowance(machine("ram=24"), MemoryBudget()),
    )
    (alone,) = ledger_of(on_cpu, on_cpu.before, None)

    assert gpu.weights is None
    assert host.weights is not None
    assert alone.weights is not None
    assert 0 < host.weights < GIB, "the table of embeddings, which stays on the host"
    assert forms("qwen3-8b")[-1].nbytes * 0.9 < alone.weights < alone.planned

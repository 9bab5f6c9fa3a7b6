"""Can the page of a plan be read on narrow and on wide terminals?"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from relayd.config.schema import MemoryBudget
from relayd.planner import Planned, ReplicaSpec
from relayd.planner.fleet import FleetPlan, Wanted, plan_fleet
from relayd.planner.ledger import ledger_of
from relayd.planner.placement import Aim
from relayd.planner.reserve import allowance
from relayd.ui.plan import MOST_ON_DEMAND, plan_page
from relayd.units import GIB, Bytes
from tests.planner.models import forms, machine

pytestmark = pytest.mark.pure

NAME = "qwen3-30b-a3b-instruct-2507:UD-Q4_K_XL"
"""As long as names of the catalogue get."""


@pytest.fixture(scope="module")
def plan() -> FleetPlan:
    aim = Aim(context=8192, least_context=8192, slots=2, least_slots=2, extend=False, prompt_cache_mib=0)
    large = Wanted(NAME, forms("qwen3-30b-a3b")[-1:], aim)
    small = Wanted("qwen3-8b", forms("qwen3-8b")[-1:], aim, 2)
    room = allowance(machine("gpu=3060:12,ram=24"), MemoryBudget())
    return plan_fleet([large, small], room, all_of_them=True)


def shown(
    plan: FleetPlan,
    width: int,
    on_demand: Sequence[tuple[Planned, str]] = (),
    measured: Mapping[str, int] | None = None,
) -> list[str]:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    ledger = ledger_of(plan, plan.before, measured)
    notes = ["one note that says something of the plan"]
    with console.capture() as text:
        console.print(plan_page(plan, ledger, on_demand, notes, width))
    return text.get().splitlines()


def later(name: str, *gib: float) -> Planned:
    """Return a replica on demand in some sizes."""
    spec = ReplicaSpec(name, 0, Path("/m.gguf"), context=32768, slots=2, fit=False)
    sizes = [Planned(spec, {"cuda0": Bytes(int(one * GIB)), "host": Bytes(1 << 20)}) for one in gib]
    return replace(sizes[0], others=tuple(sizes[1:]))


@pytest.mark.parametrize("width", [80, 140])
def test_the_page_stays_within_its_width(plan: FleetPlan, width: int) -> None:
    assert width >= max(map(len, shown(plan, width)))


@pytest.mark.parametrize("width", [80, 140])
def test_numbers_and_headings_are_whole(plan: FleetPlan, width: int) -> None:
    lines = shown(plan, width)

    assert ["REPLICA", "CONTEXT", "GiB", "TOK/S", "VERDICT"] == lines[0].split()
    assert any("2 x 8k" in line and "cuda0 " in line for line in lines)
    assert any(line.startswith("cuda0 ") and "GiB" in line for line in lines)
    assert "Note: one note that says something of the plan" in lines


@pytest.mark.parametrize("width", [80, 140])
def test_who_has_no_place_is_shown_with_need_have_and_who_holds_the_rest(plan: FleetPlan, width: int) -> None:
    text = " ".join(" ".join(shown(plan, width)).split())

    assert "no place: " in text
    assert " can be used (of 24 GiB, 4.8 GiB reserved, " in text
    assert " for qwen3-8b#0)" in text


@pytest.mark.parametrize("width", [80, 140])
def test_what_is_loaded_on_demand_is_shown_with_its_sizes_and_the_reason(plan: FleetPlan, width: int) -> None:
    why = "no room: it needs at least 9.1 GiB of cuda0, 1.2 GiB can be used, 9.0 GiB for qwen3-8b#0"
    lines = shown(
        plan, width, [(later("other", 9.3, 4.5), "when a client asks for it"), (later(NAME, 9), why)]
    )
    text = " ".join(" ".join(lines).split())

    assert width >= max(map(len, lines))
    assert "ON DEMAND CONTEXT GiB WHY" in text
    assert "other#0 2 x 32k cuda0 9.3" in text
    assert "4.5" in text


def test_sizes_that_read_the_same_are_shown_once(plan: FleetPlan) -> None:
    (line,) = (one for one in shown(plan, 140, [(later("m", 1, 1.01), "")]) if one.startswith("m#0"))

    assert "m#0 2 x 32k cuda0 1.0" == " ".join(line.split())


def test_of_many_on_demand_some_are_shown_and_the_others_counted(plan: FleetPlan) -> None:
    many = [(later(f"m{number}", 1), "when a client asks for it") for number in range(200)]
    lines = shown(plan, 80, many)

    assert MOST_ON_DEMAND == sum(line.startswith("m") for line in lines)
    assert f"and {200 - MOST_ON_DEMAND} more: relayd plan --json" in lines


def test_a_replica_without_a_place_is_shown_once(plan: FleetPlan) -> None:
    (without,) = (one.name for one in plan.assignments if not hasattr(one.outcome, "setup"))
    name = without.partition("#")[0]
    planned = later(name, 20)
    planned = replace(planned, spec=replace(planned.spec, index=int(without[-1])))

    text = "\n".join(shown(plan, 140, [(planned, "no room")]))
    assert 1 == text.count(f"{without} ")


@pytest.mark.parametrize("width", [80, 140])
def test_each_device_has_its_ledger(plan: FleetPlan, width: int) -> None:
    still, running = shown(plan, width), shown(plan, width, measured={"cuda0": 3 * GIB})
    heading = next(line.split() for line in still if line.startswith("DEVICE"))
    measured = next(line for line in running if line.startswith("DEVICE"))

    assert ["PLANNED", "OTHERS", "FREE", "OF"] == [
        one for one in heading if one in {"PLANNED", "OTHERS", "FREE", "OF"}
    ]
    assert "MEASURED" in measured
    assert any(line.startswith("cuda0") and "3.0 GiB" in line for line in running)
    assert width >= max(map(len, running))

"""Can the page of a plan be read on narrow and on wide terminals?"""

import io

import pytest
from rich.console import Console

from relayd.config.schema import MemoryBudget
from relayd.planner.fleet import FleetPlan, Wanted, plan_fleet
from relayd.planner.placement import Aim
from relayd.planner.reserve import allowance
from relayd.ui.recommend import plan_page
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


def shown(plan: FleetPlan, width: int) -> list[str]:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    with console.capture() as text:
        console.print(plan_page(plan, ["one note that says something of the plan"], width))
    return text.get().splitlines()


@pytest.mark.parametrize("width", [80, 140])
def test_the_page_stays_within_its_width(plan: FleetPlan, width: int) -> None:
    assert width >= max(map(len, shown(plan, width)))


@pytest.mark.parametrize("width", [80, 140])
def test_numbers_and_headings_are_whole(plan: FleetPlan, width: int) -> None:
    lines = shown(plan, width)

    assert ["REPLICA", "CONTEXT", "MEMORY", "TOK/S", "VERDICT"] == lines[0].split()
    assert any("2 x 8k" in line and "cuda0 " in line for line in lines)
    assert any(line.startswith("cuda0 ") and "GiB" in line for line in lines)
    assert "Note: one note that says something of the plan" in lines


@pytest.mark.parametrize("width", [80, 140])
def test_who_has_no_place_is_shown_with_need_have_and_who_holds_the_rest(plan: FleetPlan, width: int) -> None:
    text = " ".join(" ".join(shown(plan, width)).split())

    assert "no place: " in text
    assert " can be used (of 24 GiB, 4.8 GiB reserved, " in text
    assert " for qwen3-8b#0)" in text

"""Advice and plans as JSON: every number with its tag, and sums that add up."""

import json

import pytest

from relayd.planner.document import outcome_document, plan_document
from relayd.planner.fit import fit
from relayd.planner.fleet import Wanted, plan_fleet
from relayd.planner.placement import Aim
from relayd.planner.processor import Tag
from tests.planner.models import forms, room

pytestmark = pytest.mark.pure


def test_every_number_of_a_placement_has_its_tag() -> None:
    shown = outcome_document(fit(forms("qwen3-8b"), room("gpu=4090:24,ram=32"), Aim()))["placement"]

    tagged = [shown["file_bytes"], *shown["memory"].values(), *shown["tokens_per_second"].values()]
    assert set(Tag) >= {one["tag"] for one in tagged}
    assert {"cuda0", "cpu"} == shown["memory"].keys()
    assert json.loads(json.dumps(shown)) == shown


def test_memory_that_the_engine_confirmed_is_measured() -> None:
    outcome = fit(forms("qwen3-8b"), room("gpu=4090:24,ram=32"), Aim())

    for confirmed, tag in ((True, "measured"), (False, "modelled")):
        shown = outcome_document(outcome, confirmed=confirmed)["placement"]["memory"]
        assert {tag} == {str(one["tag"]) for one in shown.values()}


def test_a_refusal_has_shortages_in_place_of_a_placement() -> None:
    shown = outcome_document(fit(forms("qwen3-32b"), room("ram=4"), Aim()))

    assert shown["placement"] is None
    (short,) = [one for one in shown["shortages"] if one["device"] == "cpu"]
    assert short["need_bytes"] > short["usable_bytes"]


def test_a_plan_leaves_what_is_free_without_what_is_planned() -> None:
    plan = plan_fleet([Wanted("m", forms("qwen3-8b")[-1:], Aim())], room("gpu=4090:24,ram=32"))
    shown = plan_document(plan)

    assert shown["complete"]
    for device in shown["devices"]:
        left = device["free_bytes"] - device["planned_bytes"] - device["kept_free_bytes"]
        assert max(0, left) == device["left_bytes"]

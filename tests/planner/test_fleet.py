"""Do several models share a machine, and is it said what is left and who is in the way?"""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from relayd.planner.fleet import FleetPlan, Wanted, plan_fleet
from relayd.planner.placement import Aim, Placement
from relayd.units import Bytes
from tests.planner.models import forms, room

pytestmark = pytest.mark.pure

FIXED = Aim(context=4096, least_context=4096, slots=2, least_slots=2, extend=False, prompt_cache_mib=512)


def wanted(name: str, replicas: int = 1) -> Wanted:
    return Wanted(name, forms(name)[-1:], FIXED, replicas)


def devices(plan: FleetPlan) -> list[list[str]]:
    return [
        [gpu.key for gpu in one.outcome.setup.gpus] or ["cpu"]
        for one in plan.assignments
        if isinstance(one.outcome, Placement)
    ]


def test_each_model_gets_what_those_before_it_left() -> None:
    plan = plan_fleet([wanted("gpt-oss-20b"), wanted("qwen3.5-9b")], room("gpu=2x4080:16,ram=32"))

    assert plan.complete
    assert [["cuda0"], ["cuda1"]] == devices(plan)


def test_what_every_device_keeps_adds_up() -> None:
    plan = plan_fleet([wanted("qwen3-8b"), wanted("qwen3.5-4b")], room("gpu=4090:24,ram=32"))

    taken = {room.key: 0 for room in plan.before.rooms}
    for one in plan.assignments:
        assert isinstance(one.outcome, Placement)
        for key, nbytes in one.outcome.needs.items():
            taken[key] += nbytes
    assert taken == {
        before.key: before.free - left.free
        for before, left in zip(plan.before.rooms, plan.left.rooms, strict=True)
    }


def test_prompt_caches_count_for_every_replica() -> None:
    one = plan_fleet([wanted("qwen3.5-4b")], room("gpu=4090:24,ram=32"))
    two = plan_fleet([wanted("qwen3.5-4b", 2)], room("gpu=4090:24,ram=32"))

    assert one.left.host.free - two.left.host.free > 512 * (1 << 20)


def test_the_largest_goes_first_where_the_order_written_leaves_one_without_a_place() -> None:
    small = Wanted("small", forms("qwen3.5-9b")[-1:], FIXED)
    large = Wanted("large", forms("gpt-oss-20b")[-1:], FIXED)
    plan = plan_fleet([small, large], room("gpu=3060:9,gpu=7900xtx:15,ram=6"))

    assert plan.complete
    assert "large, small" in plan.notes[0]


def test_who_is_in_the_way_is_named() -> None:
    plan = plan_fleet([wanted("gpt-oss-20b"), wanted("qwen3-30b-a3b")], room("ram=24"))

    assert not plan.complete
    assert "for gpt-oss-20b#0" in str(plan.assignments[1].outcome)


def test_replicas_on_one_gpu_are_compared_with_slots() -> None:
    plan = plan_fleet([wanted("qwen3.5-4b", 2)], room("gpu=4090:24,ram=32"))

    assert any("2 replicas of qwen3.5-4b take" in note and "one with 4 slots" in note for note in plan.notes)


FREE = Aim(context=40960, least_context=4096, slots=4, least_slots=4, extend=False, prompt_cache_mib=0)


def free(name: str, replicas: int = 1, **more: Any) -> Wanted:
    return Wanted(name, forms(name)[-1:], FREE, replicas, **more)


def contexts(plan: FleetPlan) -> list[int]:
    return [one.outcome.context for one in plan.assignments if isinstance(one.outcome, Placement)]


def test_the_first_model_leaves_room_for_the_least_that_the_next_needs() -> None:
    both = [free("qwen3-8b"), free("qwen3.5-4b")]
    greedy = plan_fleet(both, room("ram=16"))
    together = plan_fleet(both, room("ram=16"), all_of_them=True)

    assert not greedy.complete
    assert together.complete


def test_replicas_of_a_model_have_the_same_context() -> None:
    found = contexts(plan_fleet([free("qwen3-8b", 3)], room("gpu=2x3060:12,ram=32"), all_of_them=True))

    assert 3 == len(found)
    assert 1 == len(set(found))


def test_what_has_a_place_keeps_it_and_others_go_around_it() -> None:
    machine = room("gpu=2x4090:24,ram=64")
    first = plan_fleet([free("qwen3-8b")], machine).assignments[0].outcome
    assert isinstance(first, Placement)
    second = plan_fleet([free("gpt-oss-20b"), free("qwen3-8b", placed=(first,))], machine)

    kept = next(one.outcome for one in second.assignments if one.model == "qwen3-8b")
    assert first == kept
    assert second.complete


def test_a_further_replica_is_like_those_that_have_a_place() -> None:
    machine = room("gpu=2x4090:24,ram=64")
    first = plan_fleet([free("qwen3-8b")], machine).assignments[0].outcome
    assert isinstance(first, Placement)
    small = replace(first, context=8192, setup=replace(first.setup, context=4 * 8192))
    plan = plan_fleet([free("qwen3-8b", 2, placed=(small,))], machine, all_of_them=True)

    assert [8192, 8192] == contexts(plan)
    assert ["qwen3-8b#0", "qwen3-8b#1"] == [one.name for one in plan.assignments]


def test_prompts_of_earlier_requests_get_what_is_left_over_and_no_more_than_is_wanted() -> None:
    plenty = plan_fleet([free("qwen3.5-4b", 2, prompt_cache_mib=512)], room("gpu=4090:24,ram=64"))
    scarce = plan_fleet([free("qwen3.5-4b", 2, prompt_cache_mib=8192)], room("gpu=4090:24,ram=12"))

    assert [512, 512] == caches(plenty)
    assert caches(scarce)[0] == caches(scarce)[1] < 8192
    assert scarce.left.host.usable > 0


def caches(plan: FleetPlan) -> list[int]:
    return [one.outcome.setup.cache_ram_mib for one in plan.assignments if isinstance(one.outcome, Placement)]


def test_what_the_engine_needs_beyond_the_prediction_is_kept_free() -> None:
    plain = plan_fleet([free("qwen3-8b")], room("gpu=3060:12,ram=32"))
    more = plan_fleet([free("qwen3-8b", unforeseen=Bytes(3 << 30))], room("gpu=3060:12,ram=32"))

    assert contexts(more) < contexts(plain)


names = some.sampled_from(["qwen3-8b", "qwen3.5-4b", "gpt-oss-20b", "qwen3.5-9b"])


@settings(max_examples=25)
@given(some.lists(names, min_size=1, max_size=4), some.integers(8, 32), some.integers(1, 2))
def test_no_device_is_promised_more_than_it_has(chosen: list[str], gib: int, count: int) -> None:
    plan = plan_fleet([wanted(name) for name in chosen], room(f"gpu={count}x3090:{gib},ram=48"))

    assert all(left.free >= 0 for left in plan.left.rooms)
    assert all(
        before.free == left.free or left.free >= left.margin
        for before, left in zip(plan.before.rooms, plan.left.rooms, strict=True)
    )

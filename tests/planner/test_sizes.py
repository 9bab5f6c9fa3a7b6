"""Do the sizes of a model on demand leave room for others, and fit where they are meant to?"""

import random
from dataclasses import replace

import pytest

from relayd.config.schema import MemoryBudget
from relayd.planner.budget import Budget
from relayd.planner.fit import fit
from relayd.planner.placement import Aim, NoPlace, Place, Placement
from relayd.planner.reserve import allowance
from relayd.planner.sizes import USEFUL_CONTEXT, alike, sizes
from relayd.units import GIB, Bytes
from tests.planner.models import forms, known, machine

pytestmark = pytest.mark.pure

OPEN = Aim(context=32768, least_context=4096, slots=4, least_slots=1, extend=False, prompt_cache_mib=0)
FIXED = Aim(context=8192, least_context=8192, slots=2, least_slots=2, extend=False, prompt_cache_mib=0)


def room(description: str) -> Budget:
    return allowance(machine(description), MemoryBudget())


def found(
    name: str, description: str, aim: Aim = OPEN, *, alone: bool = False, prompt_cache_mib: int = 0
) -> tuple[Placement, ...]:
    form = min(forms(name), key=lambda one: abs(one.nbytes - 5e9))
    outcome = sizes(form, room(description), aim, alone=alone, prompt_cache_mib=prompt_cache_mib)
    assert not isinstance(outcome, NoPlace), outcome
    return outcome


def test_the_first_size_takes_half_of_the_machine_so_that_another_model_fits_beside_it() -> None:
    first, *_ = found("qwen3-8b", "ram=32")

    assert first.needs["cpu"] <= room("ram=32").host.usable / 2
    assert not room("ram=32").minus(first.needs).short_of(first.needs)


def test_sizes_get_smaller_and_end_with_the_least_that_would_do() -> None:
    every = found("qwen3-8b", "ram=32")
    needs = [one.needs["cpu"] for one in every]

    assert sorted(needs, reverse=True) == needs
    assert len(set(needs)) == len(needs) > 1
    assert (USEFUL_CONTEXT, 1) == (every[-1].context, every[-1].slots)


def test_the_least_size_is_as_small_as_the_line_allows_where_the_machine_has_no_more() -> None:
    form = min(forms("qwen3-8b"), key=lambda one: abs(one.nbytes - 5e9))
    tight = replace(room("ram=10").host, free=Bytes(int(5.3 * GIB)))
    every = sizes(form, Budget((), tight), OPEN)

    assert not isinstance(every, NoPlace)
    assert (1, 4096) <= (every[-1].slots, every[-1].context) < (1, USEFUL_CONTEXT)


def test_the_only_model_may_have_the_whole_machine() -> None:
    alone = fit((min(forms("qwen3-8b"), key=lambda one: abs(one.nbytes - 5e9)),), room("ram=32"), OPEN)
    assert isinstance(alone, Placement)

    assert alone.needs == found("qwen3-8b", "ram=32", alone=True)[0].needs


def test_what_a_line_fixes_is_the_same_in_every_size() -> None:
    every = found("qwen3-8b", "ram=32", FIXED)

    assert [(8192, 2)] == [(one.context, one.slots) for one in every]


def test_a_model_that_is_larger_than_half_of_the_machine_may_have_all_of_it() -> None:
    first, *_ = found("qwen3-8b", "ram=10", OPEN)

    assert first.needs["cpu"] > room("ram=10").host.usable / 2


def test_with_several_gpus_there_is_a_size_for_each_that_holds_the_model() -> None:
    every = found("qwen3-8b", "gpu=2x4090:24,ram=64")
    devices = [[gpu.key for gpu in one.setup.gpus] for one in every]

    assert [["cuda0"], ["cuda1"]] == devices[:2]
    assert {Place.ONE_GPU} == {one.place for one in every}
    assert every[0].context == every[1].context


def test_a_part_of_a_gpu_never_moves_layers_to_the_cpu() -> None:
    every = found("qwen3-8b", "gpu=3060:8,ram=64", OPEN)

    assert {Place.ONE_GPU} == {one.place for one in every}


def test_a_model_that_no_part_of_the_machine_holds_has_no_size() -> None:
    form = min(forms("qwen3-30b-a3b"), key=lambda one: one.nbytes)

    assert isinstance(sizes(form, room("ram=8"), OPEN), NoPlace)


def test_prompts_of_earlier_requests_get_a_share_that_is_counted() -> None:
    without, cached = found("qwen3-8b", "ram=64"), found("qwen3-8b", "ram=64", prompt_cache_mib=8192)
    mib = cached[0].setup.cache_ram_mib

    assert 256 <= mib <= 8192
    assert mib << 20 == cached[0].needs["cpu"] - without[0].needs["cpu"]
    assert cached[0].needs["cpu"] <= room("ram=64").host.usable / 2
    assert 0 == cached[-1].setup.cache_ram_mib


def test_prompts_of_earlier_requests_get_no_more_than_a_small_model_takes_itself() -> None:
    first, *_ = found("qwen3-0.6b", "ram=256", FIXED, prompt_cache_mib=8192)
    alone, *_ = found("qwen3-0.6b", "ram=256", FIXED)

    assert first.needs["cpu"] <= 2 * alone.needs["cpu"]


def test_a_further_replica_is_like_the_first_and_may_be_on_another_gpu() -> None:
    here = room("gpu=2x4090:24,ram=64")
    form = min(forms("qwen3-8b"), key=lambda one: abs(one.nbytes - 5e9))
    first = fit((form,), here, OPEN)
    assert isinstance(first, Placement)
    others = alike(form, here, OPEN, first)

    assert {(first.context, first.slots)} == {(one.context, one.slots) for one in others}
    assert [("cuda0",), ("cuda1",)] == [tuple(gpu.key for gpu in one.setup.gpus) for one in others]


MACHINES = (
    "ram=8",
    "ram=32,cores=4",
    "gpu=3060:12,ram=32",
    "gpu=2x4090:24,ram=64",
    "gpu=4090:24,gpu=3060:12,ram=128",
)


@pytest.mark.parametrize("seed", range(40))
def test_every_size_of_any_model_fits_alone_and_none_is_larger_than_the_one_before(seed: int) -> None:
    chance = random.Random(seed)
    name = chance.choice(sorted(known()))
    here = room(chance.choice(MACHINES))
    context, slots = chance.choice((4096, 16384, 131072)), chance.choice((1, 4))
    aim = Aim(
        context=context,
        least_context=min(context, chance.choice((4096, context))),
        slots=slots,
        least_slots=chance.choice((1, slots)),
        extend=False,
        beyond_trained=True,
        prompt_cache_mib=0,
    )
    outcome = sizes(chance.choice(forms(name)), here, aim, prompt_cache_mib=chance.choice((0, 8192)))

    every = () if isinstance(outcome, NoPlace) else outcome
    assert not [one.needs for one in every if here.short_of(one.needs)]
    assert len(every) == len({tuple(sorted(one.needs.items())) for one in every})
    tokens = [one.slots * one.context for one in every if one.setup.gpus == every[0].setup.gpus]
    assert sorted(tokens, reverse=True) == tokens
    assert all(one.context >= aim.least_context and one.slots >= aim.least_slots for one in every)

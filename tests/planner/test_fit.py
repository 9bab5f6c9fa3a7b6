"""Does the search take the first rung that fits, stay inside the budget, and say what is missing?"""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from relayd.hardware.machine import MemoryHolder, MemoryLimit
from relayd.memory.setup import Gpu, Setup
from relayd.planner.budget import budget
from relayd.planner.fit import fit
from relayd.planner.placement import Aim, NoPlace, Place, Placement, least_gpu, least_ram, spec
from relayd.planner.quality import Use
from relayd.units import GIB, Bytes
from tests.planner.models import forms, machine, room

pytestmark = pytest.mark.pure

MODELS = ("qwen3-8b", "qwen3-30b-a3b", "gemma-3-12b-it", "gpt-oss-20b", "qwen3.5-9b", "qwq-32b")

AIM = Aim()

models = some.sampled_from(MODELS)
gib = some.integers(4, 48)


def placed(name: str, machine: str, aim: Aim = AIM) -> Placement:
    found = fit(forms(name), room(machine), aim)
    assert isinstance(found, Placement), str(found)
    return found


def rung(name: str, outcome: Placement | NoPlace, aim: Aim) -> tuple[int, ...]:
    """Return where on the ladder an outcome is; less is better."""
    if isinstance(outcome, NoPlace):
        return (99,)
    place = {Place.ONE_GPU: 0, Place.SPLIT: 0}.get(outcome.place, list(Place).index(outcome.place))
    file = [one.quantization.name for one in forms(name)].index(outcome.form.quantization.name)
    context = -min(outcome.context, aim.context)
    return place, file, -outcome.slots, context, outcome.place is Place.SPLIT, outcome.setup.type_k != "f16"


def test_a_large_gpu_holds_all_of_it_with_the_cache_in_16_bits() -> None:
    found = placed("qwen3-8b", "gpu=4090:24,ram=32")

    assert (Place.ONE_GPU, "Q8_0", "f16", 4) == (
        found.place, found.form.quantization.name, found.setup.type_k, found.slots,
    )  # fmt: skip


def test_the_cache_goes_to_q8_0_before_the_weights_are_coarser() -> None:
    found = placed("qwen3-8b", "gpu=3060:12,ram=32")

    assert ("Q8_0", "q8_0", 4) == (found.form.quantization.name, found.setup.type_k, found.slots)


def test_layers_are_split_before_slots_are_given_up() -> None:
    found = placed("qwen3.6-27b", "gpu=2x3090:24,ram=64")

    assert (Place.SPLIT, "Q8_0", 4) == (found.place, found.form.quantization.name, found.slots)


def test_slots_are_given_up_before_the_weights_are_coarser() -> None:
    found = placed("qwen3-8b", "gpu=4060:8,ram=32")

    assert ("Q6_K", 1) == (found.form.quantization.name, found.slots)


def test_experts_move_to_the_cpu_before_whole_layers_do() -> None:
    found = placed("qwen3-30b-a3b", "gpu=3060:12,ram=48")

    assert Place.EXPERTS_ON_CPU is found.place
    assert 0 < found.setup.experts_on_cpu < found.layers[1]


def test_a_dense_model_that_is_too_large_names_its_cliff() -> None:
    found = placed("qwen3.6-27b", "gpu=3060:12,ram=48", Aim(min_speed=6))

    assert Place.PARTIAL is found.place
    assert "A cliff: " in found.reasons[-1]


def test_what_is_too_slow_everywhere_is_placed_where_it_is_fastest_and_marked() -> None:
    found = placed("qwen3-8b", "ram=64,bandwidth=10", Aim(min_speed=50))

    assert not found.fast_enough
    assert ("CPU", 1) == (found.place, found.slots)


def test_memory_that_is_left_over_makes_the_context_longer_but_not_endless() -> None:
    found = placed("qwen3.5-9b", "gpu=rtx 6000 ada:48,ram=32", Aim(context=8192))

    assert found.context == 32768


def test_a_context_that_must_be_held_is_never_shortened() -> None:
    aim = Aim(context=16384, least_context=16384)
    found = placed("qwen3-8b", "gpu=4060:8,ram=64", aim)

    assert found.context >= 16384


def test_slots_that_are_asked_for_are_kept() -> None:
    assert placed("qwen3-8b", "gpu=4060:8,ram=64", Aim(slots=6, least_slots=6)).slots == 6


def test_an_embedding_model_reads_its_whole_input_in_one_pass() -> None:
    found = placed("qwen3-embedding-8b", "gpu=4090:24,ram=32", Aim(context=2048, use=Use.EMBEDDING))

    assert (2048, True, 0) == (
        found.setup.micro_batch, found.setup.embeddings, found.setup.cache_ram_mib,
    )  # fmt: skip


def test_a_refusal_tells_need_and_have_and_who_holds_the_rest() -> None:
    there = room("gpu=4060:8,ram=16")
    holder = MemoryHolder(912, "python", Bytes(5 * GIB))
    host = replace(there.host, free=Bytes(8 * GIB), holders=(holder,))

    found = fit(forms("llama-3.3-70b-instruct"), replace(there, host=host), Aim())

    assert isinstance(found, NoPlace)
    assert "Q4_K_M needs at least 36 GiB of host, 7.0 GiB can be used" in str(found)
    assert "held by python (912)" in str(found)


def test_the_limit_of_a_control_group_is_all_the_ram_there_is() -> None:
    found = machine("ram=64")
    limit = MemoryLimit(Bytes(8 * GIB), usage=Bytes(3 * GIB), reclaimable=Bytes(2 * GIB))
    limited = budget(replace(found, memory=replace(found.memory, limit=limit)))

    assert 6 * GIB == limited.host.usable
    assert isinstance(fit(forms("gpt-oss-20b"), limited, Aim()), NoPlace)
    assert isinstance(fit(forms("gpt-oss-20b"), budget(found), Aim()), Placement)


def test_memory_of_a_mac_is_counted_once() -> None:
    found = placed("qwen3.6-27b", "apple=m3max:64")

    assert sum(found.needs.values()) <= room("apple=m3max:64").host.usable


def test_a_mig_instance_shares_no_model() -> None:
    there = room("gpu=2x3090:24,ram=16")
    alone = tuple(replace(one, alone=True) for one in there.gpus)

    assert isinstance(fit(forms("llama-3.3-70b-instruct"), replace(there, gpus=alone), Aim()), NoPlace)


def test_what_would_make_it_fit_is_enough() -> None:
    demand = forms("qwen3-8b")[-1].build()
    aim = Aim(context=4096, slots=1)
    needed = least_gpu(demand, aim) / GIB + 1

    found = placed("qwen3-8b", f"gpu=4090:{needed:.2f},ram=32", aim)

    assert Place.ONE_GPU is found.place
    assert least_ram(demand, aim) > 4 * GIB


def test_a_placement_becomes_a_replica_whose_engine_decides_nothing() -> None:
    there = room("gpu=2x3090:24,ram=64")
    found = placed("qwen3.6-27b", "gpu=2x3090:24,ram=64")

    replica = spec(found, there, "qwen", 0, Path("/models/qwen.gguf"))

    assert (("CUDA0", "CUDA1"), 65) == (replica.placement.devices, replica.placement.gpu_layers)


@settings(max_examples=40)
@given(models, gib, some.integers(8, 96), some.integers(1, 3))
def test_what_is_placed_never_exceeds_the_budget(name: str, gpu: int, ram: int, count: int) -> None:
    there = room(f"gpu={count}x3090:{gpu},ram={ram}")
    found = fit(forms(name), there, Aim())

    if isinstance(found, Placement):
        assert there.short_of(found.needs) is None
        assert found.form.build().needs(found.setup) == found.needs
        assert all(one.free >= one.margin for one in there.minus(found.needs).rooms)


@settings(max_examples=40)
@given(models, gib, some.integers(8, 64), some.integers(0, 16), some.integers(0, 32), some.integers(1, 2))
def test_more_memory_never_makes_the_answer_worse(
    name: str, gpu: int, ram: int, more_gpu: int, more_ram: int, count: int
) -> None:
    aim = Aim()
    less = fit(forms(name), room(f"gpu={count}x3090:{gpu},ram={ram}"), aim)
    more = fit(forms(name), room(f"gpu={count}x3090:{gpu + more_gpu},ram={ram + more_ram}"), aim)

    assert rung(name, more, aim) <= rung(name, less, aim)


@settings(max_examples=40)
@given(models, some.integers(512, 65536), some.integers(0, 65536), some.integers(1, 4))
def test_a_bigger_context_never_needs_less(name: str, context: int, more: int, slots: int) -> None:
    demand = forms(name)[-1].build()
    setup = Setup(context=context * slots, slots=slots, gpus=(Gpu("cuda0"),))

    small = demand.needs(setup)
    large = demand.needs(replace(setup, context=(context + more) * slots))

    assert all(large[key] >= small[key] for key in small)

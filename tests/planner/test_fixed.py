"""Does the planner leave what the operator has decided, and find the rest?"""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from relayd.config.schema import Allocation
from relayd.errors import ModelFileError
from relayd.planner.fit import fit
from relayd.planner.fixed import cache_types
from relayd.planner.placement import Aim, NoPlace, Place, Placement, allocation, setup_of
from tests.planner.models import forms, room

pytestmark = pytest.mark.pure

MACHINE = "gpu=2x4090:24,ram=64"


def found(name: str, fixed: Allocation, machine: str = MACHINE) -> Placement:
    outcome = fit(forms(name)[-1:], room(machine), Aim(fixed=fixed, extend=False))
    assert isinstance(outcome, Placement), str(outcome)
    return outcome


def devices(placement: Placement) -> list[str]:
    return [gpu.key for gpu in placement.setup.gpus]


def test_no_layers_on_devices_is_the_cpu() -> None:
    assert Place.CPU is found("qwen3-8b", Allocation(gpu_layers=0)).place


def test_an_empty_list_of_devices_is_the_cpu() -> None:
    assert Place.CPU is found("qwen3-8b", Allocation(devices=())).place


def test_so_many_layers_go_to_devices_as_the_line_says() -> None:
    placement = found("qwen3-8b", Allocation(gpu_layers=20))

    assert (Place.PARTIAL, 20) == (placement.place, placement.layers[0])


def test_the_device_that_is_named_is_used_although_another_is_free() -> None:
    assert ["cuda1"] == devices(found("qwen3-8b", Allocation(devices=("CUDA1",))))


def test_several_devices_that_are_named_share_the_model_although_one_would_do() -> None:
    placement = found("qwen3-8b", Allocation(devices=("CUDA1", "CUDA0")))

    assert ["cuda1", "cuda0"] == devices(placement)


def test_shares_are_as_the_line_says() -> None:
    placement = found("qwen3-8b", Allocation(devices=("CUDA0", "CUDA1"), shares=(1.0, 3.0)))

    assert [1.0, 3.0] == [gpu.share for gpu in placement.setup.gpus]


def test_so_many_experts_stay_in_ram_as_the_line_says() -> None:
    placement = found("qwen3-30b-a3b", Allocation(experts_on_cpu=7))

    assert (Place.EXPERTS_ON_CPU, 7) == (placement.place, placement.setup.experts_on_cpu)


@pytest.mark.parametrize(
    ("fixed", "types"),
    [
        (Allocation(), ("f16", "f16")),
        (Allocation(cache_type_k="q8_0"), ("q8_0", "f16")),
        (Allocation(cache_type_k="q4_0", cache_type_v="q4_0"), ("q4_0", "q4_0")),
        (Allocation(flash_attention=False), ("f16", "f16")),
    ],
)
def test_types_of_the_cache_are_kept(fixed: Allocation, types: tuple[str, str]) -> None:
    setup = found("qwen3-8b", fixed).setup

    assert types == (setup.type_k, setup.type_v)


def test_heads_that_8_bits_cannot_hold_keep_a_cache_of_16() -> None:
    shape = forms("qwen3-8b")[0].build().shape
    odd = replace(shape, key_heads=frozenset({80}))

    assert [("f16", "f16"), ("q8_0", "q8_0")] == cache_types(Allocation(), shape)
    assert [("f16", "f16")] == cache_types(Allocation(), odd)


def test_keys_and_values_of_one_row_have_one_type() -> None:
    shape = forms("deepseek-coder-v2-lite-instruct")[0].build().shape

    assert [("q8_0", "q8_0")] == cache_types(Allocation(cache_type_k="q8_0"), shape)
    with pytest.raises(ModelFileError, match="differ, and share one row"):
        cache_types(Allocation(cache_type_k="q8_0", cache_type_v="f16"), shape)


def test_batches_and_a_shared_cache_are_kept() -> None:
    setup = found("qwen3-8b", Allocation(batch=512, micro_batch=256, unified=True)).setup

    assert (512, 256, True) == (setup.batch, setup.micro_batch, setup.unified)


@pytest.mark.parametrize(
    ("fixed", "batch"),
    [
        (Allocation(gpu_layers=0), 512),
        (Allocation(gpu_layers=0, micro_batch=1024), 1024),
        (Allocation(gpu_layers=0, batch=4096), 4096),
        (Allocation(gpu_layers=20), 2048),
        (Allocation(), 2048),
    ],
)
def test_a_model_on_the_cpu_alone_looks_at_its_clients_after_512_tokens(
    fixed: Allocation, batch: int
) -> None:
    assert batch == found("qwen3-8b", fixed).setup.batch


def test_what_is_fixed_and_does_not_fit_is_refused_and_not_moved() -> None:
    outcome = fit(
        forms("qwen3-30b-a3b")[-1:],
        room("gpu=4060:8,ram=64"),
        Aim(fixed=Allocation(gpu_layers=99, experts_on_cpu=0)),
    )

    assert isinstance(outcome, NoPlace)
    assert "cuda0" == outcome.shortages[-1].room.key


def test_an_allocation_means_the_setup_that_it_was_made_of() -> None:
    budget = room(MACHINE)
    placement = found("qwen3-30b-a3b", Allocation(devices=("CUDA0", "CUDA1")))
    again = setup_of(
        allocation(placement, budget),
        budget,
        context=placement.context,
        slots=placement.slots,
        embeddings=False,
    )
    demand = placement.form.build()

    assert demand.needs(placement.setup) == {
        **demand.needs(again),
        "cpu": demand.needs(again)["cpu"] + placement.setup.cache_ram_mib * (1 << 20),
    }


IMPOSSIBLE = [
    Allocation(gpu_layers=2),
    Allocation(gpu_layers=99),
    Allocation(experts_on_cpu=5),
    Allocation(gpu_layers=2, experts_on_cpu=5, devices=("CUDA0",)),
    Allocation(devices=(), gpu_layers=3),
    Allocation(devices=("CUDA0",), gpu_layers=0),
]


@pytest.mark.parametrize("fixed", IMPOSSIBLE)
@pytest.mark.parametrize("name", ["qwen3-8b", "qwen3-30b-a3b"])
def test_layers_for_devices_that_are_not_there_stay_on_the_cpu(name: str, fixed: Allocation) -> None:
    assert Place.CPU is found(name, fixed, "ram=64").place


@pytest.mark.parametrize("fixed", IMPOSSIBLE[-2:])
def test_layers_for_devices_that_may_not_be_used_stay_on_the_cpu(fixed: Allocation) -> None:
    assert Place.CPU is found("qwen3-8b", fixed).place


def test_experts_that_a_model_does_not_have_change_nothing() -> None:
    placement = found("qwen3-8b", Allocation(experts_on_cpu=5))

    assert (Place.ONE_GPU, 0) == (placement.place, placement.setup.experts_on_cpu)


allocations = some.builds(
    Allocation,
    gpu_layers=some.sampled_from([None, 0, 2, 20, 99]),
    experts_on_cpu=some.sampled_from([None, 0, 3, 99]),
    devices=some.sampled_from([None, (), ("CUDA0",), ("CUDA1",), ("CUDA0", "CUDA1")]),
    shares=some.sampled_from([None, (1.0, 3.0)]),
)
machines = some.sampled_from(
    ["ram=2", "ram=64", "gpu=4060:8,ram=8", "gpu=2x4060:3,ram=64", MACHINE, "apple=m3max:8"]
)


@settings(max_examples=150, deadline=None)
@given(some.sampled_from(["qwen3-8b", "qwen3-30b-a3b"]), allocations, machines)
def test_whatever_is_fixed_there_is_a_place_or_something_that_is_too_small(
    name: str, fixed: Allocation, machine: str
) -> None:
    outcome = fit(forms(name)[-1:], room(machine), Aim(fixed=fixed, extend=False))

    assert isinstance(outcome, Placement) or outcome.last

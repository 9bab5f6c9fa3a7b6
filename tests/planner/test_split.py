"""Layers are shared among GPUs so that each device can hold its part."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.memory.setup import Setup
from relayd.memory.synthetic import header
from relayd.planner.demand import Demand
from relayd.planner.split import fullest, groups, most, shared
from tests.planner.models import catalogue, room

pytestmark = pytest.mark.pure


def demand(name: str = "qwen3-8b") -> Demand:
    entry = next(one for one in catalogue() if one.name == name)
    assert entry.dimensions
    return Demand(header(entry.dimensions, 4096))


def setup(layers: int) -> Setup:
    return Setup(context=4096, slots=1, gpu_layers=layers)


@given(st.integers(0, 50), st.integers(0, 50), st.integers(-1, 60))
def test_the_largest_number_that_fits_is_found(low: int, more: int, limit: int) -> None:
    expected = None if limit < low else min(limit, low + more)

    assert expected == most(low, low + more, lambda number: number <= limit)


def test_groups_grow_from_two_and_have_one_kind() -> None:
    sizes = [[one.key for one in group] for group in groups(room("gpu=2x3090:24,ram=64"))]

    assert [["cuda0", "cuda1"]] == sizes
    assert [] == list(groups(room("gpu=4090:24,ram=64")))


def test_shares_follow_what_is_usable() -> None:
    budget, model = room("gpu=4090:24,gpu=3060:12,ram=64"), demand()
    found = shared(model, setup(model.layers), budget.gpus)
    assert found

    first, second = (gpu.share for gpu in found.gpus)
    assert 1.5 < first / second < 3
    assert model.layers == first + second


def test_what_does_not_fit_on_a_device_is_not_shared() -> None:
    budget, model = room("gpu=2x3060:8,ram=64"), demand("qwen3-32b")

    assert shared(model, setup(model.layers), budget.gpus) is None


def test_the_fullest_setup_cannot_take_a_layer_more() -> None:
    budget, model = room("gpu=2x3060:8,ram=64"), demand("qwen3-32b")
    found = fullest(model, setup, 2, model.layers, budget.gpus)
    assert found

    assert 0 < found.gpu_layers < model.layers
    assert shared(model, setup(found.gpu_layers + 1), budget.gpus) is None
    assert all(model.needs(found).get(one.key, 0) <= one.usable for one in budget.gpus)


def test_more_memory_never_holds_fewer_layers() -> None:
    model = demand("qwen3-32b")
    found = [
        fullest(model, setup, 2, model.layers, room(f"gpu=2x3090:{size},ram=64").gpus)
        for size in (8, 12, 16, 24)
    ]

    layers = [one.gpu_layers if one else 0 for one in found]
    assert all(before <= after for before, after in pairwise(layers))

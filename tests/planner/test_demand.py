"""Is the sum that a search uses the one that is explained to people?"""

import pytest

from relayd.memory.predict import predict
from relayd.memory.setup import Gpu, Setup
from relayd.memory.synthetic import header
from relayd.planner.demand import Demand
from tests.planner.models import catalogue

pytestmark = pytest.mark.pure

SETUPS = (
    Setup(context=32768, slots=4, gpus=(Gpu("cuda0"),)),
    Setup(context=8192, slots=1, repacked=frozenset({2, 12})),
    Setup(
        context=8192, slots=2, type_k="q8_0", type_v="q8_0", gpu_layers=19,
        gpus=(Gpu("cuda0", 10.5), Gpu("cuda1", 8.5)),
    ),
    Setup(context=8192, slots=2, gpus=(Gpu("amd0"),), experts_on_cpu=7),
)  # fmt: skip


@pytest.mark.parametrize("setup", SETUPS, ids=["one GPU", "CPU", "two GPUs", "experts"])
def test_the_needs_are_the_totals_of_the_prediction_for_every_model(setup: Setup) -> None:
    wrong = {}
    for entry in catalogue():
        if entry.dimensions:
            model = header(entry.dimensions, entry.context or 4096)
            found = predict(model, setup)
            sums = {device: found.total(device) + found.limit(device) for device in found.devices}
            expected = {device: nbytes for device, nbytes in sums.items() if nbytes}
            if expected != (needs := Demand(model).needs(setup)):
                wrong[entry.name] = (expected, needs)
    assert {} == wrong


def test_weights_are_scaled_to_the_size_of_the_file() -> None:
    entry = next(one for one in catalogue() if one.name == "qwen3-8b")
    assert entry.dimensions
    model = header(entry.dimensions, 4096)
    plain, twice = Demand(model), Demand(model, file_bytes=2 * int(model.file_bytes))
    devices = ("cpu",) * plain.layers

    assert plain.weights(Setup(), devices)["cpu"] * 2 == pytest.approx(
        twice.weights(Setup(), devices)["cpu"], rel=1e-3
    )


def test_what_goes_beside_a_model_is_on_its_first_device() -> None:
    entry = next(one for one in catalogue() if one.name == "qwen3-8b")
    assert entry.dimensions
    model = header(entry.dimensions, 4096)
    setup = Setup(context=4096, slots=1, gpus=(Gpu("cuda0"), Gpu("cuda1")))

    plain, more = Demand(model).needs(setup), Demand(model, beside=1 << 30).needs(setup)

    assert {"cuda0": 1 << 30, "cuda1": 0, "cpu": 0} == {key: more[key] - plain[key] for key in plain}

"""Is a described machine the one that people mean?"""

import pytest

from relayd.errors import UsageError
from relayd.planner.simulate import simulate
from relayd.units import GIB
from tests.planner.models import machine

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    ("said", "name", "gb_s"),
    [
        ("4090", "NVIDIA GeForce RTX 4090", 1008),
        ("rtx 4090", "NVIDIA GeForce RTX 4090", 1008),
        ("4070ti", "NVIDIA GeForce RTX 4070 TI", 504),
        ("4070-ti-super", "NVIDIA GeForce RTX 4070 TI SUPER", 672),
        ("1080", "NVIDIA GeForce GTX 1080", 320),
        ("7900xtx", "AMD Radeon RX 7900 XTX", 960),
        ("arc a770", "Intel Arc a770", 560),
        ("rtx6000 ada", "NVIDIA rtx 6000 ada", 960),
    ],
)
def test_people_name_gpus_in_short(said: str, name: str, gb_s: float) -> None:
    (gpu,) = machine(f"gpu={said}:24").gpus

    assert gpu.bandwidth
    assert (name, gb_s) == (gpu.name, gpu.bandwidth.gb_s)


def test_a_machine_has_the_memory_that_is_said_less_what_an_idle_system_holds() -> None:
    found = simulate("gpu=4090:24,ram=64")

    assert (24 * GIB, 64 * GIB) == (found.gpus[0].memory_total, found.memory.total)
    assert 23 * GIB < found.gpus[0].memory_free < 24 * GIB
    assert 62 * GIB < found.usable_ram < 64 * GIB


def test_several_gpus_are_numbered_by_kind() -> None:
    found = simulate("gpu=2x3090:24,gpu=7900xtx:24,ram=32")

    assert ["cuda0", "cuda1", "amd0"] == [gpu.key for gpu in found.gpus]


def test_a_mac_shares_its_memory() -> None:
    found = simulate("apple=m3max:64")

    assert ("Apple M3 Max", True) == (found.gpus[0].name, found.gpus[0].unified)
    assert found.gpus[0].memory_total < found.memory.total


def test_a_machine_without_gpu_is_described_by_its_ram_and_cores() -> None:
    found = simulate("ram=24,cores=2,bandwidth=20")

    assert ((), 2, 20.0) == (
        found.gpus, found.cpu.usable_cores, found.ram_bandwidth and found.ram_bandwidth.gb_s,
    )  # fmt: skip


@pytest.mark.parametrize(
    "said",
    [
        "gpu=4090",
        "gpu=4090:much",
        "gpu=99x4090:24",
        "apple=m3max",
        "apple=x9:8",
        "ram=0",
        "tpu=1",
        "64",
    ],
)
def test_what_cannot_be_understood_is_shown_with_an_example(said: str) -> None:
    with pytest.raises(UsageError, match="--simulate cannot use") as caught:
        simulate(said)

    assert "gpu=4090:24,ram=64" in caught.value.remedy

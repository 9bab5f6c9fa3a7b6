"""Is a described machine the one that people mean?"""

import re

import pytest

from relayd.errors import UsageError
from relayd.hardware.bandwidth import SPECIFICATIONS, catalogued
from relayd.planner.cards import sold_with
from relayd.planner.simulate import full_name, simulate, simulated
from relayd.ui.machine import machine_line
from relayd.units import GIB
from tests.planner.models import machine

pytestmark = pytest.mark.pure

CARDS = [
    row.strip().split(" ", 1)[1]
    for source, text in SPECIFICATIONS.items()
    if not re.search("Apple|channels|Jetson", source)
    for row in re.split(r"[;\n]", text.strip())
    if not re.search("8060s|8050s|strix|ryzen", row)
]
"""Names of devices with memory of their own, as the table of bandwidths has them."""


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
    ("said", "line"),
    [
        ("2x3090", "2 x RTX 3090, 24 GiB, 936 GB/s; 16 GiB RAM (assumed)"),
        ("gpu=4090", "RTX 4090, 24 GiB, 1008 GB/s; 16 GiB RAM (assumed)"),
        ("rtx4090", "RTX 4090, 24 GiB, 1008 GB/s; 16 GiB RAM (assumed)"),
        ("RTX 4090 + 64gb ram", "RTX 4090, 24 GiB, 1008 GB/s; 64 GiB RAM"),
        ("rtx 3060 12gb, ram=32", "RTX 3060, 12 GiB, 360 GB/s; 32 GiB RAM"),
        ("8 x h100, ram=1024", "8 x H100 SXM, 80 GiB, 3350 GB/s; 1024 GiB RAM"),
        ("m4 max 64", "Apple M4 Max, 48 GiB of RAM for it, 546 GB/s; 64 GiB RAM"),
        ("gpu=M2:16", "Apple M2, 11 GiB of RAM for it, 100 GB/s; 16 GiB RAM"),
        ("macbook pro m3 pro 36gb", "Apple M3 Pro, 24 GiB of RAM for it, 150 GB/s; 36 GiB RAM"),
        ("strix halo 128", "Radeon 8060S, 96 GiB of RAM for it, 256 GB/s; 128 GiB RAM"),
        ("Ryzen AI Max+ 395 128GB", "Radeon 8060S, 96 GiB of RAM for it, 256 GB/s; 128 GiB RAM"),
        ("dgx spark", "GB10, 118 GiB of RAM for it, 273 GB/s; 119 GiB RAM"),
        ("cpu=8", "16 GiB RAM (assumed), 60 GB/s (assumed), 8 cores"),
        ("8gb laptop, 4 cores", "8 GiB RAM, 60 GB/s (assumed), 4 cores"),
        ("ram=24,cores=2,bandwidth=20", "24 GiB RAM, 20 GB/s, 2 cores"),
        ("gpu=mine:24@900,ram=32", "mine, 24 GiB, 900 GB/s; 32 GiB RAM"),
    ],
)
def test_a_machine_is_described_as_people_say_it_and_what_is_assumed_is_shown(said: str, line: str) -> None:
    found = simulated(said)

    assert f"Simulated: {line}" == machine_line(catalogued(found.machine), found.assumed)


@pytest.mark.parametrize("name", CARDS)
def test_every_device_whose_bandwidth_is_known_is_sold_with_some_memory(name: str) -> None:
    assert sold_with(full_name(name)[0]), name


@pytest.mark.parametrize(
    "said",
    [
        "gpu=foo:24",
        "gpu=4090:240",
        "4090 64gb",
        "gpu=4090:much",
        "gpu=99x4090:24",
        "apple=m3max",
        "apple=x9:8",
        "ram=0",
        "tpu=1",
        "64",
        "strix halo",
        "0x4090",
        "8 parrots",
    ],
)
def test_what_cannot_be_understood_is_shown_with_an_example(said: str) -> None:
    with pytest.raises(UsageError, match="--simulate cannot use") as caught:
        simulate(said)

    assert "gpu=4090:24,ram=64" in caught.value.remedy

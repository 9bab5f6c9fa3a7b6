"""Which bandwidth a name means, and which names mean none."""

from dataclasses import replace

import pytest

from relayd.hardware.bandwidth import SPECIFICATIONS, catalogued, look_up
from relayd.hardware.machine import Bandwidth, Cpu, Device, DeviceKind, Machine, Memory
from relayd.units import GIB, Bytes

pytestmark = pytest.mark.pure

RAM = Memory(Bytes(64 * GIB), Bytes(48 * GIB))
MACHINE = Machine("linux", "x86_64", Cpu("AMD Ryzen 9 7950X 16-Core Processor", 16, 32, 16), RAM)


def gpu(name: str, *, unified: bool = False, kind: DeviceKind = DeviceKind.CUDA) -> Device:
    return Device(kind, 0, "", name, Bytes(GIB), Bytes(GIB), unified)


@pytest.mark.parametrize(
    ("name", "gb_s"),
    [
        ("NVIDIA GeForce RTX 4090", 1008),
        ("NVIDIA GeForce RTX 4070 Ti SUPER", 672),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", 576),
        ("NVIDIA GeForce RTX 5060", 448),
        ("NVIDIA H100 80GB HBM3", 3350),
        ("NVIDIA H100 PCIe", 2000),
        ("NVIDIA H200", 4800),
        ("NVIDIA A100-SXM4-40GB", 1555),
        ("NVIDIA A100-SXM4-80GB", 2039),
        ("NVIDIA A100 80GB PCIe", 1935),
        ("NVIDIA L40S", 864),
        ("NVIDIA L4", 300),
        ("NVIDIA A10G", 600),
        ("NVIDIA A10", 600),
        ("Tesla T4", 320),
        ("Tesla V100-SXM2-32GB", 900),
        ("NVIDIA RTX 6000 Ada Generation", 960),
        ("Quadro RTX 6000", 672),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", 1597),
        ("NVIDIA GB10", 273),
        ("AMD Radeon RX 9070", 640),
        ("AMD Radeon RX 7900 XTX (RADV NAVI31)", 960),
        ("AMD RYZEN AI MAX+ PRO 395 w/ Radeon 8060S", 256),
        ("AMD Instinct MI300X", 5300),
        ("Intel(R) Arc(TM) A770 Graphics", 560),
        ("Apple M4 Max", 546),
        ("Apple M4 Max 14", 410),
        ("Apple M4 Max 16", 546),
        ("Apple M1", 68.25),
    ],
)
def test_the_longest_run_of_words_decides(name: str, gb_s: float) -> None:
    found = look_up(name)

    assert found is not None
    assert (gb_s, "catalogue") == (found.gb_s, found.basis)
    assert found.source in SPECIFICATIONS


@pytest.mark.parametrize(
    "name",
    [
        "",
        "NVIDIA GeForce RTX 4050 Laptop GPU",
        "NVIDIA GeForce RTX 2080 with Max-Q Design",
        "NVIDIA GeForce RTX 3050 Ti Laptop GPU",
        "Apple M5 Ultra",
        "AMD Ryzen 5 7600 6-Core Processor",
        "Intel(R) UHD Graphics 630",
        "AMD Radeon 780M Graphics",
        "NVIDIA RTX 4000 SFF Ada Generation",
    ],
)
def test_a_name_that_is_not_in_the_table_is_unknown_and_not_a_neighbour(name: str) -> None:
    assert look_up(name) is None


def test_an_old_integrated_gpu_is_as_fast_as_ram_and_no_faster() -> None:
    measured = Bandwidth(25.6, "measured", "2 threads reading RAM")
    hd_4000 = gpu("Intel HD Graphics 4000", unified=True, kind=DeviceKind.INTEL)
    machine = catalogued(replace(MACHINE, gpus=(hd_4000,), ram_bandwidth=measured))

    assert [measured, measured] == [device.bandwidth for device in machine.devices]


def test_what_is_not_known_stays_open() -> None:
    machine = catalogued(replace(MACHINE, gpus=(gpu("Some GPU", unified=True), gpu("RTX 9999"))))

    assert [None, None, None] == [device.bandwidth for device in machine.devices]


def test_what_a_device_has_already_stays() -> None:
    slice_of_it = Bandwidth(100.0, "catalogue", "an eighth")
    machine = catalogued(replace(MACHINE, gpus=(replace(gpu("RTX 4090"), bandwidth=slice_of_it),)))

    assert slice_of_it == machine.gpus[0].bandwidth


def test_the_cores_of_a_mac_tell_its_dies_apart() -> None:
    mac = Machine("macos", "arm64", Cpu("Apple M3 Max", 14, 14, 14), RAM)
    metal = gpu("Apple M3 Max", unified=True, kind=DeviceKind.METAL)

    assert [300, 300] == [
        device.bandwidth and device.bandwidth.gb_s
        for device in catalogued(replace(mac, gpus=(metal,))).devices
    ]

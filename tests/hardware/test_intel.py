"""Which Intel GPUs are found, from kernel files as documented; no Intel GPU has run these yet."""

from collections.abc import Callable
from pathlib import Path

import pytest

from relayd.hardware.intel import read_devices
from relayd.hardware.machine import Device, DeviceKind, Memory, MemoryHolder, MemoryLimit
from relayd.units import GIB, Bytes

pytestmark = pytest.mark.system

HOST = Memory(Bytes(16 * GIB), Bytes(9 * GIB))

Lay = Callable[[str], Path]


def test_i915_tells_total_and_free(machine_files: Lay) -> None:
    assert (
        (
            Device(
                DeviceKind.INTEL,
                0,
                "",
                "Intel Arc A770",
                Bytes(17095983104),
                Bytes(16000000000),
                pci="0000:03:00.0",
            ),
        ),
        (),
    ) == read_devices(machine_files("intel_a770_i915"), HOST)


def test_xe_tells_what_each_tile_has_and_what_this_user_s_processes_hold(machine_files: Lay) -> None:
    (gpu,), notes = read_devices(machine_files("intel_b580_xe"), HOST)

    assert "Intel Arc B580" == gpu.name
    assert (MemoryHolder(7, "llama-server", Bytes(2 * GIB)),) == gpu.holders
    assert (12750684160, 12750684160 - 2 * GIB) == (gpu.memory_total, gpu.memory_free)
    assert "other users" in notes[0]


def test_a_resizable_bar_shows_all_of_the_memory(machine_files: Lay) -> None:
    (gpu,), _ = read_devices(machine_files("intel_a770_resizable_bar"), HOST)

    assert 16 * GIB == gpu.memory_total


def test_a_bar_of_256_mib_is_not_taken_for_the_memory(machine_files: Lay) -> None:
    (gpu,), notes = read_devices(machine_files("intel_a770_small_bar"), HOST)

    assert ("Intel GPU 0x56a0", 0, 0) == (gpu.name, gpu.memory_total, gpu.memory_free)
    assert "does not report its memory" in notes[0]


def test_a_processor_is_no_second_gpu_and_neither_is_its_npu(machine_files: Lay) -> None:
    (gpu,), notes = read_devices(machine_files("intel_laptop"), HOST)

    assert () == notes
    assert ("0000:00:02.0", True, True) == (gpu.pci, gpu.unified, gpu.display)
    assert "Intel 3rd Gen Core processor Graphics Controller" == gpu.name


def test_an_integrated_gpu_has_what_the_host_may_use_and_not_a_share_of_it(machine_files: Lay) -> None:
    limited = Memory(Bytes(16 * GIB), Bytes(9 * GIB), MemoryLimit(Bytes(8 * GIB), Bytes(GIB), Bytes(0)))
    root = machine_files("intel_laptop")

    assert [(16 * GIB, 9 * GIB), (8 * GIB, 7 * GIB)] == [
        (gpu.memory_total, gpu.memory_free) for host in (HOST, limited) for gpu in read_devices(root, host)[0]
    ]


def test_a_virtual_function_is_not_counted_beside_its_card(machine_files: Lay) -> None:
    assert ((), ()) == read_devices(machine_files("intel_virtual_function"), HOST)

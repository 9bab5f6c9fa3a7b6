"""Which AMD GPUs are found, from kernel files as documented; no AMD GPU has run these yet."""

from collections.abc import Callable
from pathlib import Path

import pytest

from relayd.hardware.amd import read_devices
from relayd.hardware.machine import Device, DeviceKind, Memory, MemoryHolder
from relayd.units import GIB, MIB, Bytes

pytestmark = pytest.mark.system

HOST = Memory(Bytes(32 * GIB), Bytes(20 * GIB))

Lay = Callable[[str], Path]


def one(root: Path, host: Memory = HOST) -> Device:
    (device,), notes = read_devices(root, host)
    assert () == notes
    return device


def test_a_card_is_described_with_who_holds_its_memory(machine_files: Lay) -> None:
    assert Device(
        DeviceKind.AMD,
        0,
        "GPU-5c88a1f9d2b34e07",
        "AMD Radeon RX 7900 XTX",
        Bytes(25753026560),
        Bytes(25753026560 - 1291845632),
        architecture="gfx1100",
        pci="0000:03:00.0",
        display=True,
        holders=(MemoryHolder(412, "llama-server", Bytes(GIB)), MemoryHolder(90, "Xorg", Bytes(128 * MIB))),
    ) == one(machine_files("amd_rx_7900_xtx"))


def test_an_apu_with_a_carve_out_of_512_mib_has_the_memory_of_its_host(machine_files: Lay) -> None:
    gpu = one(machine_files("amd_780m_carve_out_512_mib"))

    assert ("AMD Radeon 780M Graphics", "gfx1103", True) == (gpu.name, gpu.architecture, gpu.unified)
    assert (16 * GIB, 16 * GIB - 300 * MIB) == (gpu.memory_total, gpu.memory_free)


def test_an_apu_takes_no_more_than_its_host_has_free(machine_files: Lay) -> None:
    gpu = one(machine_files("amd_strix_halo_shared"), Memory(Bytes(124 * GIB), Bytes(90 * GIB)))

    assert (120 * GIB, 90 * GIB) == (gpu.memory_total, gpu.memory_free)


def test_strix_halo_with_a_large_carve_out_has_memory_of_its_own(machine_files: Lay) -> None:
    gpu = one(machine_files("amd_strix_halo_carve_out_96_gib"))

    assert (96 * GIB, 94 * GIB, False) == (gpu.memory_total, gpu.memory_free, gpu.unified)


def test_cards_of_32_gib_are_not_cut_to_8_or_4_and_stand_in_bus_order(machine_files: Lay) -> None:
    (first, second), _ = read_devices(machine_files("amd_two_r9700"), HOST)

    assert ("GPU-1", "GPU-2") == (first.uuid, second.uuid)
    assert ("0000:03:00.0", "0000:83:00.0") == (first.pci, second.pci)
    assert (31, 23) == (second.memory_total // GIB, first.memory_free // GIB)
    assert "gfx1201" == first.architecture


def test_an_accelerator_without_a_display_or_a_name_is_found(machine_files: Lay) -> None:
    gpu = one(machine_files("amd_mi300x_virtual"))

    assert ("AMD GPU 0x74a1", "", "gfx942", 191) == (
        gpu.name,
        gpu.uuid,
        gpu.architecture,
        gpu.memory_total // GIB,
    )


def test_a_card_of_another_driver_is_a_note(machine_files: Lay) -> None:
    devices, notes = read_devices(machine_files("amd_radeon_driver"), HOST)

    assert () == devices
    assert "driven by radeon" in notes[0]


def test_another_maker_s_card_is_none(machine_files: Lay) -> None:
    assert ((), ()) == read_devices(machine_files("intel_b580_xe"), HOST)

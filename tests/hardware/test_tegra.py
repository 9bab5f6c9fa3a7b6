"""What is known of a Jetson without NVML, from kernel files as documented; no Jetson has run these yet."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from relayd.hardware import nvidia, tegra
from relayd.hardware.bandwidth import look_up
from relayd.hardware.machine import Memory
from relayd.units import GIB, Bytes

pytestmark = pytest.mark.system

HOST = Memory(Bytes(64 * GIB), Bytes(50 * GIB))

Lay = Callable[[str], Path]


def no_nvml() -> Any:
    raise ImportError


def test_a_jetson_whose_system_has_no_nvml_has_the_memory_of_its_host(machine_files: Lay) -> None:
    (gpu,), notes = nvidia.read_devices(no_nvml, HOST, machine_files("jetson_orin"), {})

    assert () == notes
    assert ("NVIDIA Jetson AGX Orin Developer Kit", (8, 7), True) == (
        gpu.name,
        gpu.compute_capability,
        gpu.unified,
    )
    assert (64 * GIB, 50 * GIB) == (gpu.memory_total, gpu.memory_free)
    found = look_up(gpu.name)
    assert found is not None
    assert 204.8 == found.gb_s


def test_other_boards_are_no_jetson(tmp_path: Path) -> None:
    (tmp_path / "proc/device-tree").mkdir(parents=True)
    (tmp_path / "proc/device-tree/compatible").write_text("raspberrypi,5-model-b\0brcm,bcm2712\0")

    assert () == tegra.read_devices(tmp_path, HOST)

"""What NVML tells of MIG, of processes and of displays, through an NVML that fails where it is told to."""

from pathlib import Path

import pynvml
import pytest

from relayd.hardware.machine import Device, Memory, MemoryHolder
from relayd.hardware.nvml import Reader
from relayd.units import GIB, MIB, Bytes
from tests.fakes.nvml import Gpu, Nvml, rtx

HOST = Memory(Bytes(128 * GIB), Bytes(100 * GIB))


def found(*gpus: Gpu, root: Path = Path("/nonexistent")) -> tuple[tuple[Device, ...], list[str]]:
    reader = Reader(Nvml(*gpus), HOST, root)
    return reader.devices(), reader.notes


def h100(instances: dict[int, Gpu | int]) -> Gpu:
    return Gpu("NVIDIA H100 80GB HBM3", "GPU-h", 80 * GIB, capability=(9, 0), mig=True, instances=instances)


def part(number: int, total: int, free: int, **said: object) -> Gpu:
    name = f"NVIDIA H100 80GB HBM3 MIG {total // 10 // GIB}g.{total // GIB}gb"
    return Gpu(name, f"MIG-{number}", total, 0, free, **said)  # type: ignore[arg-type]  # fields a test names


@pytest.mark.fake
def test_mig_instances_are_devices_with_their_own_memory_and_not_the_card_s() -> None:
    devices, notes = found(h100({0: part(0, 40 * GIB, 39 * GIB), 3: part(3, 10 * GIB, 9 * GIB)}), rtx(1))

    assert [] == notes
    assert [
        ("cuda0.0", "MIG-0", 39 * GIB),
        ("cuda0.3", "MIG-3", 9 * GIB),
        ("cuda1", "GPU-1a1b", 20 * GIB),
    ] == [(device.key, device.uuid, device.memory_free) for device in devices]
    assert {(9, 0)} == {device.compute_capability for device in devices[:2]}


@pytest.mark.fake
def test_a_mig_instance_reads_at_its_share_of_the_bandwidth() -> None:
    devices, _ = found(h100({0: part(0, 40 * GIB, 39 * GIB), 3: part(3, 10 * GIB, 9 * GIB)}))

    assert [3350 / 2, 3350 / 8] == [device.bandwidth and device.bandwidth.gb_s for device in devices]


@pytest.mark.fake
def test_a_mig_instance_without_permission_costs_a_note_and_not_its_siblings() -> None:
    devices, notes = found(h100({0: pynvml.NVML_ERROR_NO_PERMISSION, 1: part(1, 40 * GIB, 39 * GIB)}))

    assert ["cuda0.1"] == [device.key for device in devices]
    assert "MIG instance 0" in notes[0]
    assert "Insufficient Permissions" in notes[0]


@pytest.mark.fake
def test_mig_without_instances_is_a_note_with_the_remedy() -> None:
    devices, notes = found(h100({}), rtx(1))

    assert ["cuda1"] == [device.key for device in devices]
    assert "nvidia-smi mig -cgi" in notes[0]


@pytest.mark.fake
def test_a_jetson_that_nvml_knows_shares_ram_whatever_memory_it_reports() -> None:
    (orin,), notes = found(Gpu("Orin (nvgpu)", "GPU-o", total=GIB))

    assert (True, 128 * GIB, 100 * GIB, []) == (orin.unified, orin.memory_total, orin.memory_free, notes)


@pytest.mark.system
def test_who_holds_memory_is_named_once_and_the_largest_first(tmp_path: Path) -> None:
    (tmp_path / "proc/412").mkdir(parents=True)
    (tmp_path / "proc/412/comm").write_text("python3\n")
    busy = rtx(0, computing=((412, 6 * GIB), (9, 8 * GIB)), drawing=((412, 6 * GIB), (77, None)))
    (gpu,), _ = found(busy, root=tmp_path)

    assert (
        MemoryHolder(9, "", Bytes(8 * GIB)),
        MemoryHolder(412, "python3", Bytes(6 * GIB)),
        MemoryHolder(77, "", None),
    ) == gpu.holders


@pytest.mark.fake
def test_free_memory_is_what_counts_and_not_total_minus_what_holders_are_known() -> None:
    (gpu,), _ = found(rtx(0, free=3 * GIB, computing=((412, 6 * GIB),)))

    assert (24 * GIB - 512 * MIB, 3 * GIB) == (gpu.memory_total, gpu.memory_free)


@pytest.mark.fake
def test_a_gpu_that_drives_a_display_says_so() -> None:
    devices, _ = found(rtx(0, display=True), rtx(1))

    assert [True, False] == [gpu.display for gpu in devices]


@pytest.mark.fake
@pytest.mark.parametrize(
    "function",
    [
        "nvmlDeviceGetComputeRunningProcesses",
        "nvmlDeviceGetGraphicsRunningProcesses",
        "nvmlDeviceGetDisplayActive",
        "nvmlDeviceGetPciInfo",
    ],
)
def test_what_nobody_misses_costs_no_note(function: str) -> None:
    (gpu,), notes = found(rtx(0, faults={function: pynvml.NVML_ERROR_NOT_SUPPORTED}))

    assert ((), False, []) == (gpu.holders, gpu.display, notes)

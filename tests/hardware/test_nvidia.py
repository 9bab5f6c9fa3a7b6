"""Which NVIDIA devices are found, through an NVML that fails where it is told to."""

import shutil
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pynvml
import pytest

from relayd.hardware.bandwidth import look_up
from relayd.hardware.machine import Device, DeviceKind, Memory
from relayd.hardware.nvidia import read_devices, select
from relayd.units import GIB, MIB, Bytes
from tests.fakes.nvml import Gpu, Nvml, rtx

HOST = Memory(Bytes(128 * GIB), Bytes(100 * GIB))


def found(
    nvml: Nvml, root: Path = Path("/nonexistent"), environ: Mapping[str, str] | None = None
) -> tuple[tuple[Device, ...], tuple[str, ...]]:
    result = read_devices(lambda: nvml, HOST, root, environ or {})
    assert 0 == nvml.started
    return result


def bus(root: Path, *, vendor: str = "0x10de", kind: str = "0x030200") -> Path:
    device = root / "sys/bus/pci/devices/0000:01:00.0"
    device.mkdir(parents=True)
    (device / "vendor").write_text(f"{vendor}\n")
    (device / "class").write_text(f"{kind}\n")
    return root


@pytest.mark.fake
def test_two_devices_are_described() -> None:
    devices, notes = found(Nvml(rtx(0), rtx(1, free=3 * GIB)))

    assert () == notes
    assert (20 * GIB, 3 * GIB) == tuple(device.memory_free for device in devices)
    assert (
        Device(
            DeviceKind.CUDA,
            0,
            "GPU-0a1b",
            "NVIDIA GeForce RTX 4090",
            Bytes(24 * GIB - 512 * MIB),
            Bytes(20 * GIB),
            driver="580.65.06",
            compute_capability=(8, 9),
            cuda_version=(13, 0),
            pci="0000:01:00.0",
            bandwidth=look_up("RTX 4090"),
        )
        == devices[0]
    )


@pytest.mark.fake
@pytest.mark.parametrize(
    "function",
    ["nvmlDeviceGetName", "nvmlDeviceGetUUID", "nvmlDeviceGetCudaComputeCapability"],
)
def test_a_field_that_fails_costs_a_note_and_not_the_device(function: str) -> None:
    devices, notes = found(Nvml(rtx(0), rtx(1, faults={function: pynvml.NVML_ERROR_UNKNOWN})))

    assert 2 == len(devices)
    assert 20 * GIB == devices[1].memory_free
    assert 1 == len(notes)
    assert "GPU 1" in notes[0]
    assert "Unknown Error" in notes[0]


@pytest.mark.fake
def test_unreadable_memory_leaves_nothing_to_plan_with() -> None:
    lost = {"nvmlDeviceGetMemoryInfo_v2": pynvml.NVML_ERROR_GPU_IS_LOST}
    devices, notes = found(Nvml(rtx(0, faults=lost)))

    assert (0, 0) == (devices[0].memory_total, devices[0].memory_free)
    assert "GPU is lost" in notes[0]


@pytest.mark.fake
def test_old_drivers_are_asked_the_old_way() -> None:
    old = {"nvmlDeviceGetMemoryInfo_v2": pynvml.NVML_ERROR_FUNCTION_NOT_FOUND}
    devices, notes = found(Nvml(rtx(0, faults=old)))

    assert (24 * GIB, ()) == (devices[0].memory_total, notes)


@pytest.mark.fake
def test_integrated_devices_have_the_memory_of_the_host() -> None:
    unknown = {"nvmlDeviceGetMemoryInfo_v2": pynvml.NVML_ERROR_NOT_SUPPORTED}
    (gb10,), notes = found(Nvml(Gpu("NVIDIA GB10", "GPU-9", faults=unknown)))

    assert () == notes
    assert (True, 128 * GIB, 100 * GIB) == (gb10.unified, gb10.memory_total, gb10.memory_free)


@pytest.mark.fake
def test_a_device_without_a_handle_is_left_out() -> None:
    lost = {"nvmlDeviceGetHandleByIndex": pynvml.NVML_ERROR_GPU_IS_LOST}
    devices, notes = found(Nvml(rtx(0, faults=lost), rtx(1)))

    assert [1] == [device.index for device in devices]
    assert "GPU 0" in notes[0]


@pytest.mark.fake
def test_a_device_that_does_not_know_mig_is_whole() -> None:
    devices, notes = found(Nvml(rtx(0, faults={"nvmlDeviceGetMigMode": pynvml.NVML_ERROR_NOT_SUPPORTED})))

    assert (1, ()) == (len(devices), notes)


@pytest.mark.fake
@pytest.mark.parametrize(
    "function", ["nvmlDeviceGetCount", "nvmlSystemGetDriverVersion", "nvmlSystemGetCudaDriverVersion"]
)
def test_nvml_that_fails_after_its_start_costs_a_note(function: str) -> None:
    _, notes = found(Nvml(rtx(0), faults={function: pynvml.NVML_ERROR_UNKNOWN}))

    assert 1 == len(notes)


@pytest.mark.fake
def test_nvml_that_does_not_stop_is_no_fault() -> None:
    devices, notes = found(Nvml(rtx(0), faults={"nvmlShutdown": pynvml.NVML_ERROR_UNKNOWN}))

    assert (1, ()) == (len(devices), notes)


@pytest.mark.fake
def test_a_driver_updated_under_its_module_is_told_with_the_remedy() -> None:
    devices, notes = found(Nvml(rtx(0), faults={"nvmlInit": pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH}))

    assert () == devices
    assert "restart" in notes[0]


@pytest.mark.system
@pytest.mark.parametrize("code", [pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, pynvml.NVML_ERROR_DRIVER_NOT_LOADED])
def test_a_missing_driver_matters_only_where_there_is_a_gpu(tmp_path: Path, code: int) -> None:
    nvml = Nvml(faults={"nvmlInit": code})

    assert ((), ()) == found(nvml, tmp_path)
    _, notes = found(nvml, bus(tmp_path))
    assert 1 == len(notes)


@pytest.mark.system
@pytest.mark.parametrize(("vendor", "kind"), [("0x1002", "0x030000"), ("0x10de", "0x040300")])
def test_other_devices_on_the_bus_miss_no_driver(tmp_path: Path, vendor: str, kind: str) -> None:
    nvml = Nvml(faults={"nvmlInit": pynvml.NVML_ERROR_LIBRARY_NOT_FOUND})

    assert ((), ()) == found(nvml, bus(tmp_path, vendor=vendor, kind=kind))


@pytest.mark.system
def test_a_missing_module_is_told_where_there_is_a_gpu(tmp_path: Path) -> None:
    def load() -> Any:
        raise ImportError

    assert ((), ()) == read_devices(load, HOST, tmp_path, {})
    _, notes = read_devices(load, HOST, bus(tmp_path), {})
    assert "nvidia-ml-py" in notes[0]


@pytest.mark.fake
def test_a_gpu_that_hangs_costs_seconds_and_a_note() -> None:
    released = threading.Event()
    ended = threading.Event()

    class Hanging(Nvml):
        def nvmlDeviceGetCount(self) -> int:  # noqa: N802 - NVML's name
            released.wait()
            return 0

        def nvmlShutdown(self) -> None:  # noqa: N802 - NVML's name
            ended.set()

    try:
        devices, (note,) = read_devices(Hanging, HOST, Path("/nonexistent"), {}, 0.01)
    finally:
        released.set()
        ended.wait()

    assert () == devices
    assert "did not answer within 0.01 s" in note


@pytest.mark.system
def test_without_the_drivers_library_the_module_is_not_imported(tmp_path: Path) -> None:
    (tmp_path / "libnvidia-ml.so.1").write_text("no library")

    assert "OSError False" == loaded(tmp_path)


@pytest.mark.system
@pytest.mark.skipif(shutil.which("cc") is None, reason="a C compiler makes the library")
def test_a_library_where_the_loader_does_not_look_is_loaded(tmp_path: Path) -> None:
    library = str(tmp_path / "libnvidia-ml.so.1")
    made = ["cc", "-shared", "-Wl,-soname,libnvidia-ml.so.1", "-o", library, "-x", "c", "/dev/null"]
    subprocess.run(made, check=True)

    assert "pynvml True" == loaded(tmp_path)


def loaded(folder: Path) -> str:
    """Return what loading gives where a folder is searched too, and whether the module is imported then."""
    program = f"""
import sys
from relayd.hardware.nvidia import load_nvml
try:
    given = load_nvml(({str(folder)!r}, {str(folder / "missing")!r})).__name__
except OSError as error:
    given = type(error).__name__
print(given, "pynvml" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.system
def test_a_missing_library_matters_only_where_there_is_a_gpu(tmp_path: Path) -> None:
    def load() -> Any:
        raise OSError

    assert ((), ()) == read_devices(load, HOST, tmp_path, {})
    _, notes = read_devices(load, HOST, bus(tmp_path), {})
    assert "install the driver" in notes[0]


def card(index: int, name: str = "RTX") -> Device:
    return Device(DeviceKind.CUDA, index, f"GPU-{index}a1b", name, Bytes(GIB), Bytes(GIB))


@pytest.mark.pure
@pytest.mark.parametrize(
    ("visible", "indices"),
    [
        ("1", [1]),
        ("2,0", [2, 0]),
        ("GPU-1", [1]),
        ("GPU-2a1b, 0", [2, 0]),
        ("", []),
        ("-1", []),
        ("1,9,0", [1]),
        ("GPU-", []),
        ("MIG-77", []),
        ("1,1", [1]),
    ],
)
def test_cuda_visible_devices_is_read_as_cuda_does(visible: str, indices: list[int]) -> None:
    chosen, notes = select((card(0), card(1), card(2)), {"CUDA_VISIBLE_DEVICES": visible})

    assert indices == [device.index for device in chosen]
    assert (f"CUDA_VISIBLE_DEVICES={visible} leaves {len(indices)} of 3 NVIDIA devices",) == notes


@pytest.mark.pure
def test_without_the_variable_every_device_is_visible() -> None:
    devices = (card(0), card(1))

    assert (devices, ()) == select(devices, {})


@pytest.mark.pure
@pytest.mark.parametrize(
    ("environ", "warned"),
    [
        ({"CUDA_VISIBLE_DEVICES": "0"}, True),
        ({"CUDA_VISIBLE_DEVICES": "0", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}, False),
        ({"CUDA_VISIBLE_DEVICES": "GPU-0"}, False),
    ],
    ids=["fastest first", "PCI order", "UUID"],
)
def test_indices_of_unlike_devices_are_doubtful(environ: dict[str, str], warned: bool) -> None:
    _, notes = select((card(0), card(1, "A4000")), environ)

    assert warned == any("CUDA_DEVICE_ORDER" in note for note in notes)


@pytest.mark.pure
@pytest.mark.parametrize(
    ("visible", "keys"),
    [
        ("MIG-b", ["cuda0.1"]),
        ("MIG-", []),
        ("0", ["cuda0.0"]),
        ("1,MIG-a", ["cuda1", "cuda0.0"]),
        ("GPU-0", []),
    ],
)
def test_mig_instances_are_chosen_by_uuid_and_a_divided_device_means_its_first(
    visible: str, keys: list[str]
) -> None:
    first, second = (replace(card(0), instance=i, uuid=uuid) for i, uuid in enumerate(("MIG-a1", "MIG-b2")))
    chosen, _ = select((first, second, card(1)), {"CUDA_VISIBLE_DEVICES": visible})

    assert keys == [device.key for device in chosen]

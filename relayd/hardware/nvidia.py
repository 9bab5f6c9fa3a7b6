"""NVIDIA devices that this process may use, from NVML."""

import contextlib
import ctypes
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from relayd.hardware import tegra
from relayd.hardware.kernel import read_text
from relayd.hardware.machine import Device, Memory
from relayd.hardware.nvml import Reader

INIT_REMEDIES = {
    "NVML_ERROR_LIBRARY_NOT_FOUND": "install the driver, or start the container with its GPUs",
    "NVML_ERROR_DRIVER_NOT_LOADED": "load the kernel module: modprobe nvidia",
    "NVML_ERROR_LIB_RM_VERSION_MISMATCH": "the driver was updated under a running kernel module: restart",
    "NVML_ERROR_NO_PERMISSION": "give this user access to /dev/nvidia*",
}
"""What to do when NVML does not start, by the names of its error codes."""


UUIDS = ("GPU-", "MIG-")
"""How the UUIDs of devices and of MIG instances begin."""

LIBRARY = "libnvidia-ml.so.1"

LIBRARY_FOLDERS = ("/usr/lib/wsl/lib", "/run/opengl-driver/lib", "/var/lib/snapd/lib/gl")
"""Where WSL, NixOS and snaps keep the driver's libraries, which the loader does not search everywhere."""

PATIENCE_SECONDS = 10.0
"""How long NVML may take in all: a GPU that fell off the bus can block a call without limit."""

Found = tuple[tuple[Device, ...], tuple[str, ...]]
"""Devices, and notes on what went wrong."""


def load_nvml(folders: Sequence[str] = LIBRARY_FOLDERS) -> Any:
    """Return the module `pynvml`.

    Args:
        folders: Where the driver's library may be, beside where the loader searches.

    Raises:
        OSError: The driver's library is not here. The module takes 1 MB, which a daemon then need not hold.
        ImportError: The module is not installed.
    """
    for folder in folders:
        if (library := Path(folder, LIBRARY)).exists():
            with contextlib.suppress(OSError):
                ctypes.CDLL(str(library))
    ctypes.CDLL(LIBRARY)  # by its bare name, as pynvml does; this finds what is loaded already
    import pynvml

    return pynvml


def read_devices(
    load: Callable[[], Any],
    host: Memory,
    root: Path,
    environ: Mapping[str, str],
    patience_seconds: float = PATIENCE_SECONDS,
) -> Found:
    """Return the NVIDIA devices that the environment leaves visible, and notes on what went wrong.

    Args:
        load: Returns a module with the interface of `pynvml`.
        host: RAM, which is also the memory of integrated devices.
        root: The folder that holds `proc` and `sys`.
        environ: Read for `CUDA_VISIBLE_DEVICES` and `CUDA_DEVICE_ORDER`.
        patience_seconds: How long NVML may take.
    """
    answers: list[Found] = []
    asking = threading.Thread(
        target=lambda: answers.append(_read(load, host, root)), name="nvml", daemon=True
    )
    asking.start()
    asking.join(patience_seconds)
    if asking.is_alive():
        note = f"NVML did not answer within {patience_seconds:g} s, so no NVIDIA device is used"
        return (), (f"{note}: a GPU hangs, see dmesg for NVRM and Xid, and restart the machine",)
    devices, notes = answers[0]
    visible, choice = select(devices, environ)
    return visible, (*notes, *choice)


def _read(load: Callable[[], Any], host: Memory, root: Path) -> Found:
    try:
        nvml = load()
    except OSError:
        remedy = INIT_REMEDIES["NVML_ERROR_LIBRARY_NOT_FOUND"]
        note = f"NVML did not start (NVML Shared Library Not Found): {remedy}"
        return _without_nvml(root, host, _absence(root, note))
    except ImportError:
        return _without_nvml(root, host, _absence(root, "pynvml is not installed: pip install nvidia-ml-py"))
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return _without_nvml(root, host, _failure(nvml, error, root))
    try:
        reader = Reader(nvml, host, root)
        return reader.devices(), tuple(reader.notes)
    finally:
        with contextlib.suppress(nvml.NVMLError):
            nvml.nvmlShutdown()


def _without_nvml(root: Path, host: Memory, notes: tuple[str, ...]) -> Found:
    return tegra.read_devices(root, host), notes


def select(devices: tuple[Device, ...], environ: Mapping[str, str]) -> Found:
    """Return the devices in the order of `CUDA_VISIBLE_DEVICES`, and a note for each change.

    As in CUDA, entries are indices or unique prefixes of a UUID, and the first that names no device
    hides what follows (CUDA Programming Guide, "CUDA environment variables"). The index of a device that
    MIG divides means its first instance (NVIDIA MIG User Guide, "CUDA device enumeration").
    """
    visible = environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None or not devices:
        return devices, ()
    chosen: list[Device] = []
    for entry in map(str.strip, visible.split(",")):
        named = [device for device in devices if _names(entry, device)]
        if not named or (len(named) > 1 and not entry.isdecimal()):
            break
        chosen.append(named[0])
    kept = tuple(dict.fromkeys(chosen))
    notes = [f"CUDA_VISIBLE_DEVICES={visible} leaves {len(kept)} of {len(devices)} NVIDIA devices"]
    mixed = len({device.name for device in devices}) > 1
    if mixed and not visible.startswith(UUIDS) and environ.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID":
        notes.append(
            "CUDA_VISIBLE_DEVICES is read in PCI order here, while CUDA puts the fastest device first: "
            "set CUDA_DEVICE_ORDER=PCI_BUS_ID, or name devices by UUID"
        )
    return kept, tuple(notes)


def _names(entry: str, device: Device) -> bool:
    return entry == str(device.index) or (entry.startswith(UUIDS) and device.uuid.startswith(entry))


def _failure(nvml: Any, error: Any, root: Path) -> tuple[str, ...]:
    codes = {getattr(nvml, name): remedy for name, remedy in INIT_REMEDIES.items()}
    note = f"NVML did not start ({error}): {codes.get(error.value, 'see nvidia-smi')}"
    absent = (nvml.NVML_ERROR_LIBRARY_NOT_FOUND, nvml.NVML_ERROR_DRIVER_NOT_LOADED)
    return _absence(root, note) if error.value in absent else (f"NVIDIA: {note}",)


def _absence(root: Path, note: str) -> tuple[str, ...]:
    """Return the note if there is an NVIDIA display controller on the bus; else NVML is not needed."""
    with contextlib.suppress(OSError):  # a daemon out of descriptors tries again later
        for device in (root / "sys/bus/pci/devices").glob("*"):
            vendor, kind = (read_text(device / name).strip() for name in ("vendor", "class"))
            if vendor == "0x10de" and kind.startswith("0x03"):  # PCI codes: NVIDIA; display controller
                return (f"An NVIDIA GPU is present but unusable: {note}",)
    return ()

"""What NVML reports of each NVIDIA device, MIG instances included."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from relayd.hardware.bandwidth import look_up
from relayd.hardware.drm import largest_first, process_name
from relayd.hardware.machine import Bandwidth, Device, DeviceKind, Memory, MemoryHolder
from relayd.units import Bytes

EIGHTHS = 8
"""Slices into which MIG divides memory and its bandwidth (NVIDIA MIG User Guide, "Partitioning")."""


@dataclass
class Reader:
    """Queries NVML one value at a time: a query that fails costs a note, not the device.

    Attributes:
        nvml: A module with the interface of `pynvml`, started.
        host: RAM, which is also the memory of integrated devices.
        root: The folder that holds `proc`.
        notes: What could not be read.
    """

    nvml: Any
    host: Memory
    root: Path
    notes: list[str] = field(default_factory=list)

    def devices(self) -> tuple[Device, ...]:
        """Return every device in PCI order; MIG instances stand in for the one they divide."""
        driver = self._ask("driver version", "", self.nvml.nvmlSystemGetDriverVersion)
        cuda = self._ask("CUDA version", None, self.nvml.nvmlSystemGetCudaDriverVersion)
        count = self._ask("number of devices", 0, self.nvml.nvmlDeviceGetCount)
        found = (self._card(index, driver, _cuda_version(cuda)) for index in range(count))
        return tuple(device for devices in found for device in devices)

    def _card(self, index: int, driver: str, cuda: tuple[int, int] | None) -> tuple[Device, ...]:
        nvml, gpu = self.nvml, f"GPU {index}"
        handle = self._ask(gpu, None, nvml.nvmlDeviceGetHandleByIndex, index)
        if handle is None:
            return ()
        capability = self._ask(
            f"{gpu} compute capability", None, nvml.nvmlDeviceGetCudaComputeCapability, handle
        )
        name = self._ask(f"{gpu} name", "NVIDIA GPU", nvml.nvmlDeviceGetName, handle)
        whole = Device(
            kind=DeviceKind.CUDA,
            index=index,
            uuid=self._ask(f"{gpu} UUID", "", nvml.nvmlDeviceGetUUID, handle),
            name=name,
            memory_total=Bytes(0),
            memory_free=Bytes(0),
            driver=driver,
            compute_capability=None if capability is None else (capability[0], capability[1]),
            cuda_version=cuda,
            pci=_sysfs_address(self._try("", lambda: nvml.nvmlDeviceGetPciInfo(handle).busId)),
            display=bool(self._try(0, lambda: nvml.nvmlDeviceGetDisplayActive(handle))),
            bandwidth=look_up(name),
        )
        # Most devices do not know MIG.
        if self._try((0, 0), lambda: nvml.nvmlDeviceGetMigMode(handle))[0]:
            return tuple(self._instances(whole, handle))
        return (self._filled(whole, handle, gpu),)

    def _instances(self, whole: Device, parent: Any) -> Iterator[Device]:
        """Return the MIG instances of a device; nothing can run on the whole of it."""
        nvml, gpu = self.nvml, f"GPU {whole.index}"
        size = self._try(0, lambda: nvml.nvmlDeviceGetMemoryInfo(parent).total)
        found = False
        for number in range(self._ask(f"{gpu} MIG", 0, nvml.nvmlDeviceGetMaxMigDeviceCount, parent)):
            try:
                handle = nvml.nvmlDeviceGetMigDeviceHandleByIndex(parent, number)
            except nvml.NVMLError_NotFound:
                continue
            except nvml.NVMLError as error:
                self._failed(f"{gpu} MIG instance {number}", error)
                continue
            found = True
            yield self._instance(whole, size, number, handle)
        if not found:
            self.notes.append(
                f"NVIDIA {gpu} is in MIG mode and has no instance to run on: nvidia-smi mig -cgi PROFILE -C "
                f"makes one, nvidia-smi -mig 0 makes the device whole"
            )

    def _instance(self, whole: Device, size: int, number: int, handle: Any) -> Device:
        nvml, label = self.nvml, f"GPU {whole.index} MIG instance {number}"
        uuid = self._ask(f"{label} UUID", "", nvml.nvmlDeviceGetUUID, handle)
        name = self._try(f"{whole.name} MIG", lambda: nvml.nvmlDeviceGetName(handle))
        described = replace(whole, instance=number, uuid=uuid, name=name, display=False)
        device = self._filled(described, handle, label)
        return replace(device, bandwidth=_share(whole.bandwidth, device.memory_total, size))

    def _filled(self, device: Device, handle: Any, label: str) -> Device:
        total, free, unified = self._memory(device.name, label, handle)
        return replace(
            device, memory_total=total, memory_free=free, unified=unified, holders=self._holders(handle)
        )

    def _memory(self, name: str, label: str, handle: Any) -> tuple[Bytes, Bytes, bool]:
        """Return what can be allocated, ever and now, and whether it is RAM."""
        nvml = self.nvml
        # Integrated devices (GB10, Jetson, Thor) have no memory of their own to report.
        shared = self.host.ceiling, self.host.usable, True
        if "(nvgpu)" in name:
            return shared
        try:
            return _device_memory(nvml, handle)
        except nvml.NVMLError_NotSupported:
            return shared
        except nvml.NVMLError as error:
            self._failed(f"{label} memory", error)
            return Bytes(0), Bytes(0), False

    def _holders(self, handle: Any) -> tuple[MemoryHolder, ...]:
        """Return the processes that compute or draw there; one that does both is in both lists."""
        nvml, memory = self.nvml, dict[int, Bytes | None]()
        computing = self._try([], lambda: nvml.nvmlDeviceGetComputeRunningProcesses(handle))
        drawing = self._try([], lambda: nvml.nvmlDeviceGetGraphicsRunningProcesses(handle))
        for process in (*computing, *drawing):
            used = process.usedGpuMemory
            memory[process.pid] = None if used is None else Bytes(used)
        return largest_first(
            [MemoryHolder(pid, process_name(self.root, pid), used) for pid, used in memory.items()]
        )

    def _ask(self, what: str, otherwise: Any, call: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return call(*arguments)
        except self.nvml.NVMLError as error:
            self._failed(what, error)
            return otherwise

    def _try(self, otherwise: Any, call: Callable[[], Any]) -> Any:
        """Query a value that may be missing without a note."""
        with contextlib.suppress(self.nvml.NVMLError):
            return call()
        return otherwise

    def _failed(self, what: str, error: Exception) -> None:
        self.notes.append(f"NVIDIA {what} could not be read ({error}): see nvidia-smi -q")


def _cuda_version(number: int | None) -> tuple[int, int] | None:
    """Return 12080 as (12, 8), as NVML counts (nvml.h, NVML_CUDA_DRIVER_VERSION_MAJOR)."""
    return None if number is None else (number // 1000, number % 1000 // 10)


def _sysfs_address(bus: str) -> str:
    """Return `00000000:01:00.0` as the kernel writes it, `0000:01:00.0`."""
    return bus[-12:].lower()


def _share(whole: Bandwidth | None, memory: int, of: int) -> Bandwidth | None:
    if whole is None or not of:
        return None
    share = max(1, round(EIGHTHS * memory / of)) / EIGHTHS
    return replace(whole, gb_s=whole.gb_s * share)


def _device_memory(nvml: Any, handle: Any) -> tuple[Bytes, Bytes, bool]:
    try:
        memory = nvml.nvmlDeviceGetMemoryInfo(handle, version=nvml.nvmlMemory_v2)
    except nvml.NVMLError_FunctionNotFound:  # drivers before 510
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
        return Bytes(memory.total), Bytes(memory.free), False
    return Bytes(memory.total - memory.reserved), Bytes(memory.free), False

"""An NVML with scripted devices, which fails where it is told to, with the true errors of `pynvml`."""

# ruff: noqa: N802 - a stand-in has the names of what it stands in for

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pynvml

from relayd.units import GIB, MIB


@dataclass
class Gpu:
    name: str
    uuid: str
    total: int = 24 * GIB
    reserved: int = 512 * MIB
    free: int = 20 * GIB
    capability: tuple[int, int] = (8, 9)
    mig: bool = False
    instances: Mapping[int, "Gpu | int"] = field(default_factory=dict)
    """Number → a MIG instance, or the error code its handle fails with."""
    pci: str = "00000000:01:00.0"
    display: bool = False
    computing: tuple[tuple[int, int | None], ...] = ()
    drawing: tuple[tuple[int, int | None], ...] = ()
    """Processes: (pid, memory)."""
    faults: Mapping[str, int] = field(default_factory=dict)
    """Function of NVML → the error code it fails with on this device."""


class Nvml:
    """The functions of NVML that are asked, over scripted devices."""

    def __init__(self, *gpus: Gpu, faults: Mapping[str, int] | None = None) -> None:
        self.gpus = gpus
        self.faults = faults or {}
        self.started = 0
        for name in dir(pynvml):
            if name.startswith(("NVMLError", "NVML_ERROR", "nvmlMemory_v2")):
                setattr(self, name, getattr(pynvml, name))

    def _check(self, faults: Mapping[str, int], function: str) -> None:
        if function in faults:
            raise pynvml.NVMLError(faults[function])

    def nvmlInit(self) -> None:
        self._check(self.faults, "nvmlInit")
        self.started += 1

    def nvmlShutdown(self) -> None:
        self.started -= 1
        self._check(self.faults, "nvmlShutdown")

    def nvmlSystemGetDriverVersion(self) -> str:
        self._check(self.faults, "nvmlSystemGetDriverVersion")
        return "580.65.06"

    def nvmlSystemGetCudaDriverVersion(self) -> int:
        self._check(self.faults, "nvmlSystemGetCudaDriverVersion")
        return 13000

    def nvmlDeviceGetCount(self) -> int:
        self._check(self.faults, "nvmlDeviceGetCount")
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Gpu:
        self._check(self.gpus[index].faults, "nvmlDeviceGetHandleByIndex")
        return self.gpus[index]

    def nvmlDeviceGetName(self, gpu: Gpu) -> str:
        self._check(gpu.faults, "nvmlDeviceGetName")
        return gpu.name

    def nvmlDeviceGetUUID(self, gpu: Gpu) -> str:
        self._check(gpu.faults, "nvmlDeviceGetUUID")
        return gpu.uuid

    def nvmlDeviceGetCudaComputeCapability(self, gpu: Gpu) -> tuple[int, int]:
        self._check(gpu.faults, "nvmlDeviceGetCudaComputeCapability")
        return gpu.capability

    def nvmlDeviceGetMigMode(self, gpu: Gpu) -> list[int]:
        self._check(gpu.faults, "nvmlDeviceGetMigMode")
        return [int(gpu.mig), int(gpu.mig)]

    def nvmlDeviceGetMaxMigDeviceCount(self, gpu: Gpu) -> int:
        self._check(gpu.faults, "nvmlDeviceGetMaxMigDeviceCount")
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, gpu: Gpu, index: int) -> Gpu:
        found = gpu.instances.get(index)
        if isinstance(found, Gpu):
            return found
        raise pynvml.NVMLError(found or pynvml.NVML_ERROR_NOT_FOUND)

    def nvmlDeviceGetPciInfo(self, gpu: Gpu) -> Any:
        self._check(gpu.faults, "nvmlDeviceGetPciInfo")
        return SimpleNamespace(busId=gpu.pci)

    def nvmlDeviceGetDisplayActive(self, gpu: Gpu) -> int:
        self._check(gpu.faults, "nvmlDeviceGetDisplayActive")
        return int(gpu.display)

    def nvmlDeviceGetComputeRunningProcesses(self, gpu: Gpu) -> list[Any]:
        self._check(gpu.faults, "nvmlDeviceGetComputeRunningProcesses")
        return [SimpleNamespace(pid=pid, usedGpuMemory=memory) for pid, memory in gpu.computing]

    def nvmlDeviceGetGraphicsRunningProcesses(self, gpu: Gpu) -> list[Any]:
        self._check(gpu.faults, "nvmlDeviceGetGraphicsRunningProcesses")
        return [SimpleNamespace(pid=pid, usedGpuMemory=memory) for pid, memory in gpu.drawing]

    def nvmlDeviceGetMemoryInfo(self, gpu: Gpu, version: int | None = None) -> Any:
        self._check(gpu.faults, "nvmlDeviceGetMemoryInfo_v2" if version else "nvmlDeviceGetMemoryInfo")
        memory = pynvml.c_nvmlMemory_v2_t() if version else pynvml.c_nvmlMemory_t()
        memory.total, memory.free = gpu.total, gpu.free
        if version:
            memory.reserved = gpu.reserved
        return memory


def rtx(number: int, **said: Any) -> Gpu:
    return Gpu("NVIDIA GeForce RTX 4090", f"GPU-{number}a1b", **said)

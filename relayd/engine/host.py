"""What releases and builds name a machine by: system, CPU key, CUDA, Vulkan."""

import ctypes.util
from dataclasses import dataclass
from pathlib import Path

from relayd.hardware.machine import Machine

_SYSTEMS = {"macos": "darwin"}
_MACHINES = {"x86_64": "x64", "aarch64": "arm64"}


@dataclass(frozen=True, slots=True)
class Cuda:
    """An NVIDIA driver with at least one GPU.

    Attributes:
        driver: The newest CUDA it can run: major and minor.
        capability: The lowest compute capability among the GPUs.
    """

    driver: tuple[int, int]
    capability: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Host:
    """The machine, as releases and builds name it.

    Attributes:
        system: `linux` or `darwin`.
        machine: `x64`, `arm64`, or as the system names it.
        cpu_key: A name that is equal where the same machine code runs.
        cores: CPU cores this process may use.
        memory: Memory that a build may fill, in bytes.
        cuda: The NVIDIA driver, if there is one.
        vulkan: Whether a GPU and a Vulkan loader are here.
        amx: Whether the CPU has AMX.
    """

    system: str
    machine: str
    cpu_key: str
    cores: int
    memory: int
    cuda: Cuda | None = None
    vulkan: bool = False
    amx: bool = False


def host_of(machine: Machine) -> Host:
    """Return what an installation needs to know; looks for a Vulkan loader, which takes 50 ms."""
    cards = [gpu for gpu in machine.gpus if gpu.cuda_version and gpu.compute_capability]
    drivers, capabilities = (
        [card.cuda_version for card in cards if card.cuda_version],
        [card.compute_capability for card in cards if card.compute_capability],
    )
    renders = bool(machine.gpus) or any(Path("/dev/dri").glob("renderD*"))
    return Host(
        system=_SYSTEMS.get(machine.os, machine.os),
        machine=_MACHINES.get(machine.arch, machine.arch),
        amx="amx_int8" in machine.cpu.flags,
        cpu_key=machine.cpu_key(),
        cores=machine.cpu.usable_cores,
        memory=machine.usable_ram,
        cuda=Cuda(drivers[0], min(capabilities)) if cards else None,
        vulkan=renders and ctypes.util.find_library("vulkan") is not None,
    )

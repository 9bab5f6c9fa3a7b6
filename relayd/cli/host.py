"""Which engine would suit the machine that was probed?"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relayd.engine.host import Host
    from relayd.hardware import Machine

_SYSTEMS = {"macos": "darwin"}
_MACHINES = {"x86_64": "x64", "aarch64": "arm64"}


def host_of(machine: "Machine") -> "Host":
    """Return what an installation needs to know; looks for a Vulkan loader, which takes 50 ms."""
    import ctypes.util

    from relayd.engine.host import Cuda, Host

    cards = [gpu for gpu in machine.gpus if gpu.cuda_version and gpu.compute_capability]
    drivers, capabilities = (
        [card.cuda_version for card in cards if card.cuda_version],
        [card.compute_capability for card in cards if card.compute_capability],
    )
    renders = bool(machine.gpus) or any(Path("/dev/dri").glob("renderD*"))
    return Host(
        system=_SYSTEMS.get(machine.os, machine.os),
        machine=_MACHINES.get(machine.arch, machine.arch),
        cpu_key=machine.cpu_key(),
        cores=machine.cpu.usable_cores,
        memory=machine.usable_ram,
        cuda=Cuda(drivers[0], min(capabilities)) if cards else None,
        vulkan=renders and ctypes.util.find_library("vulkan") is not None,
    )

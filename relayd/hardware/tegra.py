"""The GPU of a Jetson, which older systems do not show to NVML."""

from pathlib import Path

from relayd.hardware.kernel import read_text
from relayd.hardware.machine import Device, DeviceKind, Memory

CAPABILITIES = {
    "tegra264": (11, 0),
    "tegra234": (8, 7),
    "tegra194": (7, 2),
    "tegra186": (6, 2),
    "tegra210": (5, 3),
}
"""Chip → compute capability of Thor, Orin, Xavier, TX2 and Nano (NVIDIA, "CUDA GPU Compute Capability")."""


def read_devices(root: Path, host: Memory) -> tuple[Device, ...]:
    """Return the GPU of a Jetson, which computes in RAM; none elsewhere.

    Args:
        root: The folder that holds `proc`.
        host: RAM.
    """
    chips = read_text(root / "proc/device-tree/compatible").split("\0")
    known = [chip.removeprefix("nvidia,") for chip in chips if chip.startswith("nvidia,tegra")]
    if not known:
        return ()
    name = read_text(root / "proc/device-tree/model").strip("\0\n") or "NVIDIA Jetson"
    return (
        Device(
            DeviceKind.CUDA,
            0,
            "",
            name,
            host.ceiling,
            host.usable,
            unified=True,
            compute_capability=CAPABILITIES.get(known[-1]),
        ),
    )

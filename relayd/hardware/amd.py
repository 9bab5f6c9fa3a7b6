"""AMD GPUs and their memory, from the kernel's amdgpu driver.

Files and units: Linux, Documentation/gpu/amdgpu (`mem_info_*` in bytes, `unique_id` in hexadecimal);
the topology of the compute driver is under /sys/class/kfd.
"""

from pathlib import Path

from relayd.hardware.drm import Card, cards, holders
from relayd.hardware.kernel import read_number, read_text
from relayd.hardware.machine import Device, DeviceKind, Memory, MemoryHolder
from relayd.hardware.names import AMD, amd_name
from relayd.units import Bytes

APU_ARCHITECTURES = frozenset({
    "gfx902", "gfx909", "gfx90c", "gfx1013", "gfx1033", "gfx1035", "gfx1036", "gfx1103", "gfx1150",
    "gfx1151", "gfx1152", "gfx1153",
})  # fmt: skip
"""GPUs on the die of a CPU (LLVM, "User Guide for AMDGPU Backend", processors of type APU)."""


def read_devices(root: Path, host: Memory) -> tuple[tuple[Device, ...], tuple[str, ...]]:
    """Return the AMD GPUs in PCI order, and notes on those that cannot be used.

    Args:
        root: The folder that holds `proc` and `sys`.
        host: RAM, which is also the memory of a GPU inside a CPU.
    """
    found = cards(root, AMD)
    if not found:
        return (), ()
    driven = [card for card in found if card.driver == "amdgpu"]
    notes = tuple(
        f"The AMD GPU at {card.pci} is driven by {card.driver or 'nothing'}, so no model can run on it: "
        f"load amdgpu"
        for card in found
        if card not in driven
    )
    architectures = _architectures(root)
    held = holders(root, {card.pci: _regions(architectures.get(card.pci, "")) for card in driven})
    devices = (
        _device(root, card, index, architectures.get(card.pci, ""), held.get(card.pci, ()), host)
        for index, card in enumerate(driven)
    )
    return tuple(devices), notes


def _device(
    root: Path, card: Card, index: int, architecture: str, held: tuple[MemoryHolder, ...], host: Memory
) -> Device:
    total, free, unified = _memory(card, architecture, host)
    unique = read_text(card.folder / "device/unique_id").strip()
    return Device(
        DeviceKind.AMD,
        index,
        f"GPU-{unique}" if unique.strip("0") else "",
        amd_name(root, card.device, card.revision),
        total,
        free,
        unified,
        architecture=architecture,
        pci=card.pci,
        display=card.display,
        holders=held,
    )


def _memory(card: Card, architecture: str, host: Memory) -> tuple[Bytes, Bytes, bool]:
    """Return (total, free, whether it is RAM).

    An APU has two pools: a carve-out that the firmware took out of RAM, which Linux does not count as RAM,
    and pages of RAM (GTT). The larger one is what models get.
    """
    vram, used = _pool(card, "vram")
    pages, mapped = _pool(card, "gtt")
    if architecture not in APU_ARCHITECTURES or vram >= pages:
        return vram, Bytes(max(0, vram - used)), False
    total = min(pages, host.ceiling)
    return total, Bytes(max(0, min(total - mapped, host.usable))), True


def _regions(architecture: str) -> tuple[str, ...]:
    return ("vram", "gtt") if architecture in APU_ARCHITECTURES else ("vram",)


def _pool(card: Card, name: str) -> tuple[Bytes, Bytes]:
    files = (card.folder / f"device/mem_info_{name}_{what}" for what in ("total", "used"))
    total, used = (Bytes(read_number(file) or 0) for file in files)
    return total, used


def _architectures(root: Path) -> dict[str, str]:
    """Return PCI address → architecture, of what the compute driver can use.

    `location_id` is bus, device and function in 16 bits; `gfx_target_version` 90010 is gfx90a.
    """
    found = {}
    for node in (root / "sys/class/kfd/kfd/topology/nodes").glob("*"):
        said = dict(line.split(maxsplit=1) for line in read_text(node / "properties").splitlines())
        place, target = (int(said.get(name, 0)) for name in ("location_id", "gfx_target_version"))
        pci = f"{int(said.get('domain', 0)):04x}:{place >> 8:02x}:{place >> 3 & 31:02x}.{place & 7}"
        if target:
            found[pci] = f"gfx{target // 10000}{target // 100 % 100:x}{target % 100:x}"
    return found

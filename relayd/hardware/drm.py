"""Graphics cards that the kernel drives, and the processes that hold their memory.

Files and their units: Linux, Documentation/gpu/drm-usage-stats.rst for `/proc/PID/fdinfo`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from relayd.hardware.kernel import parse_pairs, read_number, read_text
from relayd.hardware.machine import MemoryHolder
from relayd.units import KIB, MIB, Bytes

COMPUTING_CLASSES = ("0x03", "0x12")
"""PCI classes: display controllers, and processing accelerators without a display (Instinct)."""

UNITS: Mapping[str, int] = {"": 1, "KiB": KIB, "MiB": MIB}


@dataclass(frozen=True, slots=True)
class Card:
    """A card under /sys/class/drm.

    Attributes:
        folder: `/sys/class/drm/card0`.
        pci: Its address on the bus: `0000:03:00.0`.
        driver: The kernel's driver: `amdgpu`, `i915`, `xe`.
        device: The maker's number.
        revision: Of the device.
        display: Whether a screen is connected to it.
    """

    folder: Path
    pci: str
    driver: str
    device: int
    revision: int
    display: bool


def cards(root: Path, vendor: int) -> tuple[Card, ...]:
    """Return the cards of one vendor in PCI order; virtual functions and other classes are left out."""
    folders = (one for one in (root / "sys/class/drm").glob("card*") if one.name[4:].isdecimal())
    found = (_card(folder) for folder in folders if _computes(folder / "device", vendor))
    return tuple(sorted(found, key=lambda card: card.pci))


def holders(root: Path, regions: Mapping[str, Sequence[str]]) -> dict[str, tuple[MemoryHolder, ...]]:
    """Return PCI address → the processes that hold memory there, the largest first.

    Only processes of this user are seen, unless this one is root's.

    Args:
        root: The folder that holds `proc`.
        regions: PCI address → names of the regions that count, as drivers write them: `vram`, `vram0`.
    """
    held: dict[tuple[str, int], dict[str, Bytes]] = {}
    for pid, text in _clients(root):
        said = parse_pairs(text)
        pci, client = said.get("drm-pdev", ""), said.get("drm-client-id", "")
        if memory := sum(_size(said, region) for region in regions.get(pci, ())):
            # Descriptors that were duplicated show the same client, once each.
            held.setdefault((pci, pid), {})[client] = Bytes(memory)
    found: dict[str, list[MemoryHolder]] = {}
    for (pci, pid), clients in held.items():
        found.setdefault(pci, []).append(
            MemoryHolder(pid, process_name(root, pid), Bytes(sum(clients.values())))
        )
    return {pci: largest_first(one) for pci, one in found.items()}


def largest_first(found: Sequence[MemoryHolder]) -> tuple[MemoryHolder, ...]:
    """Return holders by what they hold; unknown counts as nothing."""
    return tuple(sorted(found, key=lambda holder: (-(holder.memory or 0), holder.pid)))


def process_name(root: Path, pid: int) -> str:
    """Return the command of a process, cut at 15 characters by the kernel; empty where it is hidden."""
    return read_text(root / f"proc/{pid}/comm").strip()


def _computes(device: Path, vendor: int) -> bool:
    return (
        read_number(device / "vendor") == vendor
        and read_text(device / "class").startswith(COMPUTING_CLASSES)
        and not (device / "physfn").exists()
    )


def _card(folder: Path) -> Card:
    device = folder / "device"
    said = dict(line.split("=", 1) for line in read_text(device / "uevent").splitlines() if "=" in line)
    connectors = folder.parent.glob(f"{folder.name}-*/status")
    return Card(
        folder,
        said.get("PCI_SLOT_NAME", ""),
        said.get("DRIVER", ""),
        read_number(device / "device") or 0,
        read_number(device / "revision") or 0,
        any(read_text(status).strip() == "connected" for status in connectors),
    )


def _clients(root: Path) -> Iterator[tuple[int, str]]:
    """Return (pid, fdinfo) of every open card that this user may see."""
    for process in (root / "proc").glob("[0-9]*"):
        try:
            opened = [one.name for one in (process / "fd").iterdir() if "/dev/dri/" in str(one.readlink())]
        except OSError:  # another user's, or it has ended
            continue
        for number in opened:
            yield int(process.name), read_text(process / "fdinfo" / number)


def _size(said: Mapping[str, str], region: str) -> int:
    """Return what is resident in a region; `drm-memory-` is the older name of the same."""
    text = said.get(f"drm-resident-{region}") or said.get(f"drm-memory-{region}") or ""
    found = re.fullmatch(r"(\d+)\s*(KiB|MiB|)", text)
    return int(found[1]) * UNITS[found[2]] if found else 0

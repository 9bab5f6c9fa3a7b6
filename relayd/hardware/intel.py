"""Intel GPUs and their memory, from the kernel's i915 and xe drivers."""

from pathlib import Path

from relayd.hardware.drm import Card, cards, holders
from relayd.hardware.kernel import read_number, read_text
from relayd.hardware.machine import Device, DeviceKind, Memory, MemoryHolder
from relayd.hardware.names import INTEL, intel_name
from relayd.units import MIB, Bytes

INTEGRATED = ":00:02."
"""Bus and device of every Intel GPU that is part of a processor."""

APERTURE = 256 * MIB
"""What a card shows of its memory on the bus without "resizable BAR", which is not its size."""

REGIONS = {True: ("system0", "system"), False: ("local0", "vram0")}
"""Whether it is integrated → where its memory is, as i915 and xe call it."""


def read_devices(root: Path, host: Memory) -> tuple[tuple[Device, ...], tuple[str, ...]]:
    """Return the Intel GPUs in PCI order, and notes on what is not known of them.

    Args:
        root: The folder that holds `proc` and `sys`.
        host: RAM, which is also the memory of a GPU inside a processor.
    """
    found = cards(root, INTEL)
    if not found:
        return (), ()
    notes: list[str] = []
    held = holders(root, {card.pci: REGIONS[INTEGRATED in card.pci] for card in found})
    devices = []
    for index, card in enumerate(found):
        holding = held.get(card.pci, ())
        total, free, doubt = _memory(card, holding, host)
        if doubt:
            notes.append(f"The Intel GPU at {card.pci}: {doubt}; the engine's own list decides")
        devices.append(
            Device(
                DeviceKind.INTEL,
                index,
                "",
                intel_name(root, card.device),
                total,
                free,
                unified=INTEGRATED in card.pci,
                pci=card.pci,
                display=card.display,
                holders=holding,
            )
        )
    return tuple(devices), tuple(notes)


def _memory(card: Card, held: tuple[MemoryHolder, ...], host: Memory) -> tuple[Bytes, Bytes, str]:
    """Return (total, free, what is doubtful)."""
    if INTEGRATED in card.pci:
        return host.ceiling, host.usable, ""
    total = Bytes(read_number(card.folder / "lmem_total_bytes") or _tiles(card) or _bar(card))
    if not total:
        return total, total, "the kernel does not report its memory"
    free = read_number(card.folder / "lmem_avail_bytes")
    if free is not None:
        return total, Bytes(free), ""
    used = sum(holder.memory or 0 for holder in held)
    return total, Bytes(max(0, total - used)), "what other users hold of its memory is not known"


def _tiles(card: Card) -> int:
    files = (card.folder / "device").glob("tile*/physical_vram_size_bytes")
    return sum(read_number(file) or 0 for file in files)


def _bar(card: Card) -> int:
    """Return the size of the memory on the bus: the third line of `resource`, "start end flags"."""
    lines = read_text(card.folder / "device/resource").splitlines()
    start, end, *_ = (int(word, 16) for word in (lines[2].split() if len(lines) > 2 else ("0", "0")))
    size = end - start + 1
    return size if size > APERTURE else 0

"""Names of PCI devices, from the lists that systems carry."""

import re
from pathlib import Path

from relayd.hardware.kernel import read_text

AMD, INTEL = 0x1002, 0x8086
"""Vendors, as PCI numbers them."""

PCI_LISTS = ("usr/share/hwdata/pci.ids", "usr/share/misc/pci.ids")
"""Where distributions put the list of the PCI ID project."""

AMD_LIST = "usr/share/libdrm/amdgpu.ids"
"""libdrm's list: many cards share a device number and differ in the revision."""


def amd_name(root: Path, device: int, revision: int) -> str:
    """Return the marketing name of an AMD GPU, or its number where no list knows it."""
    key = f"{device:X},\t{revision:02X},\t"
    lines = read_text(root / AMD_LIST).splitlines()
    name = next((line[len(key) :] for line in lines if line.startswith(key)), "")
    return name or pci_name(root, AMD, device) or f"AMD GPU 0x{device:04x}"


def intel_name(root: Path, device: int) -> str:
    """Return the name of an Intel GPU, or its number where no list knows it."""
    name = pci_name(root, INTEL, device)
    return f"Intel {name}" if name else f"Intel GPU 0x{device:04x}"


def pci_name(root: Path, vendor: int, device: int) -> str:
    """Return a device's name from pci.ids, the one in brackets if there is one; empty if it has none.

    Vendors begin a line, their devices are indented by one tab (pci.ids, "Syntax").
    """
    pattern = re.compile(rf"^{vendor:04x}  .*\n(?:[#\t].*\n)*?\t{device:04x}  (.+)$", re.MULTILINE)
    for listing in PCI_LISTS:
        if found := pattern.search(read_text(root / listing)):
            bracketed = re.search(r"\[(.+)\]$", found[1])
            return bracketed[1] if bracketed else found[1]
    return ""

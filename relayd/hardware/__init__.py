"""The hardware of this machine: CPU, memory, and devices that can hold a model.

`probe` reads the machine once and returns a `Machine`, a value that planners take apart
without touching the operating system.
"""

from relayd.hardware.document import document
from relayd.hardware.held import Held, held, unmapped_ram
from relayd.hardware.holders import largest_in_ram
from relayd.hardware.listing import Listed, merge_engine_devices, parse_devices
from relayd.hardware.machine import (
    Bandwidth,
    Cpu,
    Device,
    DeviceKind,
    Machine,
    Memory,
    MemoryHolder,
    MemoryLimit,
    NumaNode,
)
from relayd.hardware.oom import OomKills
from relayd.hardware.probe import MachineSources, probe, probe_memory, this_machine
from relayd.hardware.residence import residence

__all__ = [
    "Bandwidth",
    "Cpu",
    "Device",
    "DeviceKind",
    "Held",
    "Listed",
    "Machine",
    "MachineSources",
    "Memory",
    "MemoryHolder",
    "MemoryLimit",
    "NumaNode",
    "OomKills",
    "document",
    "held",
    "largest_in_ram",
    "merge_engine_devices",
    "parse_devices",
    "probe",
    "probe_memory",
    "residence",
    "this_machine",
    "unmapped_ram",
]

"""What a machine would have free if some processes ended."""

import re
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from relayd.hardware.kernel import read_text
from relayd.hardware.machine import Device, Machine, Memory
from relayd.units import KIB, Bytes

_ANONYMOUS = re.compile(r"^Anonymous: +(\d+) kB$", re.MULTILINE)
"""Pages of no file. Those of a file count as free already: the kernel drops and reads them again
(Linux, Documentation/filesystems/proc.rst)."""


def freed(machine: Machine, pids: Collection[int], root: Path = Path("/")) -> Machine:
    """Return the machine as it would be without some processes.

    Args:
        machine: As it is, with the holders of its devices' memory.
        pids: The processes; those that have ended free nothing.
        root: The folder that holds `proc`; without it, as on macOS, RAM stays as it is.
    """
    texts = (read_text(root / f"proc/{pid}/smaps_rollup") for pid in pids)
    ram = sum(int(found[1]) * KIB for text in texts if (found := _ANONYMOUS.search(text)))
    gpus = tuple(_without(gpu, pids) for gpu in machine.gpus)
    return replace(machine, memory=_with(machine.memory, ram), gpus=gpus)


def _without(gpu: Device, pids: Collection[int]) -> Device:
    held = sum(holder.memory or 0 for holder in gpu.holders if holder.pid in pids)
    others = tuple(holder for holder in gpu.holders if holder.pid not in pids)
    free = Bytes(min(gpu.memory_total, gpu.memory_free + held))
    return replace(gpu, memory_free=free, holders=others)


def _with(memory: Memory, more: int) -> Memory:
    limit = memory.limit and replace(memory.limit, usage=Bytes(max(0, memory.limit.usage - more)))
    return replace(memory, available=Bytes(min(memory.total, memory.available + more)), limit=limit)

"""The memory that a process holds, in RAM and on devices."""

import contextlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

from relayd.hardware.kernel import parse_pairs, read_text
from relayd.hardware.machine import Machine
from relayd.units import KIB, Bytes

_PSS = re.compile(r"^Pss: +(\d+) kB$", re.MULTILINE)
NOTHING = Bytes(0)

_PSS_FILE = re.compile(r"^Pss_File: +(\d+) kB$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Held:
    """The memory of a process.

    Attributes:
        by_device: Device → bytes; of GPUs as their driver reports.
        source: Where the figure for RAM is from: `pss`, its share of each page that others have too
            (Linux, Documentation/filesystems/proc.rst); `rss`, all of them, where no share is known.
        mapped: Of the RAM, its share of pages of files: weights that are mapped, or were read once to be
            kept in another order. The kernel drops them where memory is short.
    """

    by_device: dict[str, Bytes]
    source: Literal["pss", "rss"]
    mapped: Bytes = NOTHING


def held(pid: int, machine: Machine, root: Path = Path("/")) -> Held | None:
    """Return what a process holds; None if it is gone.

    Args:
        pid: The process.
        machine: As it is now, with the holders of its devices' memory.
        root: The folder that holds `proc`.
    """
    on_gpus = {
        gpu.key: holder.memory
        for gpu in machine.gpus
        for holder in gpu.holders
        if holder.pid == pid and holder.memory is not None
    }
    rollup = read_text(root / f"proc/{pid}/smaps_rollup")
    if share := _PSS.search(rollup):
        mapped = _PSS_FILE.search(rollup)
        nbytes = Bytes(int(share[1]) * KIB)
        return Held(on_gpus | {"cpu": nbytes}, "pss", Bytes(int(mapped[1]) * KIB if mapped else 0))
    with contextlib.suppress(psutil.Error, OSError):  # gone, or no descriptor to ask with
        return Held(on_gpus | {"cpu": Bytes(psutil.Process(pid).memory_info().rss)}, "rss")
    return None


def unmapped_ram(pid: int, root: Path = Path("/")) -> Bytes:
    """Return the RAM of a process that holds no file's pages: what the kernel cannot drop; 0 if it is gone.

    Args:
        pid: The process.
        root: The folder that holds `proc`.
    """
    status = parse_pairs(read_text(root / f"proc/{pid}/status"))
    kept = [status[name].split()[0] for name in ("RssAnon", "RssShmem") if name in status]
    if kept:
        return Bytes(sum(map(int, kept)) * KIB)
    with contextlib.suppress(psutil.Error, OSError):
        return Bytes(psutil.Process(pid).memory_info().rss)
    return Bytes(0)

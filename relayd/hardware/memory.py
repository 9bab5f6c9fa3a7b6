"""RAM, and how much of it this process may use (control groups, cpusets)."""

from collections.abc import Callable
from pathlib import Path

from relayd.hardware.kernel import group_folders, parse_pairs, read_text
from relayd.hardware.machine import Memory, MemoryLimit, NumaNode
from relayd.hardware.numa import cpuset_limit
from relayd.units import KIB, Bytes


def parse_meminfo(text: str) -> tuple[Bytes, Bytes]:
    """Return RAM (total, available) from /proc/meminfo, whose unit is KiB; 0 for what is missing."""
    pairs = parse_pairs(text)
    total, available = (pairs.get(key, "0").split()[0] for key in ("MemTotal", "MemAvailable"))
    return Bytes(int(total) * KIB), Bytes(int(available) * KIB)


def system_memory() -> tuple[Bytes, Bytes]:
    """Return RAM (total, available) from psutil, for systems without /proc/meminfo."""
    import psutil

    memory = psutil.virtual_memory()
    return Bytes(memory.total), Bytes(memory.available)


def read_memory(
    root: Path, otherwise: Callable[[], tuple[Bytes, Bytes]], nodes: tuple[NumaNode, ...] = ()
) -> Memory:
    """Return the RAM of the machine and the tightest limit on this process.

    Args:
        root: The folder that holds `proc` and `sys`.
        otherwise: Asked for (total, available) when the kernel's file has no figure.
        nodes: NUMA nodes, of which a cpuset may leave some.
    """
    total, available = parse_meminfo(read_text(root / "proc/meminfo"))
    if not total:
        total, available = otherwise()
    limits = (read_limit(root, total), cpuset_limit(nodes))
    tightest = min(filter(None, limits), key=lambda limit: limit.headroom, default=None)
    return Memory(total, available, tightest)


def read_limit(root: Path, total: Bytes) -> MemoryLimit | None:
    """Return the limit with the least headroom among this process's group and its parents.

    A limit above `total` has no effect: version 1 writes "none" as almost 2**63.
    """
    version, folders = group_folders(root, "memory")
    read = _version_1 if version == 1 else _version_2
    limits = [limit for limit in map(read, folders) if limit is not None and limit.limit < total]
    return min(limits, key=lambda limit: limit.headroom, default=None)


def _version_1(folder: Path) -> MemoryLimit | None:
    limit = _number(read_text(folder / "memory.limit_in_bytes"))
    usage = read_text(folder / "memory.usage_in_bytes")
    return None if limit is None else _limit(folder, limit, usage, prefix="total_")


def _version_2(folder: Path) -> MemoryLimit | None:
    # Above memory.high a group is not killed but throttled until it stalls: a limit all the same.
    limits = [_number(read_text(folder / name)) for name in ("memory.max", "memory.high")]
    limit = min((limit for limit in limits if limit is not None), default=None)
    return None if limit is None else _limit(folder, limit, read_text(folder / "memory.current"))


def _limit(folder: Path, limit: int, usage: str, prefix: str = "") -> MemoryLimit:
    stat = dict(line.split(maxsplit=1) for line in read_text(folder / "memory.stat").splitlines())
    # Both lists, as MemAvailable counts them: a GGUF that was written and hashed is on the active one.
    cache = sum(int(stat.get(f"{prefix}{name}_file", 0)) for name in ("active", "inactive"))
    return MemoryLimit(Bytes(limit), Bytes(_number(usage) or 0), Bytes(cache))


def _number(text: str) -> int | None:
    text = text.strip()
    return int(text) if text.isdecimal() else None

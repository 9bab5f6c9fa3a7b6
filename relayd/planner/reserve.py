"""How much of a machine may be planned with, whatever is free at the moment (reserves and limits).

A plan follows what the machine has and what the operator allows, never what happens to be free: only so does
a restart plan the same, and not around the replicas that it finds running.
"""

from dataclasses import replace

from relayd.config.schema import MemoryBudget
from relayd.hardware.machine import Machine
from relayd.planner.budget import Budget, Room, budget
from relayd.units import GIB, MIB, Bytes, show_bytes

HOST_LEAST, HOST_SHARE, HOST_MOST = 4 * GIB, 0.2, 0.5
"""Of RAM, what stays free for people's programs: at least, as a share, and at most as a share."""

HEADLESS_SHARE = 0.1
"""Of RAM, what stays free where no user logs in."""

GROUP_SHARE, GROUP_LEAST = 0.1, 64 * MIB
"""Of a control group's limit, what stays free for the daemon and for heaps that grow."""

DEVICE_SHARE, DEVICE_LEAST = 0.05, 512 * MIB
"""Of a device, what stays free: its driver, a desktop, buffers that grow."""


def allowance(machine: Machine, memory: MemoryBudget, *, headless: bool = False) -> Budget:
    """Return what models may take of a machine.

    Args:
        machine: The machine.
        memory: What the operator allows.
        headless: Whether relayd runs where no user logs in.
    """
    now = budget(machine)
    limited = machine.memory.limit is not None and machine.memory.limit.limit < machine.memory.total
    host = _allowed(
        now.host, memory.host_mib, "host_mib", memory.reserve_mib * MIB
        or host_reserve(now.host.total, limited=limited, headless=headless),
    )  # fmt: skip
    gpus = tuple(
        _allowed(room, memory.device_mib, "device_mib", memory.device_reserve_mib * MIB
                 or device_reserve(room.total))
        for room in now.gpus
    )  # fmt: skip
    return replace(now, gpus=gpus, host=host)


def host_reserve(total: int, *, limited: bool = False, headless: bool = False) -> int:
    """Return the bytes of RAM that stay free by relayd's own rule.

    Args:
        total: RAM, or what a control group allows.
        limited: Whether it is a group's limit.
        headless: Whether no user logs in.
    """
    if limited:
        return min(total, max(GROUP_LEAST, int(total * GROUP_SHARE)))
    if headless:
        return int(total * HEADLESS_SHARE)
    return min(int(total * HOST_MOST), max(HOST_LEAST, int(total * HOST_SHARE)))


def device_reserve(total: int) -> int:
    """Return the bytes of a device that stay free by relayd's own rule."""
    return min(total, max(DEVICE_LEAST, int(total * DEVICE_SHARE)))


def _allowed(room: Room, limit_mib: int, setting: str, reserve: int) -> Room:
    """Return a device with all of its memory, as far as models may take it."""
    if limit_mib:
        free = Bytes(min(room.total, limit_mib * MIB))
        rule = f"[memory] {setting} allows {show_bytes(free)}"
    else:
        free = Bytes(max(0, room.total - reserve))
        rule = f"{show_bytes(Bytes(room.total - free))} reserved"
    return replace(room, free=free, margin=Bytes(0), holders=(), rule=rule)

"""NUMA nodes of this machine, and those this process may allocate on."""

from pathlib import Path

from relayd.hardware.kernel import parse_cpu_list, parse_pairs, read_text
from relayd.hardware.machine import MemoryLimit, NumaNode
from relayd.units import KIB, Bytes

AVAILABLE = ("MemFree", "Active(file)", "Inactive(file)")
"""Lines of a node's meminfo that count as free: the kernel writes no MemAvailable there."""


def read_nodes(root: Path) -> tuple[NumaNode, ...]:
    """Return the nodes in the kernel's order; none where it has no NUMA.

    `Mems_allowed_list` holds what cpuset.mems leaves, of either version of control groups.
    """
    status = parse_pairs(read_text(root / "proc/self/status"))
    allowed = parse_cpu_list(status.get("Mems_allowed_list", ""))
    folders = {int(one.name[4:]): one for one in (root / "sys/devices/system/node").glob("node[0-9]*")}
    return tuple(
        _node(index, folder, allowed=not allowed or index in allowed)
        for index, folder in sorted(folders.items())
    )


def cpuset_limit(nodes: tuple[NumaNode, ...]) -> MemoryLimit | None:
    """Return what a cpuset leaves of RAM when it closes nodes to this process."""
    ours = [node for node in nodes if node.allowed]
    if len(ours) in {0, len(nodes)}:
        return None
    total = Bytes(sum(node.memory_total for node in ours))
    used = Bytes(total - sum(node.memory_available for node in ours))
    return MemoryLimit(total, used, Bytes(0))


def _node(index: int, folder: Path, *, allowed: bool) -> NumaNode:
    # Lines are `Node 0 MemTotal:  7694548 kB`.
    pairs = parse_pairs(read_text(folder / "meminfo").replace(f"Node {index} ", ""))
    sizes = {key: int(value.split()[0]) * KIB for key, value in pairs.items() if value.endswith("kB")}
    return NumaNode(
        index,
        Bytes(sizes.get("MemTotal", 0)),
        Bytes(sum(sizes.get(name, 0) for name in AVAILABLE)),
        parse_cpu_list(read_text(folder / "cpulist")),
        allowed,
    )

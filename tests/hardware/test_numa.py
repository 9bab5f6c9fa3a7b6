"""Which NUMA nodes there are and what a cpuset leaves of them, from kernel files as documented."""

from collections.abc import Callable
from pathlib import Path

import pytest

from relayd.hardware.memory import read_memory
from relayd.hardware.numa import cpuset_limit, read_nodes
from relayd.units import GIB, Bytes

pytestmark = pytest.mark.system

Lay = Callable[[str], Path]


def unasked() -> tuple[Bytes, Bytes]:
    raise AssertionError("the kernel has answered")


def test_each_node_has_memory_and_cpus_and_page_cache_is_free(machine_files: Lay) -> None:
    first, second = read_nodes(machine_files("numa_two_sockets"))

    assert (0, 128 * GIB, 110 * GIB) == (first.index, first.memory_total, first.memory_available)
    assert frozenset({*range(16, 32), *range(48, 64)}) == second.cpus
    assert first.allowed
    assert second.allowed


def test_memory_without_cpus_is_a_node_and_numbers_may_have_gaps(machine_files: Lay) -> None:
    nodes = read_nodes(machine_files("numa_cxl"))

    assert [(0, 8), (2, 0)] == [(node.index, len(node.cpus)) for node in nodes]


def test_a_kernel_without_numa_has_no_nodes(tmp_path: Path) -> None:
    assert () == read_nodes(tmp_path)


def test_a_cpuset_of_one_node_leaves_the_ram_of_that_node(machine_files: Lay) -> None:
    root = machine_files("numa_cpuset_mems_0")
    memory = read_memory(root, unasked, read_nodes(root))

    assert (256 * GIB, 128 * GIB, 110 * GIB) == (memory.total, memory.ceiling, memory.usable)


def test_a_cpuset_of_every_node_limits_nothing(machine_files: Lay) -> None:
    root = machine_files("numa_two_sockets")

    assert cpuset_limit(read_nodes(root)) is None
    assert 130 * GIB == read_memory(root, unasked, read_nodes(root)).usable


def test_the_tighter_of_cpuset_and_memory_limit_decides(machine_files: Lay) -> None:
    root = machine_files("numa_cpuset_mems_0")
    group = root / "sys/fs/cgroup"
    group.mkdir(parents=True)
    (group / "memory.max").write_text(f"{16 * GIB}\n")
    (group / "memory.current").write_text(f"{GIB}\n")

    assert 15 * GIB == read_memory(root, unasked, read_nodes(root)).usable

"""How much RAM this process may use, from recorded kernel files."""

from pathlib import Path

import pytest

from relayd.hardware.memory import parse_meminfo, read_limit, read_memory
from relayd.units import GIB, MIB, Bytes

TOTAL = Bytes(64 * GIB)

MEMINFO = """\
MemTotal:       67108864 kB
MemFree:         1048576 kB
MemAvailable:   33554432 kB
HugePages_Total:       0
"""


def lay(root: Path, files: dict[str, str | int]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return root


def v1(group: str, limit: int, usage: int, cache: int) -> dict[str, str | int]:
    folder = f"sys/fs/cgroup/memory/{group}"
    return {
        f"{folder}/memory.limit_in_bytes": limit,
        f"{folder}/memory.usage_in_bytes": usage,
        f"{folder}/memory.stat": f"inactive_file 1\ntotal_inactive_file {cache}\ntotal_active_file 0",
    }


def v2(group: str, limit: int | str, usage: int, cache: int, high: int | str = "max") -> dict[str, str | int]:
    folder = f"sys/fs/cgroup/{group}"
    return {
        f"{folder}/memory.max": limit,
        f"{folder}/memory.high": high,
        f"{folder}/memory.current": usage,
        f"{folder}/memory.stat": f"anon 77\nfile {cache}\ninactive_file {cache - 100}\nactive_file 100",
    }


def never() -> tuple[Bytes, Bytes]:
    raise AssertionError("the kernel has answered")


@pytest.mark.pure
def test_meminfo_counts_kibibytes() -> None:
    assert (64 * GIB, 32 * GIB) == parse_meminfo(MEMINFO)


@pytest.mark.system
def test_without_a_control_group_there_is_no_limit(tmp_path: Path) -> None:
    memory = read_memory(lay(tmp_path, {"proc/meminfo": MEMINFO}), never)

    assert memory.limit is None
    assert 32 * GIB == memory.usable


@pytest.mark.system
def test_a_system_without_meminfo_is_asked_otherwise(tmp_path: Path) -> None:
    assert GIB == read_memory(tmp_path, lambda: (TOTAL, Bytes(GIB))).usable


@pytest.mark.system
def test_v2_takes_page_cache_of_both_lists_off_the_usage(tmp_path: Path) -> None:
    lay(tmp_path, {"proc/self/cgroup": "0::/app", **v2("app", 8 * GIB, 6 * GIB, cache=4 * GIB)})
    limit = read_limit(tmp_path, TOTAL)

    assert limit is not None
    assert (8 * GIB, 6 * GIB, 4 * GIB) == (limit.limit, limit.usage, limit.reclaimable)
    assert 6 * GIB == limit.headroom


@pytest.mark.system
def test_v2_throttling_limits_as_well_as_killing(tmp_path: Path) -> None:
    lay(tmp_path, {"proc/self/cgroup": "0::/app", **v2("app", "max", GIB, cache=200, high=4 * GIB)})
    limit = read_limit(tmp_path, TOTAL)

    assert limit is not None
    assert 4 * GIB == limit.limit


@pytest.mark.system
def test_the_parent_that_leaves_least_decides(tmp_path: Path) -> None:
    lay(
        tmp_path,
        {
            "proc/self/cgroup": "0::/slice/app",
            **v2("slice/app", 8 * GIB, GIB, cache=200),
            **v2("slice", 10 * GIB, 9 * GIB, cache=200),
        },
    )
    limit = read_limit(tmp_path, TOTAL)

    assert limit is not None
    assert 10 * GIB == limit.limit


@pytest.mark.system
def test_a_container_finds_its_own_group_at_the_mount(tmp_path: Path) -> None:
    lay(tmp_path, {"proc/self/cgroup": "0::/docker/1f2e", **v2("", 512 * MIB, MIB, cache=200)})
    limit = read_limit(tmp_path, TOTAL)

    assert limit is not None
    assert 512 * MIB == limit.limit


@pytest.mark.system
def test_v1_reads_the_totals_of_the_hierarchy(tmp_path: Path) -> None:
    lay(
        tmp_path,
        {
            "proc/self/cgroup": "12:memory:/docker/1\n3:cpu,cpuacct:/docker/1\n0::/",
            **v1("docker/1", 4 * GIB, 3 * GIB, cache=2 * GIB),
        },
    )
    limit = read_limit(tmp_path, TOTAL)

    assert limit is not None
    assert 3 * GIB == limit.headroom


@pytest.mark.system
def test_v1_writes_unlimited_as_a_number(tmp_path: Path) -> None:
    lay(tmp_path, {"proc/self/cgroup": "4:memory:/a", **v1("a", 9223372036854771712, GIB, cache=0)})

    assert read_limit(tmp_path, TOTAL) is None

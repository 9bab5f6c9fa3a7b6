"""Which CPU it is and how much of it may be used, from recorded kernel files."""

from pathlib import Path

import pytest

from relayd.hardware.cpu import complete, parse_cpuinfo, read_cpu, read_quota
from relayd.hardware.machine import Cpu

X86 = """\
processor	: {processor}
vendor_id	: GenuineIntel
model name	: Intel(R) Core(TM) i7-1165G7 @ 2.80GHz
physical id	: 0
siblings	: 4
core id		: {core}
cpu cores	: 2
flags		: fpu sse4_2 avx avx2 fma f16c avx512f avx512_vnni
bugs		: spectre_v1 spectre_v2
power management:

"""
I7 = "".join(X86.format(processor=number, core=number % 2) for number in range(4))

ARM = """\
processor	: {processor}
BogoMIPS	: 243.75
Features	: fp asimd aes atomics asimdhp asimdrdm asimddp sve i8mm bf16
CPU implementer	: 0x41
CPU architecture: 8
CPU variant	: 0x1
CPU part	: 0xd40
CPU revision	: 1

"""
GRAVITON = "".join(ARM.format(processor=number) for number in range(4))


def lay(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return root


@pytest.mark.pure
def test_cpuinfo_is_keyed_by_cpu() -> None:
    cpus = parse_cpuinfo(I7)

    assert [0, 1, 2, 3] == list(cpus)
    assert "1" == cpus[3]["core id"]


@pytest.mark.system
def test_hyper_threads_share_a_core(tmp_path: Path) -> None:
    cpu = read_cpu(lay(tmp_path, {"proc/cpuinfo": I7}))

    assert (2, 4, 2) == (cpu.physical_cores, cpu.logical_cores, cpu.allowed_cores)
    assert "Intel(R) Core(TM) i7-1165G7 @ 2.80GHz" == cpu.model
    assert {"avx2", "avx512_vnni"} < cpu.flags
    assert "spectre_v1" not in cpu.flags


@pytest.mark.system
@pytest.mark.parametrize(("allowed", "cores"), [("0,2", 1), ("0-1", 2), ("2-3", 2), ("17,19", 2)], ids=str)
def test_affinity_is_counted_in_cores(tmp_path: Path, allowed: str, cores: int) -> None:
    status = f"Name:\trelayd\nCpus_allowed:\tf\nCpus_allowed_list:\t{allowed}"

    assert cores == read_cpu(lay(tmp_path, {"proc/cpuinfo": I7, "proc/self/status": status})).allowed_cores


@pytest.mark.system
def test_a_small_container_on_128_threads_starts_as_many_as_it_may_use(tmp_path: Path) -> None:
    host = "".join(X86.format(processor=number, core=number % 64) for number in range(128))
    files = {
        "proc/cpuinfo": host,
        "proc/self/status": "Cpus_allowed_list:\t0-7,64-71",
        "proc/self/cgroup": "0::/lxc",
        "sys/fs/cgroup/lxc/cpu.max": "200000 100000",
    }
    cpu = read_cpu(lay(tmp_path, files))

    assert (64, 128, 8, 2) == (cpu.physical_cores, cpu.logical_cores, cpu.allowed_cores, cpu.usable_cores)


@pytest.mark.system
def test_arm64_names_features_and_parts(tmp_path: Path) -> None:
    cpu = read_cpu(lay(tmp_path, {"proc/cpuinfo": GRAVITON}))

    assert (4, 4) == (cpu.physical_cores, cpu.logical_cores)
    assert "implementer 0x41, part 0xd40" == cpu.model
    assert ("asimd", "asimddp") == tuple(
        name for name in cpu.instruction_sets if name in {"asimd", "asimddp"}
    )


@pytest.mark.system
def test_arm64_topology_and_board_come_from_other_files(tmp_path: Path) -> None:
    siblings = {
        f"sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list": f"{number // 2 * 2}-{number | 1}"
        for number in range(4)
    }
    board = {"proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0"}
    cpu = read_cpu(lay(tmp_path, {"proc/cpuinfo": GRAVITON, **siblings, **board}))

    assert 2 == cpu.physical_cores
    assert "Raspberry Pi 5 Model B Rev 1.0" == cpu.model


@pytest.mark.system
@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"proc/self/cgroup": "0::/app", "sys/fs/cgroup/app/cpu.max": "max 100000"}, None),
        ({"proc/self/cgroup": "0::/app", "sys/fs/cgroup/app/cpu.max": "250000 100000"}, 2.5),
        (
            {
                "proc/self/cgroup": "0::/slice/app",
                "sys/fs/cgroup/slice/app/cpu.max": "400000 100000",
                "sys/fs/cgroup/slice/cpu.max": "100000 100000",
            },
            1.0,
        ),
        (
            {
                "proc/self/cgroup": "3:cpu,cpuacct:/a",
                "sys/fs/cgroup/cpu/a/cpu.cfs_quota_us": "150000",
                "sys/fs/cgroup/cpu/a/cpu.cfs_period_us": "100000",
            },
            1.5,
        ),
        (
            {
                "proc/self/cgroup": "3:cpu:/",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            None,
        ),
        ({}, None),
    ],
    ids=["v2 unlimited", "v2", "v2 parent", "v1", "v1 unlimited", "no group"],
)
def test_the_tightest_quota_is_in_cores(tmp_path: Path, files: dict[str, str], quota: float | None) -> None:
    assert quota == read_quota(lay(tmp_path, files))


@pytest.mark.pure
def test_py_cpuinfo_fills_only_what_is_missing() -> None:
    found = {"brand_raw": "SiFive", "count": 4, "flags": ["rv64"]}

    assert Cpu("Known", 2, 4, 4, flags=frozenset({"rv64"})) == complete(Cpu("Known", 2, 4, 0), found)

"""The CPU: its name, the cores this process may use, and its instruction sets."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from relayd.hardware.kernel import group_folders, parse_cpu_list, parse_pairs, read_text
from relayd.hardware.machine import Cpu


def parse_cpuinfo(text: str) -> dict[int, dict[str, str]]:
    """Return /proc/cpuinfo as CPU number → the kernel's entry; only CPUs that are online."""
    blocks = (parse_pairs(block) for block in text.split("\n\n"))
    return {int(block["processor"]): block for block in blocks if block.get("processor", "").isdecimal()}


def read_cpu(root: Path) -> Cpu:
    """Return the CPU as the kernel of Linux describes it; without flags when it does not.

    Args:
        root: The folder that holds `proc` and `sys`.
    """
    cpus = parse_cpuinfo(read_text(root / "proc/cpuinfo"))
    cores = {number: _core(root, number, said) for number, said in cpus.items()}
    first = next(iter(cpus.values()), {})
    allowed = parse_cpu_list(parse_pairs(read_text(root / "proc/self/status")).get("Cpus_allowed_list", ""))
    physical = len(set(cores.values()))
    return Cpu(
        model=_model(root, first),
        physical_cores=physical,
        logical_cores=len(cpus),
        # lxcfs numbers the CPUs of a container anew in cpuinfo, not in status: then none is found.
        allowed_cores=len({cores[number] for number in allowed & cores.keys()}) or physical,
        quota_cores=read_quota(root),
        flags=frozenset((first.get("flags") or first.get("Features") or "").split()),
    )


def read_quota(root: Path) -> float | None:
    """Return the CPU time, in cores, of the tightest of this process's group and its parents."""
    version, folders = group_folders(root, "cpu")
    quotas = (_quota(folder, version) for folder in folders)
    return min((quota for quota in quotas if quota is not None), default=None)


def describe_cpu() -> Mapping[str, Any]:
    """Return what py-cpuinfo finds; it runs code in a child process and takes about a second."""
    import cpuinfo

    found: dict[str, Any] = cpuinfo.get_cpu_info()
    return found


def complete(cpu: Cpu, found: Mapping[str, Any]) -> Cpu:
    """Fill in what the system did not report about its CPU from what `describe_cpu` found."""
    count = int(found.get("count") or 1)
    return replace(
        cpu,
        model=cpu.model or str(found.get("brand_raw", "")),
        physical_cores=cpu.physical_cores or count,
        logical_cores=cpu.logical_cores or count,
        allowed_cores=cpu.allowed_cores or count,
        flags=cpu.flags or frozenset(found.get("flags", ())),
    )


def _core(root: Path, number: int, said: Mapping[str, str]) -> str:
    """Return a name that hyper-threads of one core share."""
    if "core id" in said:
        return f"{said.get('physical id')}/{said['core id']}"
    # Kernels of other architectures than x86 have it in sysfs only.
    topology = root / f"sys/devices/system/cpu/cpu{number}/topology"
    return read_text(topology / "thread_siblings_list").strip() or str(number)


def _model(root: Path, said: Mapping[str, str]) -> str:
    """Return the model; kernels of arm64 give numbers instead, but name the board."""
    board = read_text(root / "proc/device-tree/model").strip("\0\n")
    part = f"implementer {said.get('CPU implementer')}, part {said.get('CPU part')}"
    return said.get("model name") or board or (part if "CPU part" in said else "")


def _quota(folder: Path, version: int) -> float | None:
    if version == 1:
        names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        words = [read_text(folder / name).strip() for name in names]
    else:
        words = read_text(folder / "cpu.max").split()
    match words:
        case [quota, period] if quota.isdecimal() and period.isdecimal() and int(period):
            return int(quota) / int(period)
    return None

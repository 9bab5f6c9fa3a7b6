"""The CPU and GPU of a Mac, from sysctl."""

import subprocess
from collections.abc import Mapping

from relayd.hardware.machine import MACOS_RESERVE, Cpu, Device, DeviceKind, Memory
from relayd.units import GIB, MIB, Bytes

KERNEL_NAMES = {
    "dotprod": "asimddp",
    "fhm": "asimdfhm",
    "fp16": "asimdhp",
    "lse": "atomics",
    "rdm": "asimdrdm",
    "avx1.0": "avx",
    "lzcnt": "abm",
    "sse3": "pni",
    "sse4.1": "sse4_1",
    "sse4.2": "sse4_2",
}
"""Instruction sets that macOS and Linux call by different names."""

WIRED_SHARES = ((128 * GIB, 0.84), (64 * GIB, 0.75), (0, 0.66))
"""(RAM from, share of it a GPU may wire by default), as Metal reports it on such machines."""


def run_sysctl() -> str:
    """Return sysctl's `name: value` lines, or nothing where it does not answer within 5 s."""
    # -i: names that a machine does not know (iogpu, hw.optional.arm on Intel) are left out.
    names = ("hw", "machdep.cpu", "iogpu.wired_limit_mb")
    try:
        done = subprocess.run(  # noqa: S603 - an absolute path and fixed names, no shell
            ["/usr/sbin/sysctl", "-i", *names], capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def read_cpu(said: Mapping[str, str]) -> Cpu:
    """Return the CPU from sysctl's values; macOS limits neither cores nor CPU time of a process."""
    physical = int(said.get("hw.physicalcpu", 0))
    return Cpu(
        model=said.get("machdep.cpu.brand_string", ""),
        physical_cores=physical,
        logical_cores=int(said.get("hw.logicalcpu", 0)),
        allowed_cores=physical,
        flags=frozenset(KERNEL_NAMES.get(name, name) for name in _instruction_sets(said)),
    )


def read_gpus(said: Mapping[str, str], memory: Memory) -> tuple[Device, ...]:
    """Return the GPU of Apple silicon, which computes in RAM; none on Intel Macs.

    `iogpu.wired_limit_mb` is the operator's limit in MiB on what it may wire; 0 is the default.
    """
    if said.get("hw.optional.arm64") != "1":
        return ()
    wired = int(said.get("iogpu.wired_limit_mb", 0)) * MIB
    share = next(share for start, share in WIRED_SHARES if memory.total >= start)
    limit = Bytes(max(0, min(wired or int(memory.total * share), memory.total - MACOS_RESERVE)))
    name = said.get("machdep.cpu.brand_string", "Apple GPU")
    return (Device(DeviceKind.METAL, 0, "", name, limit, min(limit, memory.usable), unified=True),)


def _instruction_sets(said: Mapping[str, str]) -> set[str]:
    arm = (key.rpartition(".FEAT_")[2] for key, value in said.items() if ".FEAT_" in key and value == "1")
    intel = (said.get(f"machdep.cpu.{name}features", "") for name in ("", "leaf7_", "ext"))
    return {name.lower() for name in (*arm, *" ".join(intel).split())}

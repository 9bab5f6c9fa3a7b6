"""The machine as it is now, read from every source (hardware probe)."""

import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relayd.hardware import amd, apple, cpu, intel, memory, numa, nvidia
from relayd.hardware.bandwidth import catalogued
from relayd.hardware.kernel import parse_pairs, read_text
from relayd.hardware.machine import Cpu, Device, Machine, Memory
from relayd.units import Bytes

ARCHITECTURES = {"amd64": "x86_64", "aarch64": "arm64"}
SYSTEMS = {"Darwin": "macos"}

WSL = (
    "In WSL, RAM is what .wslconfig gives the virtual machine, while free GPU memory is the whole "
    "host's and its holders are unknown"
)


@dataclass(frozen=True, slots=True)
class MachineSources:
    """Where the facts come from; the defaults are the machine itself, and slow sources come last.

    Attributes:
        os: `linux` or `macos`.
        arch: The processor as `uname -m` names it.
        root: The folder that holds `proc` and `sys`.
        environ: The environment, for `CUDA_VISIBLE_DEVICES`.
        load_nvml: Returns a module with the interface of `pynvml`.
        run_sysctl: Returns what sysctl prints; asked on macOS.
        system_memory: Returns RAM (total, available); asked where the kernel has no /proc/meminfo.
        describe_cpu: Returns what py-cpuinfo finds; asked when no instruction sets were found.
    """

    os: str
    arch: str
    environ: Mapping[str, str]
    root: Path = Path("/")
    load_nvml: Callable[[], Any] = nvidia.load_nvml
    run_sysctl: Callable[[], str] = apple.run_sysctl
    system_memory: Callable[[], tuple[Bytes, Bytes]] = memory.system_memory
    describe_cpu: Callable[[], Mapping[str, Any]] = cpu.describe_cpu


def this_machine() -> MachineSources:
    """Return the sources of the machine this process runs on."""
    system = platform.system()
    return MachineSources(SYSTEMS.get(system, system.lower()), platform.machine(), os.environ)


def probe(sources: MachineSources | None = None) -> Machine:
    """Return the machine as it is now; what cannot be read becomes a note, never an error."""
    sources = sources or this_machine()
    nodes = numa.read_nodes(sources.root)
    ram = memory.read_memory(sources.root, sources.system_memory, nodes)
    gpus: tuple[Device, ...]
    notes: tuple[str, ...] = ()
    if sources.os == "macos":
        said = parse_pairs(sources.run_sysctl())
        processors, gpus = apple.read_cpu(said), apple.read_gpus(said, ram)
    else:
        processors = cpu.read_cpu(sources.root)
        gpus, notes = _gpus(sources, ram)
    processors, more = _completed(processors, sources)
    machine = Machine(
        os=sources.os,
        arch=ARCHITECTURES.get(sources.arch.lower(), sources.arch.lower()),
        cpu=processors,
        memory=ram,
        gpus=gpus,
        notes=(*more, *notes),
        nodes=nodes,
    )
    return catalogued(machine)


def probe_memory(sources: MachineSources | None = None, *, gpus: bool = True) -> Machine:
    """Return the machine with nothing but its memory: what changes from second to second.

    Args:
        sources: Where the facts come from.
        gpus: Whether drivers are asked too.
    """
    sources = sources or this_machine()
    ram = memory.read_memory(sources.root, sources.system_memory, numa.read_nodes(sources.root))
    found: tuple[Device, ...] = ()
    if gpus and sources.os == "macos":
        found = apple.read_gpus(parse_pairs(sources.run_sysctl()), ram)
    elif gpus:
        found, _ = _gpus(sources, ram)
    return Machine(sources.os, sources.arch, Cpu("", 0, 0, 0), ram, found)


def _gpus(sources: MachineSources, ram: Memory) -> tuple[tuple[Device, ...], tuple[str, ...]]:
    """Return the GPUs of every maker: those with memory of their own first, integrated ones last."""
    found = (
        nvidia.read_devices(sources.load_nvml, ram, sources.root, sources.environ),
        amd.read_devices(sources.root, ram),
        intel.read_devices(sources.root, ram),
    )
    gpus = sorted((gpu for gpus, _ in found for gpu in gpus), key=lambda gpu: gpu.unified)
    notes = [note for _, notes in found for note in notes]
    if gpus and "microsoft" in read_text(sources.root / "proc/sys/kernel/osrelease").lower():
        notes.append(WSL)
    return tuple(gpus), tuple(notes)


def _completed(found: Cpu, sources: MachineSources) -> tuple[Cpu, tuple[str, ...]]:
    if found.flags:
        return found, ()
    found = cpu.complete(found, sources.describe_cpu())
    if found.flags:
        return found, ()
    note = "The CPU's instruction sets could not be read: an engine built here may not run on its like"
    return found, (note,)

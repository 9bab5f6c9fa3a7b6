"""Can models use the devices of this machine, and who else does?"""

import os
from collections.abc import Iterator
from pathlib import Path

from relayd.checkup.finding import Finding, Patient, Severity
from relayd.hardware import Machine
from relayd.units import GIB, show_bytes

MUCH = GIB // 2
"""A desktop holds less of a GPU than this."""

HIDING = ("ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "GGML_VK_VISIBLE_DEVICES", "ONEAPI_DEVICE_SELECTOR")
"""Variables that hide GPUs; of CUDA's the machine's own notes tell."""


def check_devices(patient: Patient) -> Iterator[Finding]:
    """Yield every device, and what keeps models from using it."""
    machine = patient.machine
    for device in machine.devices:
        free = f"{show_bytes(device.memory_free)} of {show_bytes(device.memory_total)} free"
        yield Finding(f"device {device.key}", Severity.OK, f"{device.name}, {free}")
    for note in machine.notes:
        what, _, remedy = note.partition(": ")
        yield Finding("devices", Severity.NOTE, what, remedy)
    for name in HIDING:
        if value := patient.environ.get(name):
            yield Finding("devices", Severity.NOTE, f"{name}={value} may hide GPUs", f"unset {name}")
    yield from _permissions(patient.root)
    yield from _holders(patient, machine)
    yield from _processors(machine)
    yield from _numa(patient.root, machine)


def _permissions(root: Path) -> Iterator[Finding]:
    """Yield the files of GPU drivers that exist and that this user may not open."""
    files = [
        *root.glob("dev/dri/renderD*"),
        root / "dev/kfd",
        *root.glob("dev/nvidia[0-9]*"),
        root / "dev/nvidiactl",
    ]
    closed = [str(file) for file in sorted(files) if file.exists() and not os.access(file, os.R_OK | os.W_OK)]
    if closed:
        remedy = "sudo usermod -aG render,video $USER, then log in again; in a container, pass the devices in"
        yield Finding("permissions", Severity.PROBLEM, f"this user may not open {', '.join(closed)}", remedy)


def _holders(patient: Patient, machine: Machine) -> Iterator[Finding]:
    """Yield programs, relayd's own not among them, that hold much of a GPU."""
    ours = {one.pid for one in patient.servers() if one.instance}
    for gpu in machine.gpus:
        for holder in gpu.holders:
            if holder.pid not in ours and (holder.memory or 0) >= MUCH:
                held = (
                    f"{holder.name or 'a process'} (pid {holder.pid}) holds {show_bytes(holder.memory or 0)}"
                )
                yield Finding(
                    f"device {gpu.key}", Severity.NOTE, held, "end it if models shall have that memory"
                )


def _processors(machine: Machine) -> Iterator[Finding]:
    """Yield a note where a control group allows less CPU than there is."""
    cpu = machine.cpu
    if cpu.quota_cores is not None and cpu.quota_cores < cpu.allowed_cores:
        detail = f"CPU time of {cpu.quota_cores:g} cores may be used of {cpu.allowed_cores} cores"
        yield Finding(
            "control group", Severity.NOTE, detail, "raise CPUQuota, or the container's cpus, for speed"
        )


def _numa(root: Path, machine: Machine) -> Iterator[Finding]:
    """Yield a note where the kernel moves pages between nodes under a model's feet."""
    if len([node for node in machine.nodes if node.memory_total and node.cpus]) < 2:
        return
    try:
        balancing = (root / "proc/sys/kernel/numa_balancing").read_text().strip()
    except OSError:
        return
    if balancing != "0":
        remedy = 'sudo sysctl kernel.numa_balancing=0, and args = ["--numa", "distribute"] for CPU models'
        yield Finding(
            "memory nodes", Severity.NOTE, "the kernel moves pages between NUMA nodes: slower", remedy
        )

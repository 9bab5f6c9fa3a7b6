"""Checks of devices: permissions, other programs' memory, CPU quota, NUMA."""

from collections.abc import Callable, Iterator
from pathlib import Path

from relayd.checkup.finding import Finding, Patient, Severity
from relayd.hardware import Machine
from relayd.units import GIB, show_bytes

MUCH = GIB // 2
"""A desktop uses less memory of a GPU than this."""

HIDING = ("ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "GGML_VK_VISIBLE_DEVICES", "ONEAPI_DEVICE_SELECTOR")
"""Variables that hide GPUs; those of CUDA are in the machine's own notes."""


def check_devices(patient: Patient) -> Iterator[Finding]:
    """Yield every device, and what keeps models from using it."""
    machine = patient.machine
    for device in machine.devices:
        free = f"{show_bytes(device.memory_free)} of {show_bytes(device.memory_total)} free"
        yield Finding(f"device {device.key}", Severity.OK, f"{device.name}, {free}")
    for note in machine.notes:
        what, _, remedy = note.partition(": ")
        yield Finding("devices", Severity.NOTE, what, _sentence(remedy))
    for name in HIDING:
        if value := patient.environ.get(name):
            yield Finding("devices", Severity.NOTE, f"{name}={value} may hide GPUs", f"Unset {name}.")
    yield from _permissions(patient.root, patient.may_open)
    yield from _holders(patient, machine)
    yield from _processors(machine)
    yield from _numa(patient.root, machine)


def _sentence(remedy: str) -> str:
    """Return the command after a note's colon as a sentence."""
    return f"Run `{remedy}`." if remedy else ""


def _permissions(root: Path, may_open: Callable[[Path], bool]) -> Iterator[Finding]:
    """Yield the files of GPU drivers that exist and that this user may not open."""
    files = [
        *root.glob("dev/dri/renderD*"),
        root / "dev/kfd",
        *root.glob("dev/nvidia[0-9]*"),
        root / "dev/nvidiactl",
    ]
    closed = [str(file) for file in sorted(files) if file.exists() and not may_open(file)]
    if closed:
        remedy = (
            "Run `sudo usermod -aG render,video $USER` and log in again; in a container, pass the devices in."
        )
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
                yield Finding(f"device {gpu.key}", Severity.NOTE, held, "End it if models need that memory.")


def _processors(machine: Machine) -> Iterator[Finding]:
    """Yield a note where a control group allows less CPU than there is."""
    cpu = machine.cpu
    if cpu.quota_cores is not None and cpu.quota_cores < cpu.allowed_cores:
        detail = f"CPU time of {cpu.quota_cores:g} cores may be used of {cpu.allowed_cores} cores"
        yield Finding(
            "control group", Severity.NOTE, detail, "Raise CPUQuota, or the container's cpus, for more speed."
        )


def _numa(root: Path, machine: Machine) -> Iterator[Finding]:
    """Yield a note where the kernel moves pages of a running model between NUMA nodes."""
    if len([node for node in machine.nodes if node.memory_total and node.cpus]) < 2:
        return
    try:
        balancing = (root / "proc/sys/kernel/numa_balancing").read_text().strip()
    except OSError:
        return
    if balancing != "0":
        remedy = (
            "Run `sudo sysctl kernel.numa_balancing=0`, and give models on the CPU "
            'args = ["--numa", "distribute"].'
        )
        yield Finding(
            "memory nodes",
            Severity.NOTE,
            "the kernel moves pages between NUMA nodes, which slows models down",
            remedy,
        )

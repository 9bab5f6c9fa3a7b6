"""A machine, as a page of 80 columns."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from relayd.hardware.machine import Cpu, Device, Machine, Memory, NumaNode
from relayd.units import show_bytes

VECTOR_SETS = ("avx", "amx", "asimd", "i8mm", "bf16", "sve", "sme")
"""How the instruction sets begin that decide how fast a CPU multiplies matrices."""


def render_machine(machine: Machine) -> RenderableType:
    """Return the machine as a list of facts, a table of devices, and what to know about them."""
    facts = Table.grid(padding=(0, 2))
    for label, value in (
        ("System", f"{machine.os} {machine.arch}"),
        ("CPU", machine.cpu.model or "unknown"),
        ("Cores", _cores(machine.cpu)),
        ("Vectors", _vectors(machine.cpu)),
        ("RAM", _memory(machine.memory)),
        ("NUMA", _nodes(machine.nodes)),
        ("Driver", ", ".join(sorted({gpu.driver for gpu in machine.gpus if gpu.driver}))),
    ):
        if value:
            facts.add_row(Text(label, style="bold"), Text(value))
    holders = [Text(line) for gpu in machine.gpus if (line := _holders(gpu))]
    notes = [Text(f"Note: {note}") for note in machine.notes]
    return Group(facts, Text(), _devices(machine.devices), *holders, *notes)


def summary(machine: Machine) -> tuple[str, str]:
    """Return the machine in two lines: what it computes with, and the memory for models."""
    cpu = f"CPU: {machine.cpu.model or 'unknown'}, {machine.cpu.usable_cores} cores"
    ram = f"{show_bytes(machine.memory.usable)} of RAM can be used"
    gpus = (
        f"{gpu.name} with {show_bytes(gpu.memory_free)} free of {show_bytes(gpu.memory_total)}"
        for gpu in machine.gpus
    )
    return f"{cpu}; {ram}", f"GPU: {'; '.join(gpus) or 'none, models run on the CPU'}"


def _cores(cpu: Cpu) -> str:
    quota = "" if cpu.quota_cores is None else f", CPU time for {cpu.quota_cores:g}"
    return f"{cpu.usable_cores} usable of {cpu.physical_cores} ({cpu.logical_cores} logical{quota})"


def _vectors(cpu: Cpu) -> str:
    sets = (name for name in cpu.instruction_sets if name.startswith(VECTOR_SETS))
    return " ".join(sets) or "unknown"


def _memory(memory: Memory) -> str:
    limit = "" if memory.limit is None else f" (limited to {show_bytes(memory.limit.limit)} here)"
    return f"{show_bytes(memory.usable)} usable of {show_bytes(memory.total)}{limit}"


def _nodes(nodes: tuple[NumaNode, ...]) -> str:
    if len(nodes) < 2:
        return ""
    return "; ".join(
        f"node {node.index}: {len(node.cpus)} CPUs, {show_bytes(node.memory_available)} of "
        f"{show_bytes(node.memory_total)}{'' if node.allowed else ' (closed to us)'}"
        for node in nodes
    )


def _devices(devices: tuple[Device, ...]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("Device", "Name", "Free", "Of", "GB/s", "Details"):
        numbers = heading in {"Free", "Of", "GB/s"}
        table.add_column(heading, justify="right" if numbers else "left", no_wrap=numbers)
    for device in devices:
        free, total = show_bytes(device.memory_free), show_bytes(device.memory_total)
        speed = "" if device.bandwidth is None else f"{device.bandwidth.gb_s:.0f}"
        table.add_row(device.key, Text(device.name), free, total, speed, Text(_details(device)))
    return table


def _holders(device: Device) -> str:
    held = (
        f"{one.name or 'process'} ({one.pid})" + ("" if one.memory is None else f" {show_bytes(one.memory)}")
        for one in device.holders
    )
    return f"Memory of {device.key} is held by {', '.join(held)}" if device.holders else ""


def _details(device: Device) -> str:
    capability = device.compute_capability
    parts = (
        "shares RAM" if device.unified else "",
        f"compute {capability[0]}.{capability[1]}" if capability else device.architecture,
        "display" if device.display else "",
        {None: "", "": "unused"}.get(device.engine_name, f"engine: {device.engine_name}"),
        "measured" if device.bandwidth and device.bandwidth.basis == "measured" else "",
    )
    return ", ".join(filter(None, parts))

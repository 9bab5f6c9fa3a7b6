"""A machine in a line: what advice is given for."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from relayd.hardware.machine import Device, Machine
from relayd.planner.budget import HOST, Budget
from relayd.units import GIB, Bytes, show_bytes


def machine_line(machine: Machine, assumed: frozenset[str] | None) -> str:
    """Return a machine in a line: `Simulated: 2 x RTX 3090, 24 GiB, 936 GB/s; 16 GiB RAM (assumed)`.

    Args:
        machine: The machine.
        assumed: What its description leaves open; None where it is this machine.
    """
    parts = [*_gpus(machine), _host(machine, assumed or frozenset())]
    return f"{'This machine' if assumed is None else 'Simulated'}: {'; '.join(parts)}"


def room_line(budget: Budget) -> str:
    """Return what models may take of a machine, and what is kept free, whatever is free now."""
    rooms = [room for room in budget.rooms if room.usable] or [budget.host]
    alike = groupby(rooms, key=lambda room: (show_bytes(room.usable), room.account == HOST))
    parts = ", ".join(
        f"{size} of {'RAM' if is_host else each_of([room.key for room in some])}"
        for (size, is_host), some in alike
    )
    kept = show_bytes(Bytes(budget.host.total - budget.host.usable))
    return f"Models may take {parts}; {kept} of RAM stay for other programs."


def held_line(free: Bytes, programs: Sequence[tuple[str, Bytes]]) -> str:
    """Return that less RAM is free now than models may take, and which programs hold the most."""
    most = ", ".join(f"{name} {show_bytes(nbytes)}" for name, nbytes in programs)
    return f"{show_bytes(free)} of RAM is free now. Other programs hold the most: {most}."


def each_of(keys: Sequence[str]) -> str:
    """Return devices as a sentence names them: `cuda0`, `each of cuda0 to cuda7`."""
    return keys[0] if len(keys) == 1 else f"each of {keys[0]} to {keys[-1]}"


def short_name(name: str) -> str:
    """Return a device's name without its maker's: `RTX 3090`."""
    for maker in ("NVIDIA GeForce ", "NVIDIA ", "AMD ", "Intel(R) ", "Intel "):
        if name.startswith(maker):
            return name.removeprefix(maker)
    return name


def _gpus(machine: Machine) -> Iterator[str]:
    for (name, total, unified), alike in groupby(machine.gpus, key=_kind):
        gpus = list(alike)
        count = f"{len(gpus)} x " if len(gpus) > 1 else ""
        of_ram = " of RAM for it" if unified else ""
        yield f"{count}{name}, {show_bytes(total)}{of_ram}{_rate(gpus[0])}"


def _kind(gpu: Device) -> tuple[str, Bytes, bool]:
    return short_name(gpu.name), gpu.memory_total, gpu.unified


def _rate(device: Device) -> str:
    found = device.bandwidth
    return f", {found.gb_s:.0f} GB/s" if found else ", of unknown bandwidth"


def _host(machine: Machine, assumed: frozenset[str]) -> str:
    found = f"{round(machine.memory.total / GIB)} GiB RAM" + _mark("ram", assumed)
    if any(gpu.unified for gpu in machine.gpus):
        return found
    rate = machine.ram_bandwidth
    if rate and not (machine.gpus and "bandwidth" in assumed):
        how = "measured on a busy machine" if rate.disturbed else "measured"
        measured = f" ({how})" if rate.basis == "measured" and rate.source != "--simulate" else ""
        found += f", {rate.gb_s:.0f} GB/s{measured}{_mark('bandwidth', assumed)}"
    if not (machine.gpus and "cores" in assumed):
        found += f", {machine.cpu.usable_cores} cores{_mark('cores', assumed)}"
    return found


def _mark(what: str, assumed: frozenset[str]) -> str:
    return " (assumed)" if what in assumed else ""

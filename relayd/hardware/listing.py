"""The engine's own list of devices (`--list-devices`), and what it corrects of a machine.

`llama-server --list-devices` sees what its models will see: it decides where drivers differ.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from relayd.hardware.bandwidth import catalogued
from relayd.hardware.machine import MACOS_RESERVE, Device, DeviceKind, Machine
from relayd.units import Bytes, mib, show_bytes

TOLERANCE = 0.05
"""Share of a device's memory by which two answers may differ without a note: the engine's own context."""

BACKENDS = {
    "CUDA": DeviceKind.CUDA,
    "ROCm": DeviceKind.AMD,
    "HIP": DeviceKind.AMD,
    "MTL": DeviceKind.METAL,
    "Metal": DeviceKind.METAL,
    "SYCL": DeviceKind.INTEL,
}
"""Names that ggml's backends give their devices, a number after it."""

MAKERS = (
    ("NVIDIA", DeviceKind.CUDA),
    ("AMD", DeviceKind.AMD),
    ("Radeon", DeviceKind.AMD),
    ("Intel", DeviceKind.INTEL),
    ("Apple", DeviceKind.METAL),
)
"""Words in the names of devices that Vulkan drives, of any maker."""

_LINE = re.compile(r"^ +(\S+): (.+) \((\d+) MiB, (\d+) MiB free\)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Listed:
    """A device as the engine lists it.

    Attributes:
        name: What its `--device` takes: `CUDA0`.
        description: What the backend calls it.
        memory_total: All of its memory.
        memory_free: What is free while the engine itself is on it.
    """

    name: str
    description: str
    memory_total: Bytes
    memory_free: Bytes

    @property
    def backend(self) -> str:
        """The backend: `CUDA`, `Vulkan`."""
        return self.name.rstrip("0123456789")

    @property
    def kind(self) -> DeviceKind:
        """Whose device it is."""
        maker = (kind for word, kind in MAKERS if word in self.description)
        return BACKENDS.get(self.backend) or next(maker, DeviceKind.VULKAN)


def parse_devices(text: str) -> tuple[Listed, ...]:
    """Return the devices of `--list-devices`, without those that have no memory or are of other machines."""
    lines = (
        Listed(name, description, mib(int(total)), mib(int(free)))
        for name, description, total, free in _LINE.findall(text)
    )
    return tuple(line for line in lines if line.memory_total and line.backend not in {"RPC", "CPU"})


def merge_engine_devices(machine: Machine, listed: Sequence[Listed]) -> Machine:
    """Return the machine as its engine sees it; differences become notes.

    Identical devices match in order, so that it is the order of `machine` only when the engine was asked
    with `CUDA_VISIBLE_DEVICES` set to the machine's UUIDs.

    Args:
        machine: What the drivers say.
        listed: What the engine lists; nothing when it has no GPU backend.
    """
    gpus, notes, second = list(machine.gpus), list(machine.notes), list[Listed]()
    matched: dict[int, Listed] = {}
    for one in listed:
        place = _place(one, [None if i in matched else gpu for i, gpu in enumerate(gpus)])
        if place is not None:
            matched[place] = one
        else:
            second.append(one)
    for place, one in matched.items():
        gpus[place], note = _corrected(gpus[place], one, machine)
        notes += note
    for place in range(len(gpus)):
        if place not in matched:
            gpus[place], note = _unlisted(gpus[place], [gpus[other] for other in matched])
            notes += note
    backends = {one.backend for one in matched.values()}
    # A build with two backends for one device lists it twice; its first name suffices.
    strangers = [one for one in second if not matched or one.backend in backends]
    added = [_added(one, index) for index, one in _numbered(strangers, gpus)]
    notes += [f"Only the engine lists {gpu.key}, {gpu.name}" for gpu in added]
    return catalogued(replace(machine, gpus=(*gpus, *added), notes=tuple(notes)))


def _place(one: Listed, free: Sequence[Device | None]) -> int | None:
    """Return the position of the free device that the engine means."""
    likely = [
        (_same_name(gpu, one), -abs(gpu.memory_total - one.memory_total), -place)
        for place, gpu in enumerate(free)
        if gpu is not None and gpu.kind is one.kind and (_same_name(gpu, one) or not _sure_of_name(gpu))
    ]
    return -max(likely)[2] if likely else None


def _same_name(gpu: Device, one: Listed) -> bool:
    ours, theirs = gpu.name.lower(), one.description.lower()
    return ours in theirs or theirs in ours


def _sure_of_name(gpu: Device) -> bool:
    """Whether NVML named it as CUDA does; other lists of names differ from their backends'."""
    return gpu.kind is DeviceKind.CUDA and not gpu.unified


def _corrected(gpu: Device, one: Listed, machine: Machine) -> tuple[Device, list[str]]:
    total, free = one.memory_total, one.memory_free
    if gpu.unified:
        # The engine knows nothing of control groups, nor of what macOS needs.
        reserve = MACOS_RESERVE if gpu.kind is DeviceKind.METAL else 0
        total = Bytes(max(0, min(total, machine.memory.ceiling - reserve)))
        free = min(free, machine.memory.usable, total)
    notes = []
    if max(abs(total - gpu.memory_total), abs(free - gpu.memory_free)) > TOLERANCE * total:
        said = f"{show_bytes(gpu.memory_free)} free of {show_bytes(gpu.memory_total)}"
        seen = f"{show_bytes(free)} of {show_bytes(total)}"
        notes = [f"{gpu.key} has {said} by its driver, {seen} by the engine, which is taken"]
    name = gpu.name if _sure_of_name(gpu) or gpu.unified else one.description
    corrected = replace(gpu, name=name, memory_total=total, memory_free=free, engine_name=one.name)
    return corrected, notes


def _unlisted(gpu: Device, listed: Iterable[Device]) -> tuple[Device, list[str]]:
    siblings = (one.engine_name for one in listed if one.instance is not None)
    if gpu.instance is not None and (name := next(siblings, None)):
        # A process sees one MIG instance; started on another, the engine calls that one the same.
        return replace(gpu, engine_name=name), []
    note = f"The engine does not list {gpu.key}, {gpu.name}, so no model runs on it: relayd engine install"
    return replace(gpu, engine_name=""), [note]


def _numbered(strangers: Iterable[Listed], gpus: Iterable[Device]) -> list[tuple[int, Listed]]:
    """Return each with the next index of its kind."""
    used = {gpu.kind: gpu.index for gpu in gpus}
    found = []
    for one in strangers:
        used[one.kind] = used.get(one.kind, -1) + 1
        found.append((used[one.kind], one))
    return found


def _added(one: Listed, index: int) -> Device:
    return Device(
        one.kind, index, "", one.description, one.memory_total, one.memory_free, engine_name=one.name
    )

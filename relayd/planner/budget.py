"""How much may models take of each device, and how fast is it?"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from relayd.hardware.arithmetic import core_tflops, peak_tflops
from relayd.hardware.machine import Cpu, Device, DeviceKind, Machine, MemoryHolder
from relayd.memory.weights import CPU, repacked_types
from relayd.planner.processor import CORE_GB_S, Processor, device_class
from relayd.units import GIB, MIB, Bytes, show_bytes

CUDA_MARGIN = Bytes(512 * MIB)
"""Kept free on a CUDA device, beside the 457 MiB counted for its context.

Together about the 1024 MiB that llama.cpp's own `--fit-target` leaves: compute buffers on GPUs are predicted
from the CPU's graph, and pipelines over several GPUs keep copies.
"""

GPU_MARGIN = Bytes(1 * GIB)
"""Kept free on other GPUs, whose contexts are not counted: `--fit-target` of llama.cpp."""

DISPLAY_MARGIN = Bytes(512 * MIB)
"""Kept free besides where a screen hangs: a desktop and its browser take this much more at times."""

HOST_RESERVE = Bytes(1 * GIB)
"""RAM kept for what else runs: the daemon (60 MiB), and heaps that grow with requests."""

HOST = "host"
"""What RAM is called as memory, in plans, ledgers and sentences; as a device it is that of the processor."""

_ENDLESS = Bytes(1 << 60)

UNKNOWN_GB_S: Mapping[bool, float] = {True: 200.0, False: 35.0}
"""Bandwidth of a GPU (True) or of RAM that no table has: a low middle, so that nothing slow looks fast."""

BACKENDS = {
    DeviceKind.CUDA: "cuda",
    DeviceKind.METAL: "metal",
    DeviceKind.AMD: "rocm",
    DeviceKind.INTEL: "sycl",
    DeviceKind.VULKAN: "vulkan",
    DeviceKind.CPU: "cpu",
}

ENGINE_NAMES = {
    DeviceKind.CUDA: "CUDA",
    DeviceKind.METAL: "MTL",
    DeviceKind.AMD: "ROCm",
    DeviceKind.INTEL: "SYCL",
    DeviceKind.VULKAN: "Vulkan",
}
"""How engines name devices, a number after it, where none was asked."""


@dataclass(frozen=True, slots=True)
class Room:
    """One device, as far as models may use it.

    Attributes:
        key: `cuda0`, `cpu`.
        name: What its maker calls it.
        engine_name: What `--device` calls it; empty for the CPU.
        total: All of its memory.
        free: What is free now, plans subtracted; negative where those that keep their places take more.
        planned: What was subtracted for plans.
        margin: What stays free.
        processor: How fast it is.
        known_speed: Whether its bandwidth is known, or a guess.
        unified: Its memory is RAM: what it takes, the CPU lacks.
        alone: It cannot share a model with another device (a MIG instance).
        holders: Who has the rest, as far as that is known.
        rule: Why not all of it may be planned with, where a setting or a reserve limits it.
        takers: What is planned on it, with what each holds.
    """

    key: str
    name: str
    engine_name: str
    total: Bytes
    free: Bytes
    margin: Bytes
    processor: Processor
    planned: int = 0
    known_speed: bool = True
    unified: bool = False
    alone: bool = False
    holders: tuple[MemoryHolder, ...] = ()
    rule: str = ""
    takers: tuple[tuple[str, Bytes], ...] = ()

    @property
    def account(self) -> str:
        """What its memory is called."""
        return HOST if self.key == CPU else self.key

    @property
    def usable(self) -> Bytes:
        """What models may still take."""
        return Bytes(max(0, self.free - self.margin))

    @property
    def over(self) -> Bytes:
        """What is planned on it beyond what models may take; 0 as long as all of it fits."""
        return Bytes(max(0, min(self.planned, self.margin - self.free)))

    def explain(self) -> str:
        """Return why not more is usable: `of 24 GiB, 3.1 GiB held by Xorg (912), 512 MiB kept free`."""
        parts = [f"of {show_bytes(self.total)}"]
        held = self.total - self.free - self.planned
        if self.rule:
            parts.append(self.rule)
        elif held > MIB:
            names = ", ".join(f"{one.name or 'process'} ({one.pid})" for one in self.holders[:3])
            parts.append(f"{show_bytes(held)} held by {names or 'others'}")
        if self.takers:
            parts.append(", ".join(f"{show_bytes(nbytes)} for {name}" for name, nbytes in self.takers))
        elif self.planned:
            parts.append(f"{show_bytes(self.planned)} planned before")
        if self.margin:
            parts.append(f"{show_bytes(self.margin)} kept free")
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Budget:
    """What is left of a machine.

    Attributes:
        gpus: The devices beside the CPU, in the engine's order.
        host: The CPU with the RAM.
        repacked: Types whose weights the CPU keeps in an order of its own.
    """

    gpus: tuple[Room, ...]
    host: Room
    repacked: frozenset[int] = frozenset()

    @property
    def rooms(self) -> tuple[Room, ...]:
        """Every device, the CPU last."""
        return (*self.gpus, self.host)

    @property
    def processors(self) -> dict[str, Processor]:
        """How fast each device is, by key."""
        return {room.key: room.processor for room in self.rooms}

    def keeping(self, nbytes: Bytes) -> "Budget":
        """Return the machine with so much more kept free on every device."""
        gpus = tuple(replace(room, margin=Bytes(room.margin + nbytes)) for room in self.gpus)
        host = replace(self.host, margin=Bytes(self.host.margin + nbytes))
        return replace(self, gpus=gpus, host=host)

    def shared_by(self, count: int) -> "Budget":
        """Return the machine as one of several equal shares of its memory."""
        gpus = tuple(replace(room, free=Bytes(room.free // count)) for room in self.gpus)
        return replace(self, gpus=gpus, host=replace(self.host, free=Bytes(self.host.free // count)))

    def endless(self) -> "Budget":
        """Return the machine with memory without end, to see what something would take."""
        gpus = tuple(replace(room, free=_ENDLESS) for room in self.gpus)
        return replace(self, gpus=gpus, host=replace(self.host, free=_ENDLESS))

    def room(self, key: str) -> Room:
        """Return the device of a key."""
        return next(room for room in self.rooms if room.key == key)

    def short_of(self, needs: Mapping[str, int]) -> tuple[Room, Bytes] | None:
        """Return the first device that is too small, with what is asked of it; None when all suffice."""
        for room in self.gpus:
            if needs.get(room.key, 0) > room.usable:
                return room, Bytes(needs[room.key])
        asked = needs.get(CPU, 0) + sum(needs.get(room.key, 0) for room in self.gpus if room.unified)
        return (self.host, Bytes(asked)) if asked > self.host.usable else None

    def minus(self, needs: Mapping[str, int], taker: str = "") -> "Budget":
        """Return what is left when a plan has taken its part.

        Args:
            needs: What it takes of each device.
            taker: Who takes it, for those who find too little left.
        """
        shared = sum(needs.get(room.key, 0) for room in self.gpus if room.unified)
        taken = needs.get(CPU, 0) + shared
        # Memory that is RAM shrinks with whatever RAM loses.
        gpus = [_less(room, taken if room.unified else needs.get(room.key, 0), taker) for room in self.gpus]
        return replace(self, gpus=tuple(gpus), host=_less(self.host, taken, taker))


def _less(room: Room, taken: int, taker: str) -> Room:
    takers = dict(room.takers)
    if taker and taken:
        takers[taker] = Bytes(takers.get(taker, 0) + taken)
    return replace(
        room, free=Bytes(room.free - taken), planned=room.planned + taken, takers=tuple(takers.items())
    )


def budget(machine: Machine) -> Budget:
    """Return what models may take of a machine as it is now."""
    gpus = [device for device in machine.usable_devices if device.kind is not DeviceKind.CPU]
    host, cpu = machine.devices[-1], machine.cpu
    repacked = repacked_types(machine.arch, frozenset(machine.cpu.instruction_sets))
    return Budget(tuple(_gpu_room(gpu) for gpu in gpus if gpu.memory_free), _host_room(host, cpu), repacked)


def _gpu_room(gpu: Device) -> Room:
    margin = CUDA_MARGIN if gpu.kind is DeviceKind.CUDA else GPU_MARGIN
    return Room(
        key=gpu.key,
        name=gpu.name,
        engine_name=gpu.engine_name or f"{ENGINE_NAMES[gpu.kind]}{gpu.index}",
        total=gpu.memory_total,
        free=gpu.memory_free,
        margin=Bytes(margin + (DISPLAY_MARGIN if gpu.display else 0)),
        processor=processor_of(gpu),
        known_speed=gpu.bandwidth is not None,
        unified=gpu.unified,
        alone=gpu.instance is not None,
        holders=gpu.holders,
    )


def _host_room(host: Device, cpu: Cpu) -> Room:
    return Room(
        key=CPU,
        name=host.name,
        engine_name="",
        total=host.memory_total,
        free=host.memory_free,
        margin=HOST_RESERVE,
        processor=cpu_processor(host, cpu),
        known_speed=host.bandwidth is not None,
        holders=host.holders,
    )


def processor_of(device: Device) -> Processor:
    """Return how fast a device is, by its class and bandwidth."""
    kind = device_class(
        BACKENDS[device.kind],
        device.name,
        compute_capability=device.compute_capability,
        unified=device.unified,
    )
    peak = peak_tflops(device.name)
    useful = peak / kind.peak_factor if peak else None
    found = device.bandwidth
    if found is None:
        return Processor(kind, UNKNOWN_GB_S[device.kind is not DeviceKind.CPU], useful)
    # The class expects a specification's peak, of which byte_factor is the part that is never reached.
    gb_s = found.gb_s * kind.byte_factor if found.basis == "measured" else found.gb_s
    return Processor(kind, gb_s, useful)


def cpu_processor(host: Device, cpu: Cpu) -> Processor:
    """Return how fast the cores of a CPU are: few of them use only a part of its memory's bandwidth."""
    plain, cores = processor_of(host), cpu.usable_cores
    return replace(
        plain,
        bandwidth_gb_s=min(plain.bandwidth_gb_s, cores * CORE_GB_S),
        prefill_tflops=cores * core_tflops(cpu.flags),
    )

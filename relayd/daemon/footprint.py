"""How much memory was planned for each replica, and how much it holds (memory footprint)."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from relayd.clock import Clock
from relayd.desired.lines import by_room
from relayd.engine.commandline import draft_of, projector_of, setup_of
from relayd.errors import RelaydError
from relayd.gguf import read_metadata
from relayd.hardware import DeviceKind, Held, Machine, held, probe
from relayd.journal import Journal
from relayd.memory.predict import predict
from relayd.memory.setup import Gpu
from relayd.memory.weights import CPU, repacked_types
from relayd.planner import Basis, Planned
from relayd.supervisor import Status
from relayd.units import MIB, Bytes

_FRESH_SECONDS = 2.0

_BASES: Mapping[Basis, str] = {
    Basis.UNKNOWN: "prediction",
    Basis.PREDICTED: "prediction",
    Basis.CONFIRMED: "confirmed",
    Basis.MEASURED: "measured",
}
"""How each basis is spelled in the report of `relayd status`."""


@dataclass(frozen=True, slots=True)
class PlannedMemory:
    """What a replica should hold.

    Attributes:
        by_device: Device → bytes, without what the prompt cache may come to.
        prompt_cache: RAM that it may fill with earlier prompts.
        basis: How these are known: `prediction`, `confirmed` by the engine, or `measured`.
        rough: What has no closed form, so that the figure is only roughly right.
    """

    by_device: dict[str, Bytes]
    prompt_cache: Bytes
    basis: str
    rough: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Footprint:
    """Both of one replica; None is not known."""

    planned: PlannedMemory | None = None
    held: Held | None = None


class Footprints:
    """Reads them on demand, at most every two seconds, and off the event loop.

    Args:
        clock: Time.
        look: Returns the machine, with who holds the memory of its devices.
        patience_seconds: How long an answer waits for a reading: a driver that hangs must not make
            `status` hang.
    """

    def __init__(
        self, clock: Clock, look: Callable[[], Machine] = probe, *, patience_seconds: float = 2.0
    ) -> None:
        self._clock = clock
        self._look = look
        self._patience_seconds = patience_seconds
        self._predicted: dict[tuple[str, ...], PlannedMemory | None] = {}
        self._pids: list[int | None] = []
        self._read_at = -_FRESH_SECONDS
        self._reading: asyncio.Task[dict[str, Footprint]] | None = None
        self._known: dict[str, Footprint] = {}

    def __repr__(self) -> str:
        return f"<Footprints of {len(self._known)} replicas>"

    async def read(self, statuses: Sequence[Status]) -> dict[str, Footprint]:
        """Return the footprint of each replica by its name, an older one if reading takes too long."""
        if self._reading is None or (self._reading.done() and self._is_outdated(statuses)):
            self._pids, self._read_at = [status.pid for status in statuses], self._clock.monotonic()
            self._reading = asyncio.create_task(asyncio.to_thread(self._read, tuple(statuses)))
        done, _ = await asyncio.wait((self._reading,), timeout=self._patience_seconds)
        for reading in done:
            if fault := reading.exception():  # status shows more than this
                Journal("status").error("footprint.fault", message=repr(fault))
            else:
                self._known = reading.result()
        return self._known

    def _is_outdated(self, statuses: Sequence[Status]) -> bool:
        aged = self._clock.monotonic() - self._read_at >= _FRESH_SECONDS
        return aged or self._pids != [status.pid for status in statuses]

    def _read(self, statuses: Sequence[Status]) -> dict[str, Footprint]:
        try:
            machine = self._look()
        except OSError:  # out of descriptors: what was known must do
            return self._known
        commands = {status.command for status in statuses}
        self._predicted = {command: one for command, one in self._predicted.items() if command in commands}
        return {
            status.spec.name: Footprint(
                self._plan(status, machine), held(status.pid, machine) if status.pid else None
            )
            for status in statuses
        }

    def _plan(self, status: Status, machine: Machine) -> PlannedMemory | None:
        if status.planned.needs:
            return planned_memory(status.planned)
        if status.command and status.command not in self._predicted:
            self._predicted[status.command] = None
            with contextlib.suppress(RelaydError, ValueError, OSError):  # the engine's log has the reason
                self._predicted[status.command] = predicted_memory(status, machine)
        return self._predicted.get(status.command)


def planned_memory(planned: Planned) -> PlannedMemory:
    """Return what a replica should hold, as its plan counts."""
    cache = planned.spec.cache_ram_mib * MIB
    sizes = by_room(planned.needs)
    sizes[CPU] = Bytes(max(0, sizes.get(CPU, 0) - cache))
    return PlannedMemory(sizes, Bytes(cache), _BASES[planned.basis])


def predicted_memory(status: Status, machine: Machine) -> PlannedMemory:
    """Return what a replica without a plan should hold: by the command line it was started with.

    That is one that was made smaller, or whose architecture was not known to its plan.

    Raises:
        ModelFileError: A model file cannot be read, or its architecture is not known.
        UsageError: The flags are none that work together.
        ValueError: A flag's value is not a number.
    """
    command = status.command
    model, projector, draft = read_metadata(status.spec.file), projector_of(command), draft_of(command)
    gpus = [
        Gpu(gpu.key, float(gpu.memory_total))
        for gpu in machine.gpus
        # An integrated GPU serves only an engine that was built for it; CUDA's and Metal's always are.
        if not gpu.unified or gpu.kind in (DeviceKind.CUDA, DeviceKind.METAL)
    ]
    repacked = repacked_types(machine.arch, machine.cpu.flags)
    setup = setup_of(command, model.whole("context_length"), gpus, repacked)
    found = predict(
        model,
        setup,
        projector=read_metadata(Path(projector)) if projector else None,
        draft=read_metadata(Path(draft)) if draft else None,
        loras=[read_metadata(lora.file) for lora in status.spec.loras],
    )
    totals = {device: found.total(device) for device in found.devices}
    return PlannedMemory(totals, found.limit(CPU), _BASES[Basis.PREDICTED], found.unknown)

"""How much memory was planned for each replica, and how much it holds (memory footprint)."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from relayd.clock import Clock
from relayd.engine.commandline import projector_of, setup_of
from relayd.errors import RelaydError
from relayd.gguf import read_metadata
from relayd.hardware import DeviceKind, Held, Machine, held, probe
from relayd.journal import Journal
from relayd.memory.predict import predict
from relayd.memory.setup import Gpu
from relayd.memory.weights import CPU, repacked_types
from relayd.supervisor import Status
from relayd.units import MIB, Bytes

_FRESH_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class PlannedMemory:
    """What a replica should hold.

    Attributes:
        by_device: Device → bytes, without what the prompt cache may come to.
        prompt_cache: RAM that it may fill with earlier prompts.
        basis: `plan`: placed so on purpose, and run with `--fit off`. `prediction`: derived from its flags,
            which the engine may make smaller to fit.
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
        self._planned: dict[tuple[str, ...], PlannedMemory | None] = {}
        self._pids: list[int | None] = []
        self._read_at = -_FRESH_SECONDS
        self._reading: asyncio.Task[dict[str, Footprint]] | None = None
        self._known: dict[str, Footprint] = {}

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
        self._planned = {command: one for command, one in self._planned.items() if command in commands}
        return {
            status.spec.name: Footprint(
                self._plan(status, machine), held(status.pid, machine) if status.pid else None
            )
            for status in statuses
        }

    def _plan(self, status: Status, machine: Machine) -> PlannedMemory | None:
        if status.command and status.command not in self._planned:
            self._planned[status.command] = None
            with contextlib.suppress(RelaydError, ValueError, OSError):  # the engine's log says what is wrong
                self._planned[status.command] = planned(status, machine)
        return self._planned.get(status.command)


def planned(status: Status, machine: Machine) -> PlannedMemory:
    """Return what a replica should hold, by the command line it was started with.

    Raises:
        ModelFileError: A model file cannot be read, or its architecture is not known.
        UsageError: The flags are none that work together.
        ValueError: A flag's value is no number.
    """
    spec, command = status.spec, status.command
    model, projector = read_metadata(spec.file), projector_of(command)
    gpus = [
        Gpu(gpu.key, float(gpu.memory_total))
        for gpu in machine.gpus
        # An integrated GPU serves only an engine that was built for it; CUDA's and Metal's always are.
        if not gpu.unified or gpu.kind in (DeviceKind.CUDA, DeviceKind.METAL)
    ]
    repacked = repacked_types(machine.arch, machine.cpu.flags)
    setup = setup_of(command, model.whole("context_length"), gpus, repacked)
    found = predict(model, setup, projector=read_metadata(Path(projector)) if projector else None)
    cache = setup.cache_ram_mib * MIB
    totals = {device: found.total(device) for device in found.devices}
    totals[CPU] = Bytes(totals[CPU] - cache)
    basis = "prediction" if spec.fit else "plan"
    return PlannedMemory(totals, Bytes(cache), basis, found.unknown)

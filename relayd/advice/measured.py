"""How fast the devices of this machine are, by its own benchmarks (calibration)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from relayd.engine.commandline import placement_in
from relayd.errors import ModelFileError
from relayd.gguf import read_metadata
from relayd.memory.setup import Gpu, Setup
from relayd.planner.budget import Budget
from relayd.planner.calibration import BenchmarkRun, calibrate
from relayd.planner.demand import Demand
from relayd.planner.placement import setup_of
from relayd.planner.speed import Estimate, Part, decode_tokens_per_second, prefill_tokens_per_second
from relayd.units import MIB

_LEAST_BYTES = 64 * MIB
"""Smaller models measure the engine's overhead, and nothing of the device."""


@dataclass(frozen=True, slots=True)
class ExpectedSpeeds:
    """What is predicted of a benchmark run.

    Attributes:
        prompt: Of a prompt of its length, alone.
        answer: Of one sequence behind that prompt.
    """

    prompt: Estimate
    answer: Estimate


def expected(record: Mapping[str, Any], machine: Budget) -> ExpectedSpeeds | None:
    """Return what the speed model predicts of a run; None if its model or a device is gone.

    Args:
        record: The run, as `relayd bench` keeps it.
        machine: The machine, with what earlier runs have corrected.
    """
    try:
        parts = _parts(record, machine)
    except (ModelFileError, LookupError, TypeError, ValueError):
        return None
    return ExpectedSpeeds(prefill_tokens_per_second(parts), decode_tokens_per_second(parts).each)


def calibrated(plain: Budget, measured: Iterable[Mapping[str, Any]]) -> Budget:
    """Return a budget whose devices are as fast as this machine's own runs show.

    A run counts where all of it was on one device: the CPU without GPUs, else the only GPU.

    Args:
        plain: The machine as the classes of its devices describe it.
        measured: What `relayd bench` has kept.
    """
    if len(plain.gpus) > 1:
        return plain
    room = plain.gpus[0] if plain.gpus else plain.host
    runs = [run for record in measured if (run := _run(record, plain, room.key)) is not None]
    if not runs:
        return plain
    faster = replace(room, processor=calibrate(room.processor, runs))
    return replace(plain, gpus=(faster,)) if plain.gpus else replace(plain, host=faster)


def _run(record: Mapping[str, Any], machine: Budget, device: str) -> BenchmarkRun | None:
    """Return a measurement of one device as the speed model reads it; None if it was not all on it."""
    try:
        if read_metadata(Path(record["file"])).file_bytes < _LEAST_BYTES:
            return None
        part, *others = _parts(record, machine)
        speeds = float(record["decode_per_second"]), float(record["prefill_per_second"])
    except (ModelFileError, LookupError, TypeError, ValueError):
        return None
    alone = not others and part.processor is machine.room(device).processor
    return BenchmarkRun(part.workload, *speeds) if alone else None


def _parts(record: Mapping[str, Any], machine: Budget) -> tuple[Part, ...]:
    """Return the work of a run's tokens on each device, where its command line has put the layers.

    Raises:
        ModelFileError: The file cannot be read.
        LookupError: A device, or a part of the record, is missing.
        ValueError: A part of the record makes no sense.
    """
    demand = Demand(read_metadata(Path(record["file"])))
    prompt = int(record["prompt_tokens"])
    command = [str(word) for word in record.get("command") or ()]
    if command:
        placed = placement_in(command)
        setup = setup_of(placed, machine, context=max(prompt, 1), slots=1, embeddings=False)
    else:
        setup = Setup(slots=1, gpus=tuple(Gpu(room.key) for room in machine.gpus))
    return demand.parts(setup, machine.processors, depth=prompt, prompt=prompt)

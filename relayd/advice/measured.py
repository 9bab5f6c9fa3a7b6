"""How fast the devices of this machine are, by its own benchmarks (calibration)."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from relayd.errors import ModelFileError
from relayd.gguf import read_metadata
from relayd.memory.setup import Gpu, Setup
from relayd.planner.budget import Budget
from relayd.planner.calibration import BenchmarkRun, calibrate
from relayd.planner.demand import Demand
from relayd.units import MIB

_LEAST_BYTES = 64 * MIB
"""Smaller models measure the engine's overhead, and nothing of the device."""


def calibrated(plain: Budget, measured: Iterable[Mapping[str, Any]]) -> Budget:
    """Return a budget whose devices are as fast as this machine's own runs show.

    A run counts where all of it was on one device: the CPU without GPUs, else the only GPU.

    Args:
        plain: The machine as the classes of its devices describe it.
        measured: What `relayd bench` has kept.
    """
    room = plain.host if not plain.gpus else plain.gpus[0]
    if len(plain.gpus) > 1:
        return plain
    setup = Setup(slots=1, gpus=(Gpu(room.key),) if plain.gpus else ())
    runs = [run for record in measured if (run := _run(record, setup, plain)) is not None]
    if not runs:
        return plain
    faster = replace(room, processor=calibrate(room.processor, runs))
    return replace(plain, gpus=(faster,)) if plain.gpus else replace(plain, host=faster)


def _run(record: Mapping[str, Any], setup: Setup, machine: Budget) -> BenchmarkRun | None:
    """Return one measurement as the speed model reads it; None if its model is gone or too small."""
    try:
        metadata = read_metadata(Path(record["file"]))
        prompt = int(record["prompt_tokens"])
        speeds = float(record["decode_per_second"]), float(record["prefill_per_second"])
    except (ModelFileError, KeyError, TypeError, ValueError):
        return None
    if metadata.file_bytes < _LEAST_BYTES:
        return None
    part, *others = Demand(metadata).parts(setup, machine.processors, depth=prompt, prompt=prompt)
    return None if others else BenchmarkRun(part.workload, *speeds)

"""Whether the engine confirms the memory that a plan predicts (memory probe)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from relayd.engine.memory import MemoryProbe, Row
from relayd.errors import EngineError, ModelFileError
from relayd.gguf import ModelMetadata
from relayd.memory.predict import MARGIN, predict
from relayd.memory.setup import Setup
from relayd.memory.weights import CPU
from relayd.planner.placement import Placement
from relayd.units import MIB, Bytes

NONE = Bytes(0)

TOLERANCE = Bytes(8 * MIB)
"""Difference between engine and prediction that is rounding: each cell of its answer is in whole MiB."""


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What the engine reports for a plan.

    Attributes:
        predicted: What relayd predicts that the engine will report, all devices together.
        reported: What it reports.
        note: Why it could not be asked; "" if it was.
        on_cpu: Whether it was asked for the CPU, because the plan's devices are not here.
        more: Device → what it reports beyond the prediction, where that is not rounding; less is negative.
    """

    predicted: Bytes = NONE
    reported: Bytes = NONE
    note: str = ""
    on_cpu: bool = False
    more: Mapping[str, int] = field(default_factory=dict)

    @property
    def agrees(self) -> bool:
        """Whether prediction and report agree."""
        return not self.note and abs(self.predicted - self.reported) <= max(TOLERANCE, self.predicted // 200)


def confirm(
    probe: MemoryProbe | None, placement: Placement, file: Path | None, *, here: bool
) -> Confirmation:
    """Ask the engine what a placement takes, and compare.

    Without the file it is asked about a header of the same shape. Repacking is left out: the engine forgets
    it (llama.cpp b11434).

    Args:
        probe: The engine; None if none is installed.
        placement: The winner.
        file: Its file, if it is on disk.
        here: Whether its devices are those of this engine; else it is asked about the CPU.
    """
    if probe is None:
        return Confirmation(note="no engine is installed to confirm it: relayd engine install")
    model = placement.form.build().model
    setup = replace(placement.setup, repacked=frozenset(), cache_ram_mib=0)
    if not here:
        setup = replace(setup, gpus=(), experts_on_cpu=0)
    try:
        rows = probe.ask(file, model, setup) if file else probe.ask_header(model, setup)
    except (EngineError, ModelFileError) as error:
        return Confirmation(note=f"not confirmed: {error.message}")
    return Confirmation(
        predicted(model, setup), _sum(rows), on_cpu=not here, more=differences(rows, model, setup)
    )


def predicted(model: ModelMetadata, setup: Setup) -> Bytes:
    """Return what the engine's breakdown should add up to."""
    terms = predict(model, setup).terms
    return Bytes(sum(term.nbytes for term in terms if term.part not in {"beside", "limit"}))


def differences(rows: Iterable[Row], model: ModelMetadata, setup: Setup) -> dict[str, int]:
    """Return what the engine reports beyond the prediction on each device, where it is not rounding."""
    said = dict.fromkeys((*(gpu.key for gpu in setup.gpus), CPU), 0)
    for row in rows:
        key = row.name.casefold() if row.kind == "device" else CPU
        said[key] = said.get(key, 0) + (row.model + row.context + row.compute) * MIB
    found = predict(model, setup)
    for term in found.terms:
        if term.part not in {"beside", "limit"} or term.name == MARGIN:
            said[term.device] = said.get(term.device, 0) - term.nbytes
    return {key: nbytes for key, nbytes in said.items() if abs(nbytes) > TOLERANCE}


def _sum(rows: Iterable[Row]) -> Bytes:
    return Bytes(sum(row.model + row.context + row.compute for row in rows) * MIB)

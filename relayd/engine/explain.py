"""A model's memory, predicted and confirmed by the engine, with the time each took."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relayd.clock import Clock
from relayd.engine.memory import MemoryProbe, Row
from relayd.errors import EngineError
from relayd.gguf.metadata import ModelMetadata
from relayd.gguf.reader import read_metadata
from relayd.memory.predict import MARGIN, Basis, Part, Prediction, predict
from relayd.memory.setup import Setup
from relayd.memory.weights import CPU
from relayd.units import MIB, Bytes


@dataclass(frozen=True, slots=True)
class Cell:
    """One number that both sides know.

    Attributes:
        device: Where it is: `cpu`, `cuda0`, or `cpu (repacked)`.
        part: What it is for.
        predicted: What was derived.
        confirmed: The engine's figure, in whole MiB rounded down; None if it was not asked.
    """

    device: str
    part: Part
    predicted: Bytes
    confirmed: int | None = None

    @property
    def agrees(self) -> bool:
        """Whether the engine's number is the predicted one."""
        return self.confirmed is None or self.predicted // MIB == self.confirmed


@dataclass(frozen=True, slots=True)
class Explanation:
    """A prediction with the engine's own figures.

    Attributes:
        architecture: Of the model.
        setup: How it runs.
        prediction: The reasons.
        rows: What the engine answered; empty if it was not asked or did not answer.
        silence: Why the engine gave no figures; empty if it did or was not run.
        read_seconds: Time to read the header.
        predict_seconds: Time to predict.
        confirm_seconds: Time until the engine had answered, or the remembered answer was found.
    """

    architecture: str
    setup: Setup
    prediction: Prediction
    rows: tuple[Row, ...]
    silence: str
    read_seconds: float
    predict_seconds: float
    confirm_seconds: float

    def need(self, device: str) -> Bytes:
        """Return what a device has to hold: as predicted, and by the engine's figures where they differ."""
        found = self.prediction.total(device)
        if not self.rows:
            return found
        if self.prediction.unknown:  # the engine's figures need no margin
            terms = self.prediction.terms
            found = Bytes(
                found - sum(one.nbytes for one in terms if (one.device, one.name) == (device, MARGIN))
            )
        wrong = [cell for cell in self.cells() if cell.device == device and not cell.agrees]
        return Bytes(found + sum((cell.confirmed or 0) * MIB - cell.predicted for cell in wrong))

    def cells(self) -> Iterator[Cell]:
        """Yield the engine's breakdown with both numbers."""
        for device in self.prediction.devices:
            yield from self._cells(device, device, self._row(device), repacked=False)
        repacked = next((row for row in self.rows if row.name == "CPU_REPACK"), None)
        if repacked or self.prediction.part(CPU, "model", repacked=True):
            yield from self._cells(CPU, f"{CPU} (repacked)", repacked, repacked=True)

    def _cells(self, device: str, name: str, row: Row | None, *, repacked: bool) -> Iterator[Cell]:
        parts: tuple[Part, ...] = ("model",) if repacked else ("model", "context", "compute")
        for part in parts:
            confirmed = getattr(row, part) if row else (0 if self.rows else None)
            yield Cell(name, part, self.prediction.part(device, part, repacked=repacked), confirmed)

    def _row(self, device: str) -> Row | None:
        wanted = "host" if device == CPU else device
        return next((row for row in self.rows if row.name.casefold() == wanted), None)

    def document(self) -> dict[str, Any]:
        """Return everything as JSON-ready values; sizes are bytes, the engine's own are MiB."""
        prediction = self.prediction
        return {
            "schema": 1,
            "architecture": self.architecture,
            "closed_form": prediction.closed_form,
            "unknown": list(prediction.unknown),
            "terms": [
                {
                    "name": term.name,
                    "device": term.device,
                    "bytes": term.nbytes,
                    "part": term.part,
                    "basis": term.basis,
                    "source": term.source,
                }
                for term in prediction.terms
            ],
            "totals": {device: prediction.total(device) for device in prediction.devices},
            "needs": {device: self.need(device) for device in prediction.devices},
            "limits": {device: prediction.limit(device) for device in prediction.devices},
            "breakdown": [
                {
                    "device": cell.device,
                    "part": cell.part,
                    "predicted_bytes": cell.predicted,
                    "confirmed_mib": cell.confirmed,
                }
                for cell in self.cells()
            ],
            "confirmed": bool(self.rows),
            "silence": self.silence,
            "seconds": {
                "read": self.read_seconds,
                "predict": self.predict_seconds,
                "confirm": self.confirm_seconds,
            },
        }


def explain(
    source: Path | ModelMetadata, setup: Setup, probe: MemoryProbe | None, clock: Clock
) -> Explanation:
    """Predict what a model takes, and let the engine confirm it.

    Args:
        source: A model file, or a header made of a catalogue's dimensions.
        setup: How it runs.
        probe: The engine to ask; None to predict only.
        clock: Measures how long the three steps take.

    Raises:
        ModelFileError: The header cannot be read, or lacks what its architecture needs.
    """
    start = clock.monotonic()
    model = read_metadata(source) if isinstance(source, Path) else source
    basis: Basis = "measured" if isinstance(source, Path) else "catalogue"
    read = clock.monotonic()
    prediction = predict(model, setup, basis=basis)
    predicted = clock.monotonic()
    rows: tuple[Row, ...] = ()
    silence = ""
    if probe is not None:
        try:
            rows = _confirmed(source, model, setup, probe)
        except EngineError as error:
            silence = error.message
    return Explanation(
        model.architecture,
        setup,
        prediction,
        rows,
        silence,
        read_seconds=read - start,
        predict_seconds=predicted - read,
        confirm_seconds=clock.monotonic() - predicted,
    )


def _confirmed(
    source: Path | ModelMetadata, model: ModelMetadata, setup: Setup, probe: MemoryProbe
) -> tuple[Row, ...]:
    """Return the engine's answer, on the file itself or on a header with a hole behind it."""
    if isinstance(source, Path):
        return probe.ask(source, model, setup)
    return probe.ask_header(model, setup)

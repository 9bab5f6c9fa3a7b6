"""The memory of a model, as a table of 80 columns."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from relayd.memory.predict import Prediction
from relayd.units import MIB


@dataclass(frozen=True, slots=True)
class Compared:
    """One cell of the engine's breakdown: predicted bytes, and its own whole MiB if it was asked."""

    device: str
    part: str
    predicted: int
    confirmed: int | None


def render_memory(
    title: str, prediction: Prediction, compared: Sequence[Compared], notes: Iterable[str]
) -> RenderableType:
    """Return the terms as a table that adds up, the engine's figures, and what to know about both."""
    parts: list[RenderableType] = [Text(title, style="bold"), terms_table(prediction), Text()]
    parts.append(compared_table(compared))
    return Group(*parts, *(Text(note) for note in notes))


def terms_table(prediction: Prediction) -> Table:
    """Return the terms device by device, each device with its sum."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("TERM", no_wrap=True)
    table.add_column("WHERE", no_wrap=True)
    table.add_column("MIB", justify="right", no_wrap=True)
    table.add_column("BASIS", no_wrap=True)
    table.add_column("SOURCE", overflow="fold")
    for device in prediction.devices:
        for term in prediction.terms:
            if term.device == device:
                cells = (term.name, device, mebibytes(term.nbytes), term.basis, term.source)
                table.add_row(*map(Text, cells))
        total = mebibytes(prediction.total(device))
        table.add_row(*(Text(cell, style="bold") for cell in ("total", device, total, "", "")))
    return table


def compared_table(compared: Iterable[Compared]) -> Table:
    """Return the engine's own breakdown beside the predicted one."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("BREAKDOWN", no_wrap=True)
    table.add_column("WHERE", no_wrap=True)
    table.add_column("PREDICTED", justify="right", no_wrap=True)
    table.add_column("CONFIRMED", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for cell in compared:
        confirmed = "not asked" if cell.confirmed is None else f"{cell.confirmed} MiB"
        verdict = "" if cell.confirmed is None else _verdict(cell.predicted, cell.confirmed)
        row = (cell.part, cell.device, f"{mebibytes(cell.predicted)} MiB", confirmed, verdict)
        table.add_row(*map(Text, row))
    return table


def mebibytes(count: int) -> str:
    """Return bytes as MiB with one digit: `512.0`."""
    return f"{count / MIB:.1f}"


def _verdict(predicted: int, confirmed: int) -> str:
    if predicted // MIB == confirmed:
        return "equal"
    return f"{predicted / MIB - confirmed:+.0f} MiB"

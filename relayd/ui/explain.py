"""The memory of a model, as a table of 80 columns."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from relayd.memory.predict import Prediction
from relayd.units import GIB, MIB, show_apart, show_bytes


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
    unit, size = _unit(prediction)
    table.add_column(unit.upper(), justify="right", no_wrap=True)
    table.add_column("BASIS", no_wrap=True)
    table.add_column("SOURCE", overflow="fold")
    for device in prediction.devices:
        for term in prediction.terms:
            if term.device == device:
                cells = (term.name, device, _in(term.nbytes, size), term.basis, term.source)
                table.add_row(*map(Text, cells))
        total = _in(prediction.total(device), size)
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
        row = (cell.part, cell.device, *_compared(cell))
        table.add_row(*map(Text, row))
    return table


def _unit(prediction: Prediction) -> tuple[str, int]:
    """Return the unit of a table that adds up: GiB where a device holds that much."""
    most = max((prediction.total(device) for device in prediction.devices), default=0)
    return ("GiB", GIB) if most >= GIB else ("MiB", MIB)


def _in(count: int, size: int) -> str:
    """Return bytes in a unit, with the digits that let small terms be seen."""
    return f"{count / size:.{2 if size == GIB else 1}f}"


def _compared(cell: Compared) -> tuple[str, str, str]:
    """Return what is predicted, what the engine reports, and the difference."""
    if cell.confirmed is None:
        return show_bytes(cell.predicted), "not asked", ""
    more = cell.predicted // MIB - cell.confirmed
    if not more:  # the engine rounds down to whole MiB
        return show_bytes(cell.predicted), show_bytes(cell.predicted), "equal"
    sign = "+" if more > 0 else "-"
    predicted, confirmed = show_apart(cell.predicted, cell.confirmed * MIB)
    return predicted, confirmed, f"{sign}{show_bytes(abs(more) * MIB)}"

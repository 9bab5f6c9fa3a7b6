"""Models on disk as a table."""

from collections.abc import Iterable, Sequence

from rich.table import Table
from rich.text import Text

from relayd.ui.columns import kept
from relayd.ui.modelrow import ModelRow
from relayd.units import show_bytes

_RESULTS = {"unknown": "no digest known"}

_COLUMNS = ("NAME", "QUANT", "SIZE", "FITS", "STATE", "WHERE", "TAGS")
_DROPPED = ("TAGS", "QUANT", "WHERE", "FITS")

_STYLES = {"running": "green", "damaged": "bold red", "ok": "green", "no": "yellow"}


def models_table(rows: Iterable[ModelRow], width: int = 200) -> Table:
    """Return a line for each model, with as many columns as a terminal has room for; names stay whole."""
    shown = [_cells(row) for row in rows]
    columns = kept(_COLUMNS, shown, width, _DROPPED)
    table = _table(*columns)
    for cells in shown:
        table.add_row(*(Text(cells[one], style=_STYLES.get(cells[one], "")) for one in columns))
    return table


def _cells(row: ModelRow) -> dict[str, str]:
    return {
        "NAME": row.name,
        "QUANT": row.quant,
        "SIZE": "" if row.bytes is None else show_bytes(row.bytes),
        "FITS": {True: "yes", False: "no", None: ""}[row.fits],
        "STATE": row.state,
        "WHERE": row.where,
        "TAGS": " ".join(row.tags),
    }


def usage_table(rows: Iterable[tuple[str, int, int]]) -> Table:
    """Return a line for each store: its name, how many models it has, and their bytes."""
    table = _table("WHERE", "MODELS", "SIZE")
    for where, count, size in rows:
        table.add_row(Text(where), str(count), show_bytes(size))
    return table


def verdicts_table(rows: Iterable[tuple[str, str, Sequence[str]]]) -> Table:
    """Return a line for each checked model: its name, the outcome, and what is wrong."""
    table = _table("NAME", "RESULT", "")
    for name, outcome, problems in rows:
        result = _RESULTS.get(outcome, outcome)
        table.add_row(Text(name), Text(result, style=_STYLES.get(outcome, "")), Text("\n".join(problems)))
    return table


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in headings:
        numeric = heading in {"SIZE", "MODELS"}
        table.add_column(heading, overflow="fold", justify="right" if numeric else "left", no_wrap=numeric)
    return table

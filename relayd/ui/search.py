"""What was found on the hub, as a table that drops columns before it breaks a name."""

from collections.abc import Iterable
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from relayd.ui.columns import kept
from relayd.units import show_bytes

_STYLES = {"easily": "green", "yes": "green", "no": "yellow"}
_DROPPED = ("UPDATED", "LIKES", "DOWNLOADS", "QUANT")


@dataclass(frozen=True, slots=True)
class HitRow:
    """A repository, as the table shows it.

    Attributes:
        repo: What people type after `relayd pull`.
        quant: The quantization that is taken.
        bytes: Its size; 0 while unknown.
        fits: How this machine holds it: `easily`, `yes`, `no`, or "".
        downloads: In the last 30 days.
        likes: How many people like it.
        updated: The day of its last change.
        note: What is against it.
    """

    repo: str
    quant: str
    bytes: int
    fits: str
    downloads: int
    likes: int
    updated: str
    note: str = ""


def hits_table(rows: Iterable[HitRow], width: int) -> Table:
    """Return a line for each repository, as wide as `width` where that can be."""
    shown = [_cells(row) for row in rows]
    columns = kept(
        ["REPOSITORY", "QUANT", "SIZE", "FITS", "DOWNLOADS", "LIKES", "UPDATED"], shown, width, _DROPPED
    )
    if any(one["NOTE"] for one in shown):
        columns.append("NOTE")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        numeric = column in {"SIZE", "DOWNLOADS", "LIKES"}
        heading = "" if column == "NOTE" else column
        table.add_column(heading, justify="right" if numeric else "left", no_wrap=column != "NOTE")
    for one in shown:
        table.add_row(*(Text(one[column], style=_STYLES.get(one[column], "")) for column in columns))
    return table


def _cells(row: HitRow) -> dict[str, str]:
    return {
        "REPOSITORY": row.repo,
        "QUANT": row.quant,
        "SIZE": show_bytes(row.bytes) if row.bytes else "",
        "FITS": row.fits,
        "DOWNLOADS": _thousands(row.downloads),
        "LIKES": _thousands(row.likes),
        "UPDATED": row.updated,
        "NOTE": row.note,
    }


def _thousands(count: int) -> str:
    """Return a count as the hub shows it: `950`, `12k`, `3.4M`."""
    if count < 1000:
        return str(count)
    if count < 1_000_000:
        return f"{count // 1000}k"
    return f"{count / 1_000_000:.1f}M"

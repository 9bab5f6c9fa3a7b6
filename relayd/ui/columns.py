"""Which columns of a table a terminal has room for: some are left out before a name is broken."""

from collections.abc import Mapping, Sequence

from rich.cells import cell_len

GAP = 2
"""Columns between two cells."""


def kept(
    columns: Sequence[str], rows: Sequence[Mapping[str, str]], width: int, dropped: Sequence[str]
) -> list[str]:
    """Return the columns that fit.

    Args:
        columns: All of them, in order.
        rows: The text of each cell.
        width: Of the terminal.
        dropped: Columns that a narrow terminal goes without, the first one first.
    """
    left = list(columns)
    for one in dropped:
        if sum(_width(column, rows) + GAP for column in left) - GAP <= width:
            break
        left.remove(one)
    return left


def _width(column: str, rows: Sequence[Mapping[str, str]]) -> int:
    return max(map(cell_len, (column, *(row[column] for row in rows))))

"""Remarks on standard error: errors, remedies, warnings and notes, in lines as wide as the terminal."""

import os
import sys

import typer

from relayd.ui.paragraph import wrapped


def remark(text: str, *, indent: int = 0, begun: int = 0) -> None:
    """Print text in lines of whole words; outside a terminal no line is broken.

    Args:
        text: Its lines are paragraphs.
        indent: Columns before each line.
        begun: Columns of the first line that are taken already.
    """
    for line in wrapped(text, max(0, _columns() - indent), begun):
        typer.echo(" " * indent + line, err=True)


def _columns() -> int:
    """Return the width of the terminal that standard error is; 0 where it is none."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns if sys.stderr.isatty() else 0
    except (OSError, ValueError):
        return 0

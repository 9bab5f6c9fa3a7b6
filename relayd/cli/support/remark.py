"""Remarks on standard error: errors, remedies, warnings and notes, in lines as wide as the terminal."""

import os
import sys
from typing import TextIO

import typer

from relayd.ui.paragraph import wrapped


def remark(text: str, *, indent: int = 0, begun: int = 0) -> None:
    """Print text in lines of whole words; outside a terminal no line is broken.

    Args:
        text: Its lines are paragraphs.
        indent: Columns before each line.
        begun: Columns of the first line that are taken already.
    """
    for line in wrapped(text, max(0, _columns(sys.stderr) - indent), begun):
        typer.echo(" " * indent + line, err=True)


def output_columns() -> int:
    """Return the width of the terminal that standard output is; 0 where it is none."""
    return _columns(sys.stdout)


def _columns(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns if stream.isatty() else 0
    except (OSError, ValueError):
        return 0

"""The page of `relayd --help` as typer lays it out, without typer, whose import takes two thirds of the time.

Widths follow typer's plain help: the terminal's, two columns less, 98 at most.
"""

import os
import sys
from collections.abc import Iterable, Iterator, Mapping

from relayd.cli.support.listed import LazyCommand

_OPTIONS = {
    "--config FILE": "The relay.toml to use, of any command.",
    "-V, --version": "Show the version and exit.",
    "--install-completion": "Install completion for the current shell.",
    "--show-completion": "Show completion for the current shell, to copy it or customize the installation.",
    "-h, --help": "Show this message and exit.",
}

_MOST_COLUMNS = 100
_FALLBACK_COLUMNS = 80


def help_page(summary: str, commands: Mapping[str, LazyCommand], epilog: str) -> str | None:
    """Return the page for the terminal that standard output is; None where typer has to lay it out.

    That is where a shell asks for completions, where relayd was started under another name, and where the
    terminal is too narrow for the summaries.
    """
    if "_RELAYD_COMPLETE" in os.environ or sys.argv[0].rpartition("/")[2] != "relayd":
        return None
    width = min(_columns(), _MOST_COLUMNS) - 2
    rows = {name: one.summary for name, one in commands.items()}
    if width - 6 - max(map(len, rows)) < max(map(len, rows.values())):
        return None
    lines = [
        "Usage: relayd [OPTIONS] COMMAND [ARGS]...", "", f"  {summary}", "",
        "Options:", *_table(_OPTIONS, width), "",
        "Commands:", *_table(rows, width), "",
        *(f"  {line}" for line in _wrapped(epilog, width - 2)),
    ]  # fmt: skip
    return "\n".join(lines)


def _columns() -> int:
    """Return the columns: `COLUMNS`, else those of the terminal, else 80 (as shutil does)."""
    try:
        columns = int(os.environ["COLUMNS"])
    except (KeyError, ValueError):
        columns = 0
    if columns <= 0:
        try:
            columns = os.get_terminal_size(1).columns
        except OSError:
            columns = 0
    return columns or _FALLBACK_COLUMNS


def _table(rows: Mapping[str, str], width: int) -> Iterator[str]:
    first = max(map(len, rows)) + 2
    for name, text in rows.items():
        begun = f"  {name:<{first}}"
        for line in _wrapped(text, width - first - 2):
            yield begun + line
            begun = " " * len(begun)


def _wrapped(text: str, width: int) -> Iterable[str]:
    """Return lines of whole words; textwrap would import what takes longer than the page."""
    line = ""
    for word in text.split(" "):
        if line and len(line) + 1 + len(word) > width:
            yield line
            line = word
        else:
            line = f"{line} {word}" if line else word
    yield line

"""Output for people: tables and pages as wide as the terminal, and what runs meanwhile (rich)."""

import contextlib
from collections.abc import Callable, Iterable, Iterator

import typer
from rich.console import Console, RenderableType
from rich.text import Text

from relayd.printable import coloured

GREP_COLUMNS = 200
"""Width of a table outside a terminal: each row stays on one line, for grep."""

MAIL_COLUMNS = 100
"""Width of pages of prose and numbers that people send to each other."""


def show(render: RenderableType | Callable[[int], RenderableType], pipe_columns: int = GREP_COLUMNS) -> None:
    """Print as wide as the terminal, or `pipe_columns` wide outside one.

    What names and messages from elsewhere hold could command a terminal: only colours are left of that.

    Args:
        render: What to show, or a function that makes it for a width in columns.
        pipe_columns: The width outside a terminal.
    """
    console = Console()
    is_terminal = console.is_terminal
    if not is_terminal:
        console = Console(width=pipe_columns)
    with console.capture() as text:
        console.print(render(console.width) if callable(render) else render)
    lines = map(coloured, text.get().split("\n"))
    typer.echo("\n".join(lines if is_terminal else map(str.rstrip, lines)).rstrip("\n"), color=is_terminal)


def show_lines(render: Callable[[int], Iterable[Text]]) -> None:
    """Print lines that are broken by themselves: what is longer than the terminal stays one piece to copy.

    Args:
        render: Makes the lines for a width in columns; for 0, outside a terminal, it breaks none.
    """
    console = Console(soft_wrap=True)
    if console.is_terminal:
        for line in render(console.width):
            console.print(line)
        return
    typer.echo("\n".join(line.plain.rstrip() for line in render(0)))


@contextlib.contextmanager
def working(what: str) -> Iterator[None]:
    """Show a spinner with what is being done while the block runs; nothing outside a terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(what):
        yield

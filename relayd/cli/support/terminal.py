"""Output for people: tables and pages as wide as the terminal, and what runs meanwhile (rich)."""

import contextlib
from collections.abc import Callable, Iterable, Iterator

import typer
from rich.console import Console, RenderableType
from rich.text import Text

GREP_COLUMNS = 200
"""Width of a table outside a terminal: each row stays on one line, for grep."""

MAIL_COLUMNS = 100
"""Width of pages of prose and numbers that people send to each other."""


def show(render: RenderableType | Callable[[int], RenderableType], pipe_columns: int = GREP_COLUMNS) -> None:
    """Print as wide as the terminal, or `pipe_columns` wide outside one.

    Args:
        render: What to show, or a function that makes it for a width in columns.
        pipe_columns: The width outside a terminal.
    """
    console = Console()
    if not console.is_terminal:
        console = Console(width=pipe_columns)
        with console.capture() as text:
            console.print(render(console.width) if callable(render) else render)
        typer.echo("\n".join(map(str.rstrip, text.get().splitlines())))
        return
    console.print(render(console.width) if callable(render) else render)


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

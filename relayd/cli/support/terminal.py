"""Output for people: tables and pages as wide as the terminal, and what runs meanwhile (rich)."""

import contextlib
from collections.abc import Callable, Iterator

import typer
from rich.console import Console, RenderableType

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


@contextlib.contextmanager
def working(what: str) -> Iterator[None]:
    """Show a spinner with what is being done while the block runs; nothing outside a terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(what):
        yield

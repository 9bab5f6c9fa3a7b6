"""How does a command print: a document, an event of a stream, a table, or what it is about to do?

A document is JSON indented by two, an event is one line of JSON. A command says which by `--json`.
"""

import contextlib
import json
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import RenderableType

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON; sizes are bytes.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]

GREP_COLUMNS = 200
"""Out of a terminal a thing is one line, for grep."""

MAIL_COLUMNS = 100
"""For pages of prose and numbers that people send to each other."""


def print_json(value: object) -> None:
    """Print a document."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_event(value: object) -> None:
    """Print one event of a stream, at once."""
    print(json.dumps(value, ensure_ascii=False), flush=True)


def show(
    render: "RenderableType | Callable[[int], RenderableType]", pipe_columns: int = GREP_COLUMNS
) -> None:
    """Print for people: as wide as the terminal, `pipe_columns` wide where there is none.

    Args:
        render: What to show, or what makes it of the columns there are.
        pipe_columns: The width out of a terminal.
    """
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console = Console(width=pipe_columns)
        with console.capture() as text:
            console.print(render(console.width) if callable(render) else render)
        typer.echo("\n".join(map(str.rstrip, text.get().splitlines())))
        return
    console.print(render(console.width) if callable(render) else render)


@contextlib.contextmanager
def telling(what: str) -> "Iterator[None]":
    """Show on the terminal what is being done, as long as it is."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(what):
        yield

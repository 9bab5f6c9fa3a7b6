"""JSON output of a command: one document, or one event of a stream a line.

A document is indented by two. The `--json` help of a command states which of the two it prints.
"""

import json
from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON; sizes are bytes.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]


def print_json(value: object) -> None:
    """Print a document."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_event(value: object) -> None:
    """Print one event of a stream, at once."""
    print(json.dumps(value, ensure_ascii=False), flush=True)

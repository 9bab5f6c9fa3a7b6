"""relayd start, drain, restart: what does a command do to replicas, and what came of it?"""

from typing import Annotated

import typer

from relayd.cli.support import completion
from relayd.cli.support.control import daemon_client
from relayd.cli.support.output import AsJson, print_json

_PATIENCE_SECONDS = 3600.0
"""A load may take long, and a drain as long as its requests."""

Target = Annotated[
    str | None,
    typer.Argument(
        metavar="MODEL[#N]",
        help="A model or one replica; without it, all.",
        autocompletion=completion.targets,
    ),
]


def start(target: Target = None, as_json: AsJson = False) -> None:
    """Start what is stopped or was given up."""
    _act("start", as_json=as_json, target=target)


def drain(target: Target = None, as_json: AsJson = False) -> None:
    """Stop replicas after their last request, however long it takes."""
    _act("drain", as_json=as_json, target=target)


def restart(
    target: Target = None,
    rolling: Annotated[
        bool, typer.Option("--rolling", help="One replica of a model after the other: no request fails.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Stop replicas after their requests, and start them again."""
    _act("restart", as_json=as_json, target=target, rolling=rolling)


def _act(verb: str, *, as_json: bool, **arguments: object) -> None:
    """Send a verb, print how each replica came out, and exit with 1 if one was given up."""
    answer = daemon_client().post(verb, patience_seconds=_PATIENCE_SECONDS, **arguments)
    show_states(answer, as_json=as_json)


def show_states(answer: dict[str, object], *, as_json: bool) -> None:
    """Print an answer with replicas in it; exit with 1 if one of them was given up."""
    states = answer.get("replicas")
    if as_json:
        print_json(answer)
    elif isinstance(states, dict):
        for name, state in states.items():
            print(f"{name} is {state}")
    if isinstance(states, dict) and "fatal" in states.values():
        typer.echo("relayd status tells why", err=True)
        raise typer.Exit(1)

"""relayd load, unload, pin, unpin: which models are in memory, by command."""

from typing import Annotated

import msgspec
import typer

from relayd.cli.act import show_states, why_failed
from relayd.cli.support import completion
from relayd.cli.support.control import carried_on, daemon_for
from relayd.cli.support.output import AsJson, print_json

OneModel = Annotated[
    str, typer.Argument(metavar="MODEL", help="A model or its alias.", autocompletion=completion.targets)
]


def load(
    model: OneModel,
    node: Annotated[str, typer.Option(metavar="NODE", help="On this node, as MODEL@NODE.")] = "",
    as_json: AsJson = False,
) -> None:
    """Load a model into memory; idle models make room for it.

    It waits until the model serves. Others leave by the rules that hold for a request: never while they are
    busy or pinned. The daemon carries on with it when this command is interrupted; `relayd unload` takes it
    back.
    """
    model = f"{model}@{node}" if node else model
    with carried_on(model) as daemon:
        report = daemon.load(model)
    show_states(report, as_json=as_json, failures=lambda: why_failed(daemon.status()))
    if "ready" not in report.replicas.values():
        raise typer.Exit(1)


def unload(
    target: Annotated[
        str,
        typer.Argument(
            metavar="MODEL[#N]", help="A model or one replica.", autocompletion=completion.targets
        ),
    ],
    force: Annotated[bool, typer.Option("--force", help="End its running requests.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove a model from memory; the next request loads it again.

    Its running requests are finished first. What shall stay away is stopped with `relayd stop`.
    """
    with carried_on(target) as daemon:
        report = daemon.unload(target, force=force)
    show_states(report, as_json=as_json)


def pin(model: OneModel, as_json: AsJson = False) -> None:
    """Keep a model in memory once it is loaded.

    This holds whatever else needs memory, and over restarts, until it is unpinned.
    """
    _set_pin(model, pinned=True, as_json=as_json)


def unpin(model: OneModel, as_json: AsJson = False) -> None:
    """Let other models take the place of a pinned one again."""
    _set_pin(model, pinned=False, as_json=as_json)


def _set_pin(model: str, *, pinned: bool, as_json: bool) -> None:
    report = daemon_for(model).pin(model, pinned=pinned)
    if as_json:
        print_json(msgspec.to_builtins(report))
    else:
        states = ", ".join(f"{name} is {state}" for name, state in report.replicas.items())
        print(f"{report.model} is {'pinned' if report.pinned else 'not pinned'}: {states}")

"""relayd start, drain, restart: commands for replicas, and how each replica came out."""

from typing import Annotated

import msgspec
import typer

from relayd.cli.support import completion
from relayd.cli.support.control import carried_on
from relayd.cli.support.output import AsJson, print_json
from relayd.daemon.report import ReloadReport, ReplicasReport

Target = Annotated[
    str | None,
    typer.Argument(
        metavar="MODEL[#N]",
        help="A model or one replica; without it, all.",
        autocompletion=completion.targets,
    ),
]


def start(target: Target = None, as_json: AsJson = False) -> None:
    """Start what is stopped or was given up.

    What is cold is started if it fits beside what runs now.
    """
    with carried_on() as daemon:
        report = daemon.start(target)
    show_states(report, as_json=as_json)


def drain(target: Target = None, as_json: AsJson = False) -> None:
    """Stop replicas after their last request, however long it takes."""
    with carried_on() as daemon:
        report = daemon.drain(target)
    show_states(report, as_json=as_json)


def restart(
    target: Target = None,
    rolling: Annotated[
        bool, typer.Option("--rolling", help="One replica of a model after the other: no request fails.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Stop replicas after their requests, and start them again.

    Models are planned anew, as `relayd plan --fresh` shows; one replica that is named keeps its plan.
    Edits of relay.toml are followed by `relayd reload`, not by this.
    """
    with carried_on() as daemon:
        report = daemon.restart(target, rolling=rolling)
    show_states(report, as_json=as_json)


def show_states(report: ReplicasReport | ReloadReport, *, as_json: bool) -> None:
    """Print how each replica came out; exit with 1 if one of them was given up."""
    states = report.replicas or {}
    if as_json:
        print_json(msgspec.to_builtins(report))
    else:
        reasons = report.not_started
        changed = report.changed if isinstance(report, ReplicasReport) else {}
        for name, state in states.items():
            how = f" ({'; '.join(changed[name])})" if name in changed else ""
            why = reasons.get(name, "")
            why = f"it {why.removeprefix(f'{name} ')}" if why.startswith(f"{name} ") else why
            print(f"{name} stays {state}: {why}" if why else f"{name} is {state}{how}")
    if isinstance(report, ReplicasReport) and report.note:
        typer.echo(report.note, err=True)
    if "fatal" in states.values():
        typer.echo("The reason is in: relayd status", err=True)
        raise typer.Exit(1)

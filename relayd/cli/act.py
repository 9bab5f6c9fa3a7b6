"""relayd start, drain, restart: commands for replicas, and how each replica came out."""

from collections.abc import Callable, Mapping
from typing import Annotated

import msgspec
import typer

from relayd.cli.support import completion
from relayd.cli.support.control import carried_on
from relayd.cli.support.output import AsJson, print_json
from relayd.cli.support.remark import remark
from relayd.daemon.report import ReloadReport, ReplicasReport, StatusReport

Target = Annotated[
    str | None,
    typer.Argument(
        metavar="MODEL[#N]",
        help="A model or one replica; without it, all.",
        autocompletion=completion.targets,
    ),
]


def start(target: Target = None, as_json: AsJson = False) -> None:
    """Start replicas that are stopped or were given up.

    What is cold is started if it fits beside what runs now.
    """
    with carried_on(target) as daemon:
        report = daemon.start(target)
    show_states(report, as_json=as_json, failures=lambda: why_failed(daemon.status()))


def drain(target: Target = None, as_json: AsJson = False) -> None:
    """Stop replicas once their requests are done, however long."""
    with carried_on(target) as daemon:
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
    with carried_on(target) as daemon:
        report = daemon.restart(target, rolling=rolling)
    show_states(report, as_json=as_json, failures=lambda: why_failed(daemon.status()))


def why_failed(report: StatusReport) -> dict[str, str]:
    """Return why replicas have failed, with the remedy, by name."""
    replicas = (one for model in report.models for one in model.replicas)
    ends = {one.name: one.last_exit for one in replicas if one.state == "fatal" and one.last_exit}
    return {name: ". ".join(filter(None, (end.message, end.remedy))) for name, end in ends.items()}


def show_states(
    report: ReplicasReport | ReloadReport,
    *,
    as_json: bool,
    failures: Callable[[], Mapping[str, str]] = dict,
) -> None:
    """Print how each replica came out; exit with 1 if one of them was given up.

    Args:
        report: What the daemon answered.
        as_json: Whether it is printed as it came.
        failures: Returns why replicas have failed, by name; asked only if one has.
    """
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
        remark(report.note)
    if "fatal" in states.values():
        failed = failures()
        for name in (name for name, state in states.items() if state == "fatal" and name in failed):
            remark(f"{name} failed: {failed[name]}")
        if not failed:
            typer.echo("The reason is in: relayd status", err=True)
        raise typer.Exit(1)

"""relayd plan: what `relayd serve` starts, where, and what is left of each device."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from relayd.cli.ondisk import models_given_up
from relayd.cli.support.display import ConsoleDisplay
from relayd.cli.support.given import given_arguments
from relayd.cli.support.output import AsJson, print_json
from relayd.cli.support.remark import remark
from relayd.cli.support.terminal import MAIL_COLUMNS, show
from relayd.desired.preview import preview
from relayd.errors import UsageError
from relayd.ui.plan import plan_page


def plan(
    simulate: Annotated[str, typer.Option(help="Another machine, like gpu=4090:24,ram=64.")] = "",
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="The relay.toml to use.")] = None,
    command: Annotated[
        bool, typer.Option("--command", help="Print the llama-server line of each replica.")
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Plan all models anew, whatever runs or was planned before.")
    ] = False,
    fleet: Annotated[
        bool, typer.Option("--fleet", help="Place the models of all machines of the hub that runs here.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show what `relayd serve` starts, where, and what is left.

    Models that a running daemon serves keep their places, and those that it has given up come last.
    What is loaded on demand is listed with the reason. Exits with 1 if a model that is to start does not
    fit, or if those that run no longer do. With --fleet: which machine runs which model and why, where its
    file is, and what would have to move.
    """
    if fleet:
        from relayd.cli.support.overmachines import plan_fleet_of_machines

        if simulate or config or command or fresh:
            raise UsageError(
                "--fleet plans the machines as they are", remedy="Give no other option but --json."
            )
        plan_fleet_of_machines(as_json=as_json)
        return
    arguments, site = given_arguments(config)
    given_up = {} if config or simulate or fresh else models_given_up()
    found = preview(arguments, site, ConsoleDisplay(), simulate, fresh=fresh, given_up=given_up)
    if not found.made.plans.plan and not as_json:
        for warning in found.made.warnings:
            remark(f"Note: {warning}")
        typer.echo("No model is configured. Find one: relayd recommend")
        return
    if command and as_json:
        print_json({name: list(argv) for name, argv in found.commands().items()})
    elif command:
        for argv in found.commands().values():
            typer.echo(shlex.join(argv))
    elif as_json:
        print_json(found.document())
    else:
        later = [(one, cold.brief) for one, cold in found.on_demand()]
        planned, notes = found.made.plans.fleet, found.made.warnings
        show(lambda width: plan_page(planned, found.ledger, later, notes, width), MAIL_COLUMNS)
    if not found.complete:
        raise typer.Exit(1)

"""relayd plan: where do the configured models go, and what is every device left with?"""

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from relayd.advice import plan_document
from relayd.cli.recommend import gather
from relayd.cli.support.control import daemon_client
from relayd.cli.support.output import AsJson, print_json
from relayd.cli.support.terminal import MAIL_COLUMNS, show
from relayd.config import load
from relayd.desired.replicas import check_models
from relayd.errors import RelaydError
from relayd.hardware.freed import freed
from relayd.ui.recommend import plan_page


def plan(
    simulate: Annotated[str, typer.Option(help="Another machine, like gpu=4090:24,ram=64.")] = "",
    as_json: AsJson = False,
) -> None:
    """Show where the configured models go, and what is left."""
    config = load(None, os.environ, Path.home(), Path.cwd()).config
    if not config.model and not as_json:
        typer.echo("No model is configured. Find one: relayd recommend")
        return
    check_models(config)
    adviser = gather(simulate)
    if not simulate:
        adviser = replace(
            adviser, machine=freed(adviser.machine, running({one.name for one in config.model}))
        )
    found = adviser.plan(config)
    if as_json:
        print_json(plan_document(found))
    else:
        show(plan_page(found), MAIL_COLUMNS)
    if not found.complete:
        raise typer.Exit(1)


def running(models: set[str]) -> list[int]:
    """Return the processes that serve some models now: their memory is the plan's own."""
    try:
        report = daemon_client().status()
    except RelaydError:
        return []
    found = (replica for model in report.models if model.name in models for replica in model.replicas)
    return [replica.pid for replica in found if replica.pid]

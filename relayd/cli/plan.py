"""relayd plan: where do the configured models go, and what is every device left with?"""

from typing import Annotated

import typer

from relayd.cli.output import MAIL_COLUMNS, AsJson, print_json, show
from relayd.cli.recommend import gather


def plan(
    simulate: Annotated[str, typer.Option(help="Another machine, like gpu=4090:24,ram=64.")] = "",
    as_json: AsJson = False,
) -> None:
    """Show where the configured models go, and what is left."""
    import os
    from pathlib import Path

    from relayd.advice import plan_document
    from relayd.config import load
    from relayd.ui.recommend import plan_page
    from relayd.wish import check_models

    config = load(None, os.environ, Path.home(), Path.cwd()).config
    if not config.model and not as_json:
        typer.echo("No model is configured. Find one: relayd recommend")
        return
    check_models(config)
    found = gather(simulate).plan(config)
    if as_json:
        print_json(plan_document(found))
    else:
        show(plan_page(found), MAIL_COLUMNS)
    if not found.complete:
        raise typer.Exit(1)

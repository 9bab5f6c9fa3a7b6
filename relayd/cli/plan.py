"""relayd plan: where do the configured models go, and what is every device left with?"""

from typing import Annotated

import typer

from relayd.cli.recommend import gather, print_json, show


def plan(
    simulate: Annotated[str, typer.Option(help="Another machine, like gpu=4090:24,ram=64.")] = "",
    json: Annotated[bool, typer.Option("--json", help="Print JSON; sizes are bytes.")] = False,
) -> None:
    """Show where the configured models go, and what each device is left with."""
    import os
    from pathlib import Path

    from relayd.advice import plan_document
    from relayd.config import load
    from relayd.ui.recommend import plan_page

    config = load(None, os.environ, Path.home(), Path.cwd()).config
    if not config.model:
        typer.echo("No model is configured. Find one: relayd recommend")
        return
    found = gather(simulate).plan(config)
    if json:
        print_json(plan_document(found))
    else:
        show(lambda _: plan_page(found))
    if not found.complete:
        raise typer.Exit(1)

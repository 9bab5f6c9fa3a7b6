"""relayd ui: open the dashboard, by a link that works once."""

import webbrowser
from typing import Annotated

import msgspec
import typer

from relayd.cli.support.control import daemon_client
from relayd.cli.support.output import AsJson, print_json
from relayd.units import show_seconds


def ui(
    browser: Annotated[bool, typer.Option("--open", help="Open it in this machine's browser.")] = False,
    as_json: AsJson = False,
) -> None:
    """Open the dashboard, by a link that works once.

    It is printed, and opens without a key on this machine. From elsewhere, log in at /ui/ with a key for
    administration: relayd keys create NAME --scope admin
    """
    link = daemon_client().link()
    if as_json:
        print_json(msgspec.to_builtins(link))
    else:
        typer.echo(link.url)
        typer.echo(f"It works once, on this machine, within {show_seconds(link.seconds)}.", err=True)
    if browser and not webbrowser.open(link.url):
        typer.echo("No browser could be opened here.", err=True)
        raise typer.Exit(1)

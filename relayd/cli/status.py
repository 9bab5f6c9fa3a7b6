"""relayd status: what runs, how busy it is, and why something does not run."""

from typing import Annotated

import typer


def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON document (schema 1).")] = False,
) -> None:
    """Show the daemon, its models and every replica."""
    from relayd.cli.door import daemon_client

    report = daemon_client().get("status")
    if as_json:
        import json

        print(json.dumps(report, indent=2))
        return
    from rich.console import Console

    from relayd.clock import SystemClock
    from relayd.ui.status import render_status

    Console().print(render_status(report, SystemClock().wall()))

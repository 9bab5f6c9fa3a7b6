"""relayd upgrade: put the relayd that is installed now in the place of the one that runs."""

from typing import Annotated

import typer

from relayd.cli.support.control import daemon_client
from relayd.cli.support.output import AsJson, print_json
from relayd.cli.support.terminal import working

_PATIENCE_SECONDS = 3600.0
"""The daemon has its own limit: server.takeover_seconds."""


def upgrade(
    drain: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            min=0,
            help="How long answers under way may take.  [default: replicas.drain_seconds]",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Replace the running daemon by the relayd installed now.

    Clients do not notice: replicas stay loaded, answers under way are finished by the old daemon, new
    requests go to the new one. If that does not come up, nothing has changed.
    """
    with working("Starting the new daemon"):
        answer = daemon_client().post("upgrade", patience_seconds=_PATIENCE_SECONDS, drain_seconds=drain)
    if as_json:
        print_json(answer)
        return
    versions = (
        f"relayd {answer['version']}"
        if answer["version"] == answer["old_version"]
        else f"relayd {answer['version']} (before: {answer['old_version']})"
    )
    print(f"{versions} has taken over, pid {answer['pid']}")
    if running := answer["running"]:
        plural = "" if running == 1 else "s"
        limit = f"within {answer['drain_seconds']:g} s"
        print(f"{running} answer{plural} under way end{'' if plural else 's'} in the old daemon, {limit}")

"""relayd upgrade: replace the running daemon by the installed version."""

from typing import Annotated

import msgspec
import typer

from relayd.cli.support.control import daemon_client
from relayd.cli.support.output import AsJson, print_json
from relayd.cli.support.terminal import working


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
        done = daemon_client().upgrade(drain)
    if as_json:
        print_json(msgspec.to_builtins(done))
        return
    versions = (
        f"relayd {done.version}"
        if done.version == done.old_version
        else f"relayd {done.version} (before: {done.old_version})"
    )
    print(f"{versions} has taken over, pid {done.pid}")
    if running := done.running:
        plural = "" if running == 1 else "s"
        limit = f"within {done.drain_seconds:g} s"
        print(f"{running} answer{plural} under way end{'' if plural else 's'} in the old daemon, {limit}")

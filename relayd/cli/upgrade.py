"""relayd upgrade: replace the running daemon by the installed version."""

from typing import Annotated

import msgspec
import typer

from relayd.cli.support.control import daemon_client
from relayd.cli.support.output import AsJson, print_json
from relayd.cli.support.terminal import working
from relayd.daemon.report import UpgradeReport


def upgrade(
    drain: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            min=0,
            help="How long answers under way may take.  [default: 600, or a longer replicas.drain_seconds]",
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
    if sentence := left(done):
        print(sentence)


def left(done: UpgradeReport) -> str:
    """Return how many requests the old daemon has left to finish, and by when; empty if none."""
    if not done.running and not done.waiting:
        return ""
    parts = [f"{done.running} answer{_s(done.running)} under way"] if done.running else []
    parts += [f"{done.waiting} waiting request{_s(done.waiting)}"] if done.waiting else []
    end = "ends" if done.running + done.waiting == 1 else "end"
    return f"{' and '.join(parts)} {end} in the old daemon, within {done.drain_seconds:g} s"


def _s(count: int) -> str:
    return "" if count == 1 else "s"

"""The daemon in the foreground, behind `relayd serve`: what it is given is made, and it runs to its end."""

import contextlib
import os
import resource
import sys
from pathlib import Path

import typer
import uvloop

from relayd.cli.support.announced import ServeOutput
from relayd.cli.support.display import ConsoleDisplay
from relayd.cli.support.remark import remark
from relayd.daemon.life import Daemon
from relayd.daemon.place import DaemonPlace
from relayd.desired.arguments import ServeArguments
from relayd.desired.cold import NOTABLE
from relayd.desired.display import Silent
from relayd.desired.site import Site
from relayd.desired.state import DesiredState, desired_state, remember_plan
from relayd.journal import Journal, open_journal
from relayd.store.hubs import is_node
from relayd.units import mib

WARNED = "warned-as-root"
"""In the state folder: the warning about running as root was given."""


def serve_until_stopped(
    arguments: ServeArguments, place: DaemonPlace | None, *, quiet: bool, as_json: bool
) -> None:
    """Plan what was typed, and serve it until a signal or a command ends the daemon.

    Args:
        arguments: What was typed.
        place: The daemon's place; None where it takes over from another one.
        quiet: Print nothing but errors.
        as_json: Print a JSON object for each event.

    Raises:
        RelaydError: It cannot be followed, or the daemon could not go on.
        typer.Exit: There is nothing to serve.
    """
    desired = desired_state(arguments, Site(), ConsoleDisplay(quiet=quiet or as_json))
    output = ServeOutput(quiet=quiet, as_json=as_json, certificate=desired.config.server.tls_cert)
    config, is_remote = desired.config, is_node(desired.paths.state) or bool(desired.config.bus.url)
    serves_others = config.upstream or config.hub.takes_others or is_remote
    if not desired.plan and not serves_others:
        output.nothing_to_serve()
        if desired.on_terminal:
            raise typer.Exit(1)
    elif place and desired.plan and desired.away.keys() >= {one.model for one in desired.plan}:
        output.no_file_is_there(desired.away)
        if desired.on_terminal:
            raise typer.Exit(1)
    if place:
        place.listen()
    _run(remember_plan(desired), arguments, output, place)


def _run(
    desired: DesiredState, arguments: ServeArguments, output: ServeOutput, place: DaemonPlace | None
) -> None:
    """Run the daemon to its end."""
    soft, hard = _raise_descriptor_limit()
    logs = desired.config.logs
    open_journal(
        desired.paths.state / "logs" / "relayd.log",
        max_bytes=mib(logs.max_mib),
        backups=logs.backups,
        level=logs.level,
        form=logs.format,
    )
    Journal("daemon").info("daemon.descriptors", soft=soft, hard=hard)
    cold = [str(one) for one in desired.cold if one.cause in NOTABLE] if place else ()
    for warning in (*desired.warnings, *cold, *root_warning(desired.paths.state)):
        remark(f"warning: {warning}")
    if place:
        output.plan = desired.plan

    async def main() -> None:
        daemon = Daemon(
            desired,
            lambda given_up: desired_state(arguments, Site(), Silent(), given_up),
            output,
            place,
        )
        await daemon.run()

    uvloop.run(main())
    sys.stdout.flush()


def root_warning(state: Path) -> tuple[str, ...]:
    """Return the warning about running as root, the first time that relayd does with this state folder."""
    mark = state / WARNED
    if os.geteuid() != 0 or mark.exists():
        return ()
    with contextlib.suppress(OSError):
        mark.touch(mode=0o600)
    return ("relayd runs as root; a user of its own is safer",)


def _raise_descriptor_limit() -> tuple[int, int]:
    """Allow as many open connections as the system lets us, and return the soft and the hard limit.

    The usual soft limit is 1,024.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted, hard

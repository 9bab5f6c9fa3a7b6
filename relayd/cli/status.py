"""relayd status: the daemons that run, their models and every replica."""

import sys
from threading import Event
from typing import Annotated, Any

import msgspec
import typer

from relayd.cli.support.control import RunningDaemon, running_daemons
from relayd.cli.support.output import AsJson, print_event, print_json
from relayd.clock import SystemClock

_LOOK_SECONDS = 1.0


def status(
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Show it again every second, until Ctrl-C.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show the daemon, its models and every replica.

    A demo that runs beside it comes after it; with --json it is in `others`. With --watch and --json each
    look is a line.
    """
    if watch:
        _watch(as_json=as_json)
        return
    found = running_daemons()
    if as_json:
        print_json(_document(found))
    else:
        _show(found)


def _watch(*, as_json: bool) -> None:
    never = Event()
    while True:
        found = running_daemons()
        if as_json:
            print_event(_document(found))
        else:
            if sys.stdout.isatty():
                print("\x1b[2J\x1b[H", end="")  # as the `clear` of every terminal since the VT100
            _show(found)
            sys.stdout.flush()
        never.wait(_LOOK_SECONDS)


def _document(found: list[RunningDaemon]) -> dict[str, Any]:
    """Return the report of the first daemon, with those of the others inside."""
    first, *others = (msgspec.to_builtins(one.report) for one in found)
    return {**first, "others": others} if others else dict(first)


def _show(found: list[RunningDaemon]) -> None:
    # Tables are loaded once there is something to show: without a daemon this answers much sooner.
    from relayd.cli.support.terminal import MAIL_COLUMNS, show
    from relayd.ui.status import path_lines, render_status

    now = SystemClock().wall()
    for number, one in enumerate(found):
        if number:
            typer.echo()
        show(render_status(one.report, now), MAIL_COLUMNS)
        print("\n" + "\n".join(path_lines(one.report)))  # never broken, whatever the width

"""relayd status: the daemon, its models and every replica."""

import msgspec

from relayd.cli.support.control import daemon_client
from relayd.cli.support.output import AsJson, print_json
from relayd.clock import SystemClock


def status(as_json: AsJson = False) -> None:
    """Show the daemon, its models and every replica."""
    report = daemon_client().status()
    if as_json:
        print_json(msgspec.to_builtins(report))
        return
    # Tables are loaded once there is something to show: without a daemon this answers much sooner.
    from relayd.cli.support.terminal import MAIL_COLUMNS, show
    from relayd.ui.status import render_status

    show(render_status(report, SystemClock().wall()), MAIL_COLUMNS)

"""relayd status: what runs, how busy it is, and why something does not run."""

from relayd.cli.output import MAIL_COLUMNS, AsJson, print_json, show


def status(as_json: AsJson = False) -> None:
    """Show the daemon, its models and every replica."""
    from relayd.cli.door import daemon_client

    report = daemon_client().get("status")
    if as_json:
        print_json(report)
        return
    from relayd.clock import SystemClock
    from relayd.ui.status import render_status

    show(render_status(report, SystemClock().wall()), MAIL_COLUMNS)

"""Has a node of this hub fetch a model, and shows how far it is until it is there."""

from threading import Event

import msgspec
import typer

from relayd.cli.support.control import daemon_client
from relayd.cli.support.output import print_json
from relayd.daemon.livereport import PullReport
from relayd.errors import FetchError

_LOOK_SECONDS = 0.5


def pull_at(node: str, model: str, *, quiet: bool, as_json: bool) -> None:
    """Have a node fetch a model, and wait; Ctrl-C interrupts it there, and what it has is kept.

    Raises:
        DaemonError: The node is not connected, or cannot do it.
        FetchError: It could not be fetched.
    """
    client, pause = daemon_client(), Event()
    report = client.pull_at(node, model)
    shown = ""
    try:
        while report.state == "running":
            if report.text != shown and not quiet and not as_json:
                shown = report.text
                typer.echo(f"{node}: {shown}", err=True)
            pause.wait(_LOOK_SECONDS)
            report = client.pull_at(node, model, "look")
    except KeyboardInterrupt:
        client.pull_at(node, model, "end")
        raise
    _ended(node, report, as_json=as_json)


def _ended(node: str, report: PullReport, *, as_json: bool) -> None:
    if report.state != "done":
        raise FetchError(f"{node} did not fetch {report.model}: {report.text or report.state}")
    if as_json:
        print_json({"node": node, **msgspec.to_builtins(report)})
        return
    print(f"{node} has {report.model}")
    typer.echo(f"Load it there: relayd load {report.model}@{node}", err=True)

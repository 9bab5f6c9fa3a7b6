"""relayd nodes: the machines that have joined this hub, and the hubs that this machine has joined."""

from typing import Annotated

import msgspec
import typer

from relayd.cli.support.bydefault import ListByDefault
from relayd.cli.support.control import daemon_client
from relayd.cli.support.output import AsJson, print_json
from relayd.cli.support.remark import remark
from relayd.cli.support.terminal import show
from relayd.clock import SystemClock
from relayd.daemon.nodereport import NodesReport
from relayd.ui.nodes import nodes_page

app = typer.Typer(
    name="nodes", cls=ListByDefault, help="Invite, drain and remove machines; alone it lists them."
)

NewNode = Annotated[str, typer.Argument(metavar="NAME", help="What you call the machine.")]
KnownNode = Annotated[str, typer.Argument(metavar="NAME", help="A node.")]


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """Show the nodes, what they serve, and the hubs of this one."""
    _show(daemon_client().nodes(), as_json=as_json)


@app.command()
def invite(
    name: NewNode,
    lasting: Annotated[
        bool, typer.Option("--lasting", help="Print a token that holds until the node is removed.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print the line to type on another machine, so that it joins.

    The invite in it counts once, for 15 minutes, and becomes a token that only the machine has. A lasting
    token is for machines that are set up by a program: `relayd join` reads it from a file or a variable.
    """
    if lasting:
        token = daemon_client().node_token(name)
        if as_json:
            print_json(msgspec.to_builtins(token))
            return
        print(token.token)
        typer.echo(f"This is the token of {name}. It is shown this once.", err=True)
        typer.echo(f"On the machine: relayd join {token.url} --token-file FILE", err=True)
        return
    report = daemon_client().invite_node(name)
    if as_json:
        print_json(msgspec.to_builtins(report))
        return
    print(f"relayd join {report.join}")
    typer.echo(f"Type this on {name} within {report.seconds / 60:.0f} minutes. It works once.", err=True)
    if report.note:
        remark(report.note)


@app.command()
def remove(name: KnownNode, as_json: AsJson = False) -> None:
    """Take a node's token back, and cut it off."""
    report = daemon_client().remove_node(name)
    if as_json:
        print_json(msgspec.to_builtins(report))
    else:
        print(f"{name} is removed")


@app.command()
def drain(name: KnownNode, as_json: AsJson = False) -> None:
    """Give a node no new requests; those that run are finished."""
    _show(daemon_client().drain_node(name, drained=True), as_json=as_json)


@app.command()
def undrain(name: KnownNode, as_json: AsJson = False) -> None:
    """Give a node requests again."""
    _show(daemon_client().drain_node(name, drained=False), as_json=as_json)


@app.command()
def wake(name: KnownNode, as_json: AsJson = False) -> None:
    """Wake a machine, and wait until it is connected; see [power]."""
    _show(daemon_client().wake_node(name), as_json=as_json)


def _show(report: NodesReport, *, as_json: bool) -> None:
    if as_json:
        print_json(msgspec.to_builtins(report))
    elif report.nodes or report.hubs or report.bus:
        show(nodes_page(report, SystemClock().wall()))
    elif report.is_hub:
        typer.echo("There is no node. Invite one: relayd nodes invite NAME")
    else:
        typer.echo("This machine has no nodes and has joined no hub. relayd serve --hub lets others join.")

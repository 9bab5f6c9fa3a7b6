"""The client of the daemon's control socket, for commands.

A demo that runs beside a service has folders of its own, so there may be two.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from relayd.client.control import Client
from relayd.folders import own_paths

SYSTEM_SOCKET = Path("/run/relayd/control.sock")
"""Where the service of the machine listens; only its user and root may ask it."""


def daemon_client() -> Client:
    """Return a client of the daemon; of the demo, or the machine's service, when only that runs."""
    return Client([own_paths().control_socket, own_paths(demo=True).control_socket, SYSTEM_SOCKET])


@contextmanager
def carried_on() -> Iterator[Client]:
    """Lend a client for work of the daemon that an interrupt of the command does not end, and say so."""
    try:
        yield daemon_client()
    except KeyboardInterrupt:
        typer.echo("The daemon carries on with it: relayd status shows how it comes out.", err=True)
        raise

"""The clients of the daemons' control sockets, for commands.

A demo that runs beside a service has folders of its own, so there may be several daemons.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import typer

from relayd.client.control import Client
from relayd.daemon.report import StatusReport
from relayd.errors import DaemonError, NoDaemonError
from relayd.folders import own_paths
from relayd.names import ReplicaName

SYSTEM_SOCKET = Path("/run/relayd/control.sock")
"""Where the service of the machine listens; only its user and root may ask it."""


class RunningDaemon(NamedTuple):
    """A daemon that runs."""

    client: Client
    report: StatusReport

    @property
    def is_demo(self) -> bool:
        """Whether it is the demo that runs beside others."""
        return bool(self.report.models) and all(model.demo for model in self.report.models)

    def serves(self, target: str) -> bool:
        """Return whether it has the model or replica of a name."""
        try:
            model = ReplicaName.parse(target).model.casefold()
        except ValueError:
            return False
        return any(model in map(str.casefold, (one.name, *one.aliases)) for one in self.report.models)


def daemon_client() -> Client:
    """Return a client of the daemon; of the demo, or the machine's service, when only that runs."""
    return Client(_sockets())


def own_client() -> Client:
    """Return a client of this user's daemon, and of no other."""
    return Client([own_paths().control_socket])


def daemon_for(target: str | None) -> Client:
    """Return a client of the daemon that serves a model or replica; where none does, of the first."""
    if target is None or len(_present()) < 2:
        return daemon_client()
    return next((one.client for one in running_daemons() if one.serves(target)), daemon_client())


def running_daemons() -> list[RunningDaemon]:
    """Return every daemon that runs and that this user may ask, the ordinary one first.

    Raises:
        NoDaemonError: None runs.
        DaemonError: One runs and does not answer.
    """
    found, refused = list[RunningDaemon](), list[DaemonError]()
    for path in _sockets():
        client = Client([path])
        try:
            found.append(RunningDaemon(client, client.status()))
        except NoDaemonError:
            continue
        except DaemonError as error:
            refused.append(error)
    if not found and refused:
        raise refused[0]
    if not found:
        daemon_client().status()  # raises the error with the way to start one
    return found


@contextmanager
def carried_on(target: str | None = None) -> Iterator[Client]:
    """Lend a client for work of the daemon that an interrupt of the command does not end, and say so.

    Args:
        target: The model or replica that is named; None for all of the first daemon.
    """
    try:
        yield daemon_for(target)
    except KeyboardInterrupt:
        typer.echo("The daemon carries on with it: relayd status shows how it comes out.", err=True)
        raise


def _sockets() -> list[Path]:
    return list(
        dict.fromkeys((own_paths().control_socket, own_paths(demo=True).control_socket, SYSTEM_SOCKET))
    )


def _present() -> list[Path]:
    return [path for path in _sockets() if path.exists()]

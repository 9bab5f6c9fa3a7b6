"""Where is the daemon that a command talks to?

A demo that runs beside a service has folders of its own, so there may be two.
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relayd.client.control import Client
    from relayd.config.paths import Paths


SYSTEM_SOCKET = Path("/run/relayd/control.sock")
"""Where the service of the machine listens; only its user and root may ask it."""


def own_paths(*, demo: bool = False) -> "Paths":
    """Return the folders of the daemon, or of the demo's own daemon."""
    import os

    from relayd.config.paths import paths, with_socket_room

    own = paths(os.environ, Path.home())
    if not demo:
        return own
    runtime = with_socket_room(own.runtime / "demo")
    return replace(
        own,
        state=own.state / "demo",
        runtime=runtime,
        control_socket=runtime / own.control_socket.name,
        lock=runtime / own.lock.name,
    )


def daemon_client() -> "Client":
    """Return a client of the daemon; of the demo, or the machine's service, when only that runs."""
    from relayd.client.control import Client

    return Client([own_paths().control_socket, own_paths(demo=True).control_socket, SYSTEM_SOCKET])

"""A daemon's place: its lock, and the sockets that clients connect to (taken before anything is planned).

From then on a client that connects waits for its answer, where it was refused before. What is imported here
is small on purpose: what plans, supervises and routes takes four times as long to import as to take a place.
"""

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from relayd.bind import BACKLOG, bound_to
from relayd.config import parse_addresses
from relayd.errors import ListenError
from relayd.folders import Paths
from relayd.lock import Lock, lock_of_daemon
from relayd.service.sockets import inherited_sockets


@dataclass(frozen=True, slots=True)
class DaemonPlace:
    """The lock and the sockets of a daemon that takes over from none.

    Attributes:
        lock: Its right to the runtime folder.
        sockets: Bound to the configured addresses.
    """

    lock: Lock
    sockets: tuple[socket.socket, ...]

    def listen(self) -> None:
        """Have the kernel accept connections, which wait until the doors are open.

        Raises:
            ListenError: Another program listens there since.
        """
        for one in self.sockets:
            try:
                one.listen(BACKLOG)
            except OSError as error:
                raise ListenError(f"cannot listen on {one.getsockname()}: {error.strerror}") from error

    def close(self) -> None:
        """Give the place up."""
        self.lock.close()
        for one in self.sockets:
            one.close()


def take_place(
    own: Paths, listen: str | Sequence[str], environ: Mapping[str, str], *, any_port: bool = False
) -> DaemonPlace:
    """Return the place of a daemon that takes over from none. Blocks.

    Args:
        own: Its folders, which exist.
        listen: The addresses of the configuration.
        environ: Variables of this process.
        any_port: Whether a port that is taken is replaced by a free one.

    Raises:
        DaemonRunningError: Another daemon holds the runtime folder.
        ListenError: An address cannot be listened on.
        StateError: The lock cannot be made.
    """
    lock = lock_of_daemon(own.lock)
    places = [(one.host, one.port) for one in parse_addresses(listen)]
    try:
        sockets = inherited_sockets(environ, places) or _bound(places, any_port=any_port)
    except BaseException:
        lock.close()
        raise
    return DaemonPlace(lock, tuple(sockets))


def _bound(places: list[tuple[str, int]], *, any_port: bool) -> list[socket.socket]:
    try:
        return bound_to(places)
    except ListenError:
        if not any_port:
            raise
        return bound_to([(places[0][0], 0)])

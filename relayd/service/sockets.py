"""Listening sockets passed by the service manager (socket activation).

The protocol is sd_listen_fds(3). Such a socket stays open while the daemon is replaced: clients that connect
meanwhile wait instead of being refused.
"""

import ipaddress
import os
import socket
from collections.abc import Mapping, Sequence

from relayd.errors import ListenError

_FIRST_DESCRIPTOR = 3


Place = tuple[str, int]
"""A configured address and port; port 0 takes any."""


def inherited_sockets(
    environ: Mapping[str, str], places: Sequence[Place], pid: int | None = None
) -> list[socket.socket]:
    """Return the sockets on the configured addresses that were opened for us, and close any other.

    Args:
        environ: Variables of this process; they are only read.
        places: What is configured.
        pid: This process.

    Raises:
        ListenError: There are some, and an address has none.
    """
    return choose(adopt(inherited_descriptors(environ, os.getpid() if pid is None else pid)), places)


def inherited_descriptors(environ: Mapping[str, str], pid: int) -> range:
    """Return the descriptors that the service manager passed to process `pid`, none of them to others."""
    number = environ.get("LISTEN_FDS", "")
    if environ.get("LISTEN_PID") != str(pid) or not (number.isascii() and number.isdigit()):
        return range(0)
    return range(_FIRST_DESCRIPTOR, _FIRST_DESCRIPTOR + int(number))


def adopt(descriptors: range) -> list[socket.socket]:
    """Return the sockets behind descriptors; no program started from here on inherits them.

    Raises:
        ListenError: One is not a socket.
    """
    adopted = []
    for descriptor in descriptors:
        try:
            os.set_inheritable(descriptor, False)
            adopted.append(socket.socket(fileno=descriptor))
        except OSError as error:
            for one in adopted:
                one.close()
            raise ListenError(
                f"descriptor {descriptor}, which the service manager passed, is not a socket: "
                f"{error.strerror}",
                remedy="Write the units again with `relayd service install`.",
            ) from error
    return adopted


def choose(sockets: list[socket.socket], places: Sequence[Place]) -> list[socket.socket]:
    """Return those that listen on the configured addresses, and close the others; none if there are none.

    Which clients the daemon accepts follows from the configured addresses, so no other one is taken.

    Args:
        sockets: What was inherited.
        places: What is configured.

    Raises:
        ListenError: There are some, and an address has none.
    """
    chosen = [next((one for one in sockets if _listens_on(one, *place)), None) for place in places]
    found = ", ".join(_shown(one) for one in sockets)
    complete = [one for one in chosen if one is not None]
    is_complete = len(complete) == len(places)
    for one in sockets:
        if one not in complete or not is_complete:
            one.close()
    if sockets and not is_complete:
        missing = ", ".join(
            f"{host} port {port}" for (host, port), one in zip(places, chosen, strict=True) if one is None
        )
        raise ListenError(
            f"the service manager listens on {found}, and server.listen is {missing}",
            remedy="Write the units again with `relayd service install`.",
        )
    return complete


def _listens_on(one: socket.socket, host: str, port: int) -> bool:
    if one.family not in (socket.AF_INET, socket.AF_INET6) or one.type != socket.SOCK_STREAM:
        return False
    if not one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return False
    name = one.getsockname()
    return _same_address(name[0], host) and port in (0, name[1])


def _same_address(one: str, other: str) -> bool:
    try:
        return ipaddress.ip_address(one) == ipaddress.ip_address(other)
    except ValueError:
        return False


def _shown(one: socket.socket) -> str:
    name = one.getsockname()
    return f"{name[0]} port {name[1]}" if isinstance(name, tuple) else f"{name!r}"

"""Sockets that a name or an address is listened on (bind): every address of it that this machine has."""

import contextlib
import errno
import socket
from collections.abc import Iterable

NOT_HERE = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})
"""What the system answers for an address that this machine does not have: `::1` where IPv6 is off."""

Target = tuple[int, int, int, str, tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]]
"""An answer of `getaddrinfo`."""


def bound(targets: Iterable[Target]) -> list[socket.socket]:
    """Return a socket for each address that this machine has, bound and not yet listening.

    A free port that the system chooses is the same for all of them.

    Raises:
        OSError: An address is taken or not allowed, or this machine has none of them.
    """
    opened: list[socket.socket] = []
    missing: OSError | None = None
    with contextlib.ExitStack() as undo:
        for family, kind, protocol, _, address in dict.fromkeys(targets):
            host, port, *rest = address
            if not port and opened:
                port = opened[0].getsockname()[1]
            try:
                opened.append(_bound(family, kind, protocol, (host, port, *rest)))
            except OSError as error:
                if error.errno not in NOT_HERE:
                    raise
                missing = error
            else:
                undo.callback(opened[-1].close)
        if missing and not opened:
            raise missing
        undo.pop_all()
    return opened


def _bound(family: int, kind: int, protocol: int, address: tuple[object, ...]) -> socket.socket:
    opened = socket.socket(family, kind, protocol)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # 0.0.0.0 has a socket of its own
        opened.bind(address)
    except OSError:
        opened.close()
        raise
    opened.setblocking(False)
    return opened

"""Sockets that a name or an address is listened on (bind): every address of it that this machine has."""

import contextlib
import errno
import socket
from collections.abc import Iterable, Sequence

import psutil

from relayd.errors import ListenError

BACKLOG = 512
"""Connections that the kernel keeps for a socket until they are accepted."""

NOT_HERE = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})
"""What the system answers for an address that this machine does not have: `::1` where IPv6 is off."""

_CAUSES = {
    errno.EACCES: ("this user may not", "choose a port above 1023"),
    errno.EADDRNOTAVAIL: (
        "no interface has that address",
        "choose an address of this machine, or 127.0.0.1",
    ),
}

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


def bound_to(places: Sequence[tuple[str, int]]) -> list[socket.socket]:
    """Return a bound socket for each address of some places; none stays open where one cannot be had. Blocks.

    Raises:
        ListenError: One cannot be listened on.
    """
    opened: list[socket.socket] = []
    for host, port in places:
        try:
            opened += bound(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except OSError as error:
            for one in opened:
                one.close()
            raise refused(host, port, error) from error
    return opened


def refused(host: str, port: int, error: OSError) -> ListenError:
    """Say why an address cannot be listened on, and what to do."""
    another = "choose another: relayd serve --listen HOST:PORT"
    if error.errno == errno.EADDRINUSE:
        holder = _holder(port)
        cause, remedy = f"{holder or 'another program'} listens there", f"stop it, or {another}"
    elif isinstance(error, socket.gaierror):
        cause, remedy = "the name has no address", f"correct the name, or {another}"
    else:
        cause, remedy = _CAUSES.get(error.errno or 0, (str(error), f"check the address, or {another}"))
    shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return ListenError(f"cannot listen on {shown}: {cause}", remedy=remedy)


def _holder(port: int) -> str:
    """Return name and pid of the program that listens on `port`, as far as this user may know."""
    with contextlib.suppress(psutil.Error, OSError):
        for one in psutil.net_connections("tcp"):
            if one.status == psutil.CONN_LISTEN and one.laddr and one.laddr.port == port and one.pid:
                return f"{psutil.Process(one.pid).name()} (pid {one.pid})"
    return ""

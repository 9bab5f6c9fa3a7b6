"""How do the doors open on an address, and close again?"""

import asyncio
import contextlib
import errno
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import psutil
from aiohttp import web

from relayd.api.connection import Census, Connection, Limits, require_c_parser
from relayd.errors import ListenError

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

_BACKLOG = 512
_CANCEL_SECONDS = 0.1
"""How long requests that outlived the drain may take to end once they are cancelled."""

_CAUSES = {
    errno.EACCES: ("this user may not", "choose a port above 1023"),
    errno.EADDRNOTAVAIL: (
        "no interface has that address",
        "choose an address of this machine, or 127.0.0.1",
    ),
}


@dataclass(frozen=True, slots=True)
class Listener:
    """Open doors; made by `listen`.

    Attributes:
        addresses: Host and port of each socket, the port as the system assigned it.
    """

    addresses: tuple[tuple[str, int], ...]
    _listening: asyncio.Server
    _server: web.Server
    _census: Census

    async def close(self, drain_seconds: float) -> None:
        """Accept no more, let requests that run finish, and cut off those that take too long.

        Args:
            drain_seconds: How long they may take.
        """
        self._listening.close()
        self._server.pre_shutdown()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(drain_seconds):
                await self._census.empty()
        await self._server.shutdown(_CANCEL_SECONDS)
        await self._listening.wait_closed()


async def listen(
    handler: Handler,
    host: str,
    port: int,
    limits: Limits | None = None,
    *,
    sock: socket.socket | None = None,
) -> Listener:
    """Open the doors.

    Args:
        handler: Answers every request.
        host: Name or address to listen on.
        port: Port, 0 for any free one.
        limits: What clients may hold open.
        sock: A socket that listens there already; the listener closes it.

    Raises:
        ListenError: The address cannot be listened on, or aiohttp lacks its C parser.
    """
    require_c_parser()
    if not 0 <= port <= 65535:
        raise ListenError(f"Cannot listen on port {port}.", remedy="Ports go from 1 to 65535.")
    limits = limits or Limits()
    loop, census = asyncio.get_running_loop(), Census(limits)
    server = web.Server(handler, handler_cancellation=True)

    def connection() -> Connection:
        return Connection(server, census, limits, loop)

    try:
        if sock is None:
            listening = await loop.create_server(connection, host, port, backlog=_BACKLOG)
        else:
            listening = await loop.create_server(connection, sock=sock, backlog=_BACKLOG)
    except OSError as error:
        raise _refused(host, port, error) from error
    names = (one.getsockname() for one in listening.sockets)
    return Listener(tuple((str(name[0]), int(name[1])) for name in names), listening, server, census)


def _refused(host: str, port: int, error: OSError) -> ListenError:
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

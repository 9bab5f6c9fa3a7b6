"""How do the doors open on an address, drain and close again?"""

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from relayd.api.deadlines import Deadlines
from relayd.api.door import Door
from relayd.api.gate import aiohttp_server, require_c_parser
from relayd.api.lane import LINGERING_SECONDS, Lane
from relayd.api.lanes import Lanes
from relayd.api.limiter import ConnectionLimiter, ConnectionLimits
from relayd.api.served import AiohttpHandler
from relayd.api.tls import Handshakes
from relayd.bind import BACKLOG, bound_to, refused
from relayd.clock import SystemClock
from relayd.errors import ListenError
from relayd.router import Dialect

_INTERRUPT_SECONDS = 1.0
"""How long requests that outlived the drain may take to write why they end."""

_LOOK_SECONDS = 1.0
_FLUSH_SECONDS = 10.0
"""How long clients may take what was written to them, and how often it is looked whether they do."""

_CANCEL_SECONDS = 0.1
"""How long what is left may take to end once it is cancelled."""


@dataclass(frozen=True, slots=True)
class Listener:
    """Open doors; made by `listen`.

    Attributes:
        addresses: Host and port of each socket, the port as the system assigned it.
    """

    addresses: tuple[tuple[str, int], ...]
    _listening: tuple[asyncio.Server, ...]
    _lanes: Lanes

    def descriptors(self) -> list[int]:
        """Return the listening sockets; another process that gets copies can go on with them."""
        return [one.fileno() for server in self._listening for one in server.sockets]

    def stop_listening(self) -> None:
        """Stop accepting, and end lasting answers: the drain begins.

        Connections that are not accepted yet stay in the backlog while another process holds the socket.
        """
        for server in self._listening:
            server.close()
        self._lanes.limiter.end_lasting()

    def detach_idle(self) -> Iterator[int]:
        """Yield the descriptors of all connections that no request uses, each now the caller's."""
        for lane in tuple(self._lanes.open):
            if (descriptor := lane.detach()) is not None:
                yield descriptor

    async def attach(self, descriptor: int) -> None:
        """Serve a connection that another process has detached, which is not encrypted."""
        if self._lanes.handshakes is not None:
            os.close(descriptor)
            return
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):  # its client has left meanwhile
            kept = partial(Lane, self._lanes, kept=True)
            await loop.connect_accepted_socket(kept, socket.socket(fileno=descriptor))

    async def drained(self, seconds: float) -> bool:
        """Wait until no connection is open but for lasting answers, and return whether that is so."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._lanes.limiter.drained()
                return True
        return False

    async def _taken(self) -> None:
        """Wait as long as slow clients take what was written to them, the reason of the end included."""
        before, until = -1, asyncio.get_running_loop().time() + _FLUSH_SECONDS
        while (left := self._lanes.unsent_bytes) not in (0, before):
            if await self.drained(_LOOK_SECONDS) or asyncio.get_running_loop().time() > until:
                return
            before = left

    async def close(self, drain_seconds: float, interrupt: Callable[[], None] = lambda: None) -> None:
        """Stop accepting, let running requests finish, and end those that take too long.

        Args:
            drain_seconds: How long they may take.
            interrupt: Has those that took longer answer their clients why they end.
        """
        self.stop_listening()
        self._lanes.close()
        if not await self.drained(drain_seconds):
            interrupt()
            await self.drained(_INTERRUPT_SECONDS)
            await self._taken()
        self._lanes.abort()
        await self._lanes.server.shutdown(_CANCEL_SECONDS)
        await self.drained(_CANCEL_SECONDS)
        for server in self._listening:
            await server.wait_closed()


async def listen(  # noqa: PLR0913 - what is listened on, who answers, and how connections are kept
    handler: AiohttpHandler,
    host: str,
    port: int,
    limits: ConnectionLimits | None = None,
    *,
    dialect: Dialect,
    socks: Sequence[socket.socket] = (),
    further: Sequence[tuple[str, int]] = (),
    door: Callable[[], Door] | None = None,
    tls: ssl.SSLContext | None = None,
) -> Listener:
    """Open the doors.

    Args:
        handler: Answers every request that the lane does not.
        host: Name or address to listen on.
        port: Port, 0 for any free one.
        limits: What clients may hold open.
        dialect: How errors are written to requests that never reach the handler.
        socks: Sockets that listen there already; the listener closes them.
        further: More names or addresses to listen on, each with its port.
        door: Who lets requests in that the lane answers itself; None leaves them to the handler.
        tls: Encrypts connections; None leaves them as they are.

    Raises:
        ListenError: The address cannot be listened on, or aiohttp lacks its C parser.
    """

    def is_proxy(peer: str) -> bool:
        return door is not None and door().proxies.trusts(peer)

    require_c_parser()
    if not 0 <= port <= 65535:
        raise ListenError(f"Cannot listen on port {port}.", remedy="Ports go from 1 to 65535.")
    limits = limits or ConnectionLimits()
    loop = asyncio.get_running_loop()
    server = aiohttp_server(handler, lingering_seconds=LINGERING_SECONDS)
    lanes = Lanes(
        limits,
        ConnectionLimiter(limits, is_proxy),
        Deadlines(loop),
        server,
        dialect,
        SystemClock(),
        door,
        Handshakes(tls, limits.header_seconds) if tls else None,
    )
    connection = partial(Lane, lanes)
    own = socks or await asyncio.to_thread(bound_to, [(host, port), *further])
    try:
        opened = [await loop.create_server(connection, sock=one, backlog=BACKLOG) for one in own]
    except OSError as error:
        raise refused(host, port, error) from error
    names = (one.getsockname() for listening in opened for one in listening.sockets)
    addresses = tuple((str(name[0]), int(name[1])) for name in names)
    return Listener(addresses, tuple(opened), lanes)

"""How do hubs and nodes find each other on the bus, and make connections over it?

A hub shows every few seconds that it is there, and takes a connection whose first piece comes. A node dials
each hub that is there, except those that it reaches directly.
"""

import asyncio
import secrets
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

from relayd.clock import Clock
from relayd.errors import LinkError
from relayd.journal import Journal
from relayd.remote.bus.connection import BusConnection, Subscribed
from relayd.remote.bus.credentials import BusCredentials
from relayd.remote.bus.pieces import closing, is_end, is_first
from relayd.remote.bus.socket import BusSocket
from relayd.remote.bus.subjects import SCHEME, down, last_parts, presence, up
from relayd.remote.channel import Socket
from relayd.remote.messages import HEARTBEAT_SECONDS, SILENT_BEATS
from relayd.remote.node import DialledHub

Serve = Callable[[Socket, str, str], Coroutine[Any, Any, None]]
"""Carries the link of a node over a connection until that ends: its name, and where it comes from."""

_LOST = LinkError("the bus is away")


class _Sockets:
    """Connections over the bus that are open, by the subject of their pieces."""

    def __init__(self) -> None:
        self._open: dict[str, BusSocket] = {}

    def __len__(self) -> int:
        return len(self._open)

    def make(self, subject: str, publish: Callable[[bytes], Coroutine[Any, Any, None]]) -> BusSocket:
        made = self._open[subject] = BusSocket(publish, lambda: self._forget(subject))
        return made

    def _forget(self, subject: str) -> None:
        self._open.pop(subject, None)

    def find(self, subject: str) -> BusSocket | None:
        return self._open.get(subject)

    def lose_all(self) -> None:
        for one in tuple(self._open.values()):
            one.lose(_LOST)


class BusHub:
    """This hub on the bus.

    Args:
        url: Of the bus.
        credentials: Of this hub.
        serve: Carries the link of a node.
        beat_seconds: How often it is shown that this hub is there.
    """

    def __init__(
        self, url: str, credentials: BusCredentials, serve: Serve, beat_seconds: float = HEARTBEAT_SECONDS
    ) -> None:
        self._name, self._serve, self._beat_seconds = credentials.name, serve, beat_seconds
        self._instance = secrets.token_hex(4)
        self._is_shown = True
        self._sockets = _Sockets()
        self._links: set[asyncio.Task[None]] = set()
        taken = (Subscribed(up("*", self._name, "*"), self._take),)
        self.bus = BusConnection(url, credentials, taken, self._sockets.lose_all)

    def __repr__(self) -> str:
        return f"<BusHub {self._name} connections={len(self._sockets)} {self.bus!r}>"

    async def run(self) -> None:
        """Take connections until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.bus.run())
            tasks.create_task(self._show())

    def go_away(self) -> None:
        """Get no new connections: this daemon ends, or another has taken over."""
        self._is_shown = False

    async def _show(self) -> None:
        while self._is_shown:
            await self.bus.connected()
            await _quietly(self.bus.publish(presence(self._name), self._instance.encode()))
            await self.bus.broken(self._beat_seconds)  # and at once when it is back

    def _take(self, subject: str, piece: bytes) -> None:
        node, _, session = last_parts(subject)
        if not session.startswith(self._instance):
            return  # another daemon of this hub, which ends or has ended, or one that takes over
        socket = self._sockets.find(subject)
        back = partial(self.bus.publish, down(node, self._name, session))
        if socket is None and is_first(piece):
            socket = self._sockets.make(subject, back)
            self._aside(self._serve(socket, node, "the bus"))
        if socket is not None:
            socket.take(piece)
        elif not is_end(piece):
            self._aside(_quietly(back(closing("this hub has no such connection", 0))))

    def _aside(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._links.add(task)
        task.add_done_callback(self._links.discard)


class BusNode:
    """This node on the bus.

    Args:
        url: Of the bus.
        credentials: Of this node.
        clock: Time.
        on_hubs: Called when a hub came that was not there before.
        beat_seconds: How often hubs show themselves.
    """

    def __init__(
        self,
        url: str,
        credentials: BusCredentials,
        clock: Clock,
        on_hubs: Callable[[], None],
        beat_seconds: float = HEARTBEAT_SECONDS,
    ) -> None:
        self._name, self._clock, self._on_hubs = credentials.name, clock, on_hubs
        self._silent_seconds = SILENT_BEATS * beat_seconds
        self._sockets = _Sockets()
        self._shown: dict[str, tuple[str, float]] = {}
        self._came = asyncio.Event()
        taken = (
            Subscribed(down(self._name, "*", "*"), self._take),
            Subscribed(presence("*"), self._note),
        )
        self.bus = BusConnection(url, credentials, taken, self._lose)

    def __repr__(self) -> str:
        return f"<BusNode {self._name} connections={len(self._sockets)} {self.bus!r}>"

    def __iter__(self) -> Iterator[str]:
        """Yield the hubs that were ever there, as addresses."""
        return iter(tuple(f"{SCHEME}{hub}" for hub in self._shown))

    async def dial(self, stack: AsyncExitStack, entry: DialledHub) -> Socket:
        """Connect to a hub as soon as it is there; the connection is closed with the stack."""
        hub = entry.url.removeprefix(SCHEME)
        while not (instance := self._instance_of(hub)):
            self._came.clear()
            await self._came.wait()
        await self.bus.connected()
        session = f"{instance}-{secrets.token_hex(8)}"
        socket = self._sockets.make(
            down(self._name, hub, session), partial(self.bus.publish, up(self._name, hub, session))
        )
        stack.push_async_callback(_closed, socket)
        return socket

    def _instance_of(self, hub: str) -> str:
        """Return which daemon of a hub is there; empty where none has been for a while."""
        instance, at = self._shown.get(hub, ("", 0.0))
        return instance if self._clock.monotonic() - at < self._silent_seconds else ""

    def _lose(self) -> None:
        """Take note that the bus is away: a hub may be dialled once it has shown itself again."""
        self._shown = dict.fromkeys(self._shown, ("", 0.0))
        self._sockets.lose_all()

    def _take(self, subject: str, piece: bytes) -> None:
        if (socket := self._sockets.find(subject)) is not None:
            socket.take(piece)

    def _note(self, subject: str, instance: bytes) -> None:
        hub = subject.rsplit(".", 1)[-1]
        is_new = hub not in self._shown
        self._shown[hub] = instance.decode("ascii", "replace"), self._clock.monotonic()
        self._came.set()
        if is_new:
            self._on_hubs()


async def _closed(socket: BusSocket) -> None:
    await _quietly(socket.close())


async def _quietly(work: Coroutine[Any, Any, object]) -> None:
    """Do what has no effect where there is no bus."""
    try:
        await work
    except ConnectionError as error:
        Journal("remote").debug("bus.failed", reason=str(error))

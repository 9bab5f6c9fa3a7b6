"""Which hubs is this machine a node of: those that it has joined, and those on a bus?"""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Protocol

from relayd.clock import Clock
from relayd.daemon.nodereport import JoinedHubReport
from relayd.errors import NotFoundError
from relayd.journal import Journal
from relayd.remote.blocks import Blocks
from relayd.remote.bus.subjects import SCHEME
from relayd.remote.channel import Socket
from relayd.remote.dial import dial_hub
from relayd.remote.hublink import NodeFacts
from relayd.remote.node import DialledHub, HubConnection
from relayd.router import Pools
from relayd.store.hubs import JoinedHub, JoinedHubs


class BusHubs(Protocol):
    """The hubs that are on the bus."""

    def __iter__(self) -> Iterator[str]:
        """Yield their addresses, `bus://NAME`."""
        ...

    async def dial(self, stack: AsyncExitStack, entry: DialledHub) -> Socket:
        """Connect to one as soon as it is there."""
        ...


class Membership:
    """The hubs that this machine is a node of.

    Args:
        state: The state folder.
        pools: Connections to the replicas.
        clock: Time.
    """

    def __init__(self, state: Path, pools: Pools, clock: Clock) -> None:
        self._store = JoinedHubs(state)
        self._pools, self._clock = pools, clock
        self._running: dict[str, tuple[JoinedHub, HubConnection, asyncio.Task[None]]] = {}
        self._facts: NodeFacts | None = None
        self._most_bytes = 0
        self._bus: tuple[str, BusHubs] | None = None
        self._following, self._looks = asyncio.Lock(), set[asyncio.Task[None]]()
        self._journal = Journal("daemon")

    def __repr__(self) -> str:
        return f"<Membership hubs={len(self._running)}>"

    async def begin(self, facts: NodeFacts, most_bytes: int) -> None:
        """Dial every hub, from now on."""
        self._facts, self._most_bytes = facts, most_bytes
        await self.follow()

    def reach(self, name: str, bus: "BusHubs") -> None:
        """Dial the hubs of a bus too, as far as this machine does not reach them directly."""
        self._bus = name, bus

    def follow_soon(self) -> None:
        """Look again which hubs are to be dialled; returns at once."""
        task = asyncio.get_running_loop().create_task(self.follow())
        self._looks.add(task)
        task.add_done_callback(self._looks.discard)

    async def follow(self) -> None:
        """Dial the hubs that are in the file now, and on the bus, and leave those that are not any more."""
        async with self._following:
            await self._follow()

    async def _follow(self) -> None:
        if self._facts is None:
            return
        wanted = {hub.url: hub for hub in await asyncio.to_thread(self._store.read)}
        if self._bus is not None:
            direct = {f"{SCHEME}{one.hub}" for url, (_, one, _) in self._running.items() if url in wanted}
            wanted |= {url: JoinedHub(url, "", self._bus[0]) for url in self._bus[1] if url not in direct}
        for url, (hub, _, task) in tuple(self._running.items()):
            if wanted.get(url) != hub:
                del self._running[url]
                await _ended(task)
        for url, hub in wanted.items():
            if url not in self._running:
                entry = DialledHub(url, hub.secret, hub.provider)
                is_direct = not url.startswith(SCHEME)
                made = HubConnection(
                    entry,
                    dial_hub if is_direct or self._bus is None else self._bus[1].dial,
                    self._facts,
                    self._pools,
                    self._clock,
                    most_bytes=self._most_bytes,
                    on_connected=self.follow_soon if is_direct else lambda: None,
                )
                self._running[url] = hub, made, asyncio.create_task(made.run())

    async def join(self, hub: JoinedHub) -> None:
        """Be a node of a hub from now on.

        Raises:
            StateError: It cannot be written down.
        """
        await asyncio.to_thread(self._store.add, hub)
        self._journal.info("hub.joined", hub=hub.url, node=hub.node)
        await self.follow()

    def report(self) -> tuple[JoinedHubReport, ...]:
        """Return the hubs, and how this machine stands with each."""
        return tuple(
            JoinedHubReport(url, one.node or hub.node, one.state, one.since, hub.provider)
            for url, (hub, one, _) in self._running.items()
        )

    async def leave(self, url: str) -> None:
        """Leave a hub.

        Raises:
            NotFoundError: It is none.
            StateError: It cannot be written.
        """
        if not await asyncio.to_thread(self._store.remove, url):
            known = ", ".join(self._running) or "none"
            raise NotFoundError(
                f"This machine has not joined {url[:200]!r}.", remedy=f"It has joined: {known}."
            )
        await self.follow()

    def blocks(self) -> list[Blocks]:
        """Return what asks each hub that is connected for files."""
        return [blocks for _, one, _ in self._running.values() if (blocks := one.blocks) is not None]

    def go_away(self) -> None:
        """Take no new requests of hubs: this daemon ends, or another has taken over."""
        for _, one, _ in self._running.values():
            one.go_away("this daemon ends")

    async def finished(self, seconds: float) -> None:
        """After `go_away`, return when no request of a hub is left, or so many seconds later."""
        if tasks := {task for _, one, task in self._running.values() if one.streams}:
            await asyncio.wait(tasks, timeout=seconds)

    async def close(self) -> None:
        """Leave every hub for now; their requests here are cancelled."""
        for _, _, task in self._running.values():
            await _ended(task)
        self._running.clear()


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

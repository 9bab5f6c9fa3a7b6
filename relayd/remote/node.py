"""How does this machine stay a node of its hubs: dial, serve, state what it has, dial again (node)?

Each hub has a connection of its own, and none knows of the others. A connection that breaks is made again at
once, and the link goes on where it was; a hub that cannot be reached, or refuses, is dialled with growing
delay, and the journal and `relayd status` say so. Clients of this machine notice nothing of it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from random import Random

from relayd import __version__
from relayd.clock import Clock
from relayd.errors import HubRefusedError, RelaydError
from relayd.journal import Journal
from relayd.remote.blocks import Blocks
from relayd.remote.channel import Socket
from relayd.remote.greeting import greet
from relayd.remote.hublink import HubLink, NodeFacts
from relayd.remote.messages import (
    LinkHello,
    LinkWelcome,
)
from relayd.router import Pools
from relayd.secret import Secret

FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS = 0.5, 60.0
"""How long a node waits before it dials again: after the first failure, and after many."""


@dataclass(frozen=True, slots=True)
class DialledHub:
    """A hub that this machine is a node of.

    Attributes:
        url: `wss://HOST[:PORT]`, or `ws://` in a network that is trusted.
        token: What the hub knows this node by.
        label: What the operator calls the owner or place of this machine (`provider`).
    """

    url: str
    token: Secret
    label: str = ""


Dial = Callable[[AsyncExitStack, DialledHub], Awaitable[Socket]]
"""Connects to a hub; what it opens is closed with the stack. Raises LinkError or HubRefusedError."""


class HubConnection:
    """One hub of this node.

    Args:
        entry: Which hub.
        dial: Connects to it.
        facts: What it gets to know.
        pools: Connections to the replicas.
        clock: Time.
        most_bytes: The longest body of a request.
        random: Spreads the delays of many nodes.
        on_connected: Called whenever a connection stands.

    Attributes:
        node: What the hub calls this node; empty before the first connection.
        hub: What the hub is called on the bus, likewise.
        state: `connected`, `connecting`, or why it is not.
        since: When it came into its state (wall-clock seconds).
    """

    def __init__(
        self,
        entry: DialledHub,
        dial: Dial,
        facts: NodeFacts,
        pools: Pools,
        clock: Clock,
        *,
        most_bytes: int,
        random: Random | None = None,
        on_connected: Callable[[], None] = lambda: None,
    ) -> None:
        self.entry = entry
        self._dial, self._facts, self._pools, self._clock = dial, facts, pools, clock
        self._most_bytes = most_bytes
        self._random = random or Random()  # noqa: S311 - it spreads delays
        self.node, self.state, self.since = "", "connecting", clock.wall()
        self.hub, self._on_connected = "", on_connected
        self._current: HubLink | None = None
        self._aside: set[asyncio.Task[None]] = set()
        self._is_leaving = False
        self._failures = 0
        self._journal = Journal("remote")

    def __repr__(self) -> str:
        return f"<HubConnection to {self.entry.url}: {self.state}>"

    async def run(self) -> None:
        """Stay connected until cancelled."""
        try:
            while not self._is_leaving:
                reason = await self._once()
                self._note(reason)
                if self._current is not None:
                    self._current.expire_later()
                if not self._is_leaving:
                    await asyncio.sleep(self._delay())
            await asyncio.gather(*self._aside, return_exceptions=True)
        finally:
            for task in self._aside:
                task.cancel()
            if self._current is not None:
                self._current.lose()

    def go_away(self, reason: str) -> None:
        """Take no new requests, and dial no more: this daemon ends, or another has taken over."""
        self._is_leaving = True
        if self._current is not None:
            self._current.go_away(reason)

    @property
    def blocks(self) -> Blocks | None:
        """What asks the hub for files of other machines; None where it cannot be asked now."""
        link = self._current
        return link.blocks if link is not None and self.state == "connected" and link.brings_files else None

    @property
    def streams(self) -> int:
        """Requests that this machine works on for the hub."""
        return len(self._aside) + (self._current.streams if self._current is not None else 0)

    async def _once(self) -> str:
        """Be connected once, and return why that has ended."""
        async with AsyncExitStack() as stack:
            try:
                socket = await self._dial(stack, self.entry)
                kept = self._current if self._current is not None and self._current.is_kept else None
                welcome = await greet(socket, kept.hello() if kept else self._hello())
                link = self._go_on(kept, welcome)
            except RelaydError as error:
                self._failures += 1
                return error.message
            self._failures = 0
            self._connected(welcome)
            carrying = asyncio.create_task(link.carry(socket))
            stack.push_async_callback(_ended, carrying)
            going = asyncio.create_task(link.going.wait())
            stack.callback(going.cancel)
            await asyncio.wait({carrying, going}, return_when=asyncio.FIRST_COMPLETED)
            if carrying.done():
                return carrying.result()
            self._current = None
            aside = asyncio.create_task(self._finish(link, carrying, stack.pop_all()))
            self._aside.add(aside)
            aside.add_done_callback(self._aside.discard)
            return f"the hub goes: {link.goaway.reason}"

    async def _finish(self, link: HubLink, carrying: "asyncio.Task[str]", stack: AsyncExitStack) -> None:
        """Let the requests of a link come to their end whose hub takes no new ones."""
        async with stack:
            await link.finished(carrying)
            link.lose()

    def _hello(self) -> LinkHello:
        return LinkHello(relayd=__version__, label=self.entry.label)

    def _go_on(self, kept: HubLink | None, welcome: LinkWelcome) -> HubLink:
        """Return the link over the new connection: the one that broke, or another."""
        if kept is not None and welcome.points is not None:
            kept.attach(welcome)
            return kept
        if self._current is not None:
            self._current.lose()
        slots = self._facts.slots_for(self.entry.url)
        self._current = made = HubLink(self._facts, slots, self._pools, self._clock, self._most_bytes)
        made.label = self.entry.label
        made.attach(welcome)
        return made

    def _connected(self, welcome: LinkWelcome) -> None:
        self.node, self.state, self.since = welcome.node, "connected", self._clock.wall()
        self.hub = welcome.hub
        self._journal.info("hub.connected", hub=self.entry.url, node=welcome.node)
        self._on_connected()

    def _note(self, reason: str) -> None:
        if self.state != reason:
            self.state, self.since = reason, self._clock.wall()
            self._journal.warning("hub.disconnected", hub=self.entry.url, reason=reason)

    def _delay(self) -> float:
        """Return how long to wait before the next attempt (seconds)."""
        longest = min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2 ** min(self._failures, 16))
        return longest * self._random.uniform(0.5, 1.0) if self._failures else 0.1 * self._random.random()


async def _ended(carrying: "asyncio.Task[str]") -> None:
    """Detach a link from its connection."""
    carrying.cancel()
    await asyncio.gather(carrying, return_exceptions=True)


def refused(status: int, url: str) -> HubRefusedError:
    """Return why a hub answered a handshake with an HTTP status."""
    if status in (401, 403):
        return HubRefusedError(
            f"{url} refuses this node's token ({status})",
            remedy="Have the hub invite it anew: `relayd nodes invite NAME` there, the printed line here.",
        )
    if status == 429:
        return HubRefusedError(f"{url} has seen too many wrong tokens from this address (429)")
    if status == 404:
        return HubRefusedError(
            f"{url} lets no nodes join (404)",
            remedy="Start it with `relayd serve --hub`, or set [hub] enabled = true.",
        )
    return HubRefusedError(f"{url} answers {status} instead of a connection")

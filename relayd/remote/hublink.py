"""What does this machine do for one hub, over one connection after another: serve, report, carry out?"""

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import Any, Protocol

import msgspec

from relayd import __version__
from relayd.clock import Clock
from relayd.errors import LinkError, RelaydError
from relayd.remote.blocks import Blocks, block_frame
from relayd.remote.channel import LinkChannel, Socket
from relayd.remote.frames import DocumentFrame, FrameKind
from relayd.remote.link import Link, LinkEvent
from relayd.remote.messages import (
    BlockWanted,
    Goaway,
    Inventory,
    LinkHello,
    LinkWelcome,
    NodeCommand,
    NodeReply,
    Occupancy,
    document_of,
    framed,
)
from relayd.remote.serving import NodeServing, Slots
from relayd.router import Pools

LOOK_SECONDS = 0.1
"""How often is it looked whether others have taken or left slots."""

INVENTORY_SECONDS = 2.0
"""How often is it looked whether what the node serves has changed."""


class NodeSlots(Slots, Protocol):
    """Grants slots to one hub."""

    def elsewhere(self) -> dict[str, int]:
        """Return the slots of each replica that others than this hub use."""
        ...


class NodeFacts(Protocol):
    """What hubs get to know of this machine, and what they may have it do."""

    def inventory(self) -> Inventory:
        """Return what it is and serves."""
        ...

    def slots_for(self, hub: str) -> NodeSlots:
        """Return what grants slots to a hub."""
        ...

    def read_block(self, sha256: str, at: int, size: int) -> Awaitable[bytes]:
        """Return bytes of a model file that hubs may have; empty where it is not here."""
        ...

    def carry_out(self, command: NodeCommand) -> Awaitable[object]:
        """Carry out a command of a hub, and return its answer, which has one JSON form.

        Raises:
            RelaydError: It cannot be carried out.
        """
        ...


class HubLink:
    """The link to one hub, over one connection after the other.

    Attributes:
        blocks: Of files that this machine asks for.
        is_kept: It can go on over another connection.
        label: As the hub entry has it.
        going: The hub takes no new requests.
        goaway: Why, and how long those that run have.
    """

    def __init__(
        self, facts: NodeFacts, slots: NodeSlots, pools: Pools, clock: Clock, most_bytes: int
    ) -> None:
        self._facts, self._slots, self._clock = facts, slots, clock
        self._link = Link(is_hub=False)
        self._serving = NodeServing(self._link, slots, pools, most_bytes)
        self._welcome = LinkWelcome(0, "", "")
        self._expiry: asyncio.TimerHandle | None = None
        self._inventory: Inventory | None = None
        self._occupied: dict[str, int] = {}
        self._commands: set[asyncio.Task[None]] = set()
        self.blocks = Blocks(self._link)
        self.is_kept = True
        self.label = ""
        self.going, self.goaway = asyncio.Event(), Goaway("")

    def __repr__(self) -> str:
        return f"<HubLink {self._serving!r}>"

    def hello(self) -> LinkHello:
        """Return how a connection begins over which this link goes on."""
        return LinkHello(
            relayd=__version__, label=self.label, link=self._welcome.link, points=self._link.points()
        )

    def attach(self, welcome: LinkWelcome) -> None:
        """Go on over a new connection.

        Raises:
            LinkError: The hub states what cannot be.
        """
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        self._welcome = welcome
        try:
            self._serving.lose(self._link.attach(welcome.points))
        except LinkError:
            self.lose()
            raise
        self._inventory, self._occupied = None, {}

    async def carry(self, socket: Socket) -> str:
        """Serve over a connection until it breaks, and return why it did."""
        channel = LinkChannel(
            self._link, socket, self._take, self._clock, beat_seconds=self._welcome.heartbeat_seconds
        )
        reports = asyncio.create_task(self._report())
        try:
            return await channel.run()
        finally:
            reports.cancel()

    @property
    def brings_files(self) -> bool:
        """Whether the hub passes model files on."""
        return self._welcome.files

    @property
    def streams(self) -> int:
        """Requests that this machine works on for the hub."""
        return len(self._serving)

    def go_away(self, reason: str) -> None:
        """Take no new requests; the connection ends with the last one that runs."""
        self._serving.draining = True
        self._link.send(framed(Goaway(reason)))
        self.going.set()

    def expire_later(self) -> None:
        """Keep the requests of a broken connection for a while."""
        if self.is_kept and self._expiry is None:
            loop = asyncio.get_running_loop()
            self._expiry = loop.call_later(self._welcome.resume_seconds, self.lose)

    async def finished(self, carrying: "asyncio.Task[str]") -> None:
        """Return when no request is left, the hub's time for them is over, or the connection has broken."""
        deadline = None if self.goaway.seconds is None else self._clock.monotonic() + self.goaway.seconds
        while len(self._serving) and not carrying.done():
            if deadline is not None and self._clock.monotonic() >= deadline:
                return
            await asyncio.wait({carrying}, timeout=LOOK_SECONDS)

    def lose(self) -> None:
        """Cancel every request: the link will not go on."""
        self.is_kept = False
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        self._serving.lose_all()
        self.blocks.lose()

    def _take(self, event: LinkEvent) -> None:
        if not isinstance(event, DocumentFrame):
            self._serving.take(event)
            self.state_occupancy()
        elif event.kind is FrameKind.COMMAND:
            command = document_of(event)
            assert isinstance(command, NodeCommand)  # noqa: S101 - for the type checker
            self._aside(self._carry_out(command))
        elif event.kind is FrameKind.WANTED:
            wanted = document_of(event)
            assert isinstance(wanted, BlockWanted)  # noqa: S101 - for the type checker
            self._aside(self._send_block(wanted))
        elif event.kind is FrameKind.BLOCK:
            self.blocks.take(event)
        elif event.kind is FrameKind.GOAWAY:
            going = document_of(event)
            assert isinstance(going, Goaway)  # noqa: S101 - for the type checker
            self.goaway = going
            self.going.set()

    def _aside(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._commands.add(task)
        task.add_done_callback(self._commands.discard)

    async def _send_block(self, wanted: BlockWanted) -> None:
        block = await self._facts.read_block(wanted.sha256, wanted.at, wanted.bytes)
        self._link.send(block_frame(wanted.id, block))

    async def _carry_out(self, command: NodeCommand) -> None:
        try:
            answer = await self._facts.carry_out(command)
        except RelaydError as error:
            reply = NodeReply(command.id, code=error.code, message=error.message)
        else:
            reply = NodeReply(command.id, msgspec.Raw(msgspec.json.encode(answer)))
        self.state_inventory()
        self._link.send(framed(reply))

    async def _report(self) -> None:
        """State what this machine serves, and which slots others use, whenever that has changed."""
        next_inventory = 0.0
        while True:
            now = self._clock.monotonic()
            if now >= next_inventory:
                next_inventory = now + INVENTORY_SECONDS
                self.state_inventory()
            self.state_occupancy()
            await asyncio.sleep(LOOK_SECONDS)

    def state_inventory(self) -> None:
        """State what this machine serves, if that has changed."""
        inventory = self._facts.inventory()
        self._serving.draining = self._serving.draining or inventory.draining
        if inventory != self._inventory:
            self._inventory = inventory
            self._link.send(framed(inventory))

    def state_occupancy(self) -> None:
        """State which slots others than the hub use, if that has changed."""
        occupied = self._slots.elsewhere()
        if occupied != self._occupied:
            self._occupied = occupied
            self._link.send(framed(Occupancy(occupied)))

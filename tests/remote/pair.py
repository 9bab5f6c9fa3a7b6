"""A hub and a node in one process, over a real WebSocket, with a scripted replica behind the node."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

from aiohttp import web

from relayd.clock import SystemClock
from relayd.endpoint import Endpoint
from relayd.errors import SlotTakenError
from relayd.remote.capacity import OfferState, Remotes
from relayd.remote.dial import CONNECT, dial_hub
from relayd.remote.frames import MESSAGE_BYTES
from relayd.remote.hub import NodeHub
from relayd.remote.messages import Inventory, NodeCommand, ServedReplica, StreamOpening
from relayd.remote.node import DialledHub, HubConnection
from relayd.remote.request import LinkRequest
from relayd.remote.serving import NodeAnswer
from relayd.router import Pools
from relayd.scheduler import Event
from relayd.secret import Secret
from tests.fakes.replica import FakeReplica

NODE = "box"
MOST_BYTES = 1 << 20


@dataclass
class Counted:
    """A slot that was claimed."""

    endpoint: Endpoint
    free: Callable[[], None]
    held: bool = False

    def hold(self) -> Callable[[], None]:
        self.held = True
        return self.free

    def note(self, answer: NodeAnswer) -> None: ...

    def release(self, error: BaseException | None = None) -> None:
        if not self.held:
            self.free()


@dataclass
class Machine:
    """What a node's daemon is to its hubs, with a number of slots.

    Attributes:
        fake: Its only replica.
        slots: How many it has.
        others: Slots that others use.
        taken: Slots that are claimed.
        most: How many were at the same time.
        asked: Commands that came.
        claims: How often a slot was asked for.
    """

    fake: FakeReplica
    slots: int = 2
    others: int = 0
    taken: int = 0
    most: int = 0
    claims: int = 0
    asked: list[NodeCommand] = field(default_factory=list)
    draining: bool = False
    files: dict[str, bytes] = field(default_factory=dict)

    def inventory(self) -> Inventory:
        served = ServedReplica("m#0", "m", self.fake.endpoint.incarnation, self.slots)
        return Inventory(
            "1.0", "linux x86_64", replicas=(served,), draining=self.draining, files=tuple(self.files)
        )

    def slots_for(self, _hub: str) -> "Machine":
        return self

    async def read_block(self, sha256: str, at: int, size: int) -> bytes:
        return self.files.get(sha256, b"")[at : at + size]

    async def carry_out(self, command: NodeCommand) -> object:
        self.asked.append(command)
        return {"loaded": command.target}

    def elsewhere(self) -> dict[str, int]:
        return {"m#0": self.others} if self.others else {}

    async def claim(self, opening: StreamOpening, request: LinkRequest) -> Counted:
        self.claims += 1
        if opening.incarnation != self.fake.endpoint.incarnation:
            raise LookupError("another incarnation")
        if request.is_beside:
            return Counted(self.fake.endpoint, lambda: None)
        if self.taken + self.others + request.width > self.slots:
            raise SlotTakenError("no free slot")
        self.taken += request.width
        self.most = max(self.most, self.taken)
        return Counted(self.fake.endpoint, partial(self._give_back, request.width))

    def _give_back(self, width: int) -> None:
        self.taken -= width


@dataclass
class Pair:
    """A hub and a node that is connected to it.

    Attributes:
        events: What the hub's scheduler got.
        sockets: The hub's end of each connection.
    """

    hub: NodeHub
    remotes: Remotes
    node: HubConnection
    machine: Machine
    pools: Pools
    events: list[Event]
    sockets: list[web.WebSocketResponse]
    task: asyncio.Task[None]

    @property
    def endpoint(self) -> Endpoint:
        """Where the hub's router reaches the replica of the node."""
        (offer,) = self.remotes
        return offer.endpoint

    @property
    def is_ready(self) -> bool:
        return any(offer.state is OfferState.READY for offer in self.remotes)

    def cut(self) -> None:
        """Cut the connection that is open, as a network does."""
        transport = self.sockets[-1]._req.transport if self.sockets[-1]._req else None
        if transport is not None:
            transport.abort()


@asynccontextmanager
async def paired(
    machine: Machine,
    *,
    resume_seconds: float = 5.0,
    through: Callable[[int], str] = "ws://127.0.0.1:{}".format,
) -> AsyncIterator[Pair]:
    """Return a hub and a node that are about to be connected.

    Args:
        machine: What the node is.
        resume_seconds: How long the hub keeps the streams of a broken link.
        through: Returns where the node dials, given the port of the hub.
    """
    events: list[Event] = []
    remotes = Remotes(events.append, lambda _: None)
    hub = NodeHub(remotes, SystemClock(), resume_seconds=resume_seconds, beat_seconds=0.2)
    sockets: list[web.WebSocketResponse] = []

    async def connect(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False, max_msg_size=MESSAGE_BYTES)
        await socket.prepare(request)
        sockets.append(socket)
        await hub.serve(socket, NODE, "127.0.0.1")
        return socket

    app = web.Application()
    app.router.add_get(CONNECT, connect)
    async with AsyncExitStack() as stack:
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        pools, clock = Pools(), SystemClock()
        stack.callback(pools.close)
        entry = DialledHub(through(port), Secret("token"))
        node = HubConnection(entry, dial_hub, machine, pools, clock, most_bytes=MOST_BYTES)
        task = asyncio.create_task(node.run())
        stack.push_async_callback(hub.close)
        stack.push_async_callback(_ended, task)
        yield Pair(hub, remotes, node, machine, pools, events, sockets, task)


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

"""Nodes without engines: real links, and a replica that writes tokens steadily, each with its time."""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.queues import Queue  # noqa: TC003 - pickled with its process
from multiprocessing.synchronize import Event
from typing import TYPE_CHECKING

import msgspec

from relayd.clock import SystemClock
from relayd.endpoint import Endpoint, TcpAddress
from relayd.errors import SlotTakenError
from relayd.remote.dial import dial_hub
from relayd.remote.messages import Inventory, NodeCommand, ServedReplica, StreamOpening
from relayd.remote.node import DialledHub, HubConnection
from relayd.remote.request import LinkRequest
from relayd.remote.serving import NodeAnswer
from relayd.router import Pools
from relayd.secret import Secret

if TYPE_CHECKING:
    from relayd.remote.bus.meeting import BusNode

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
MODEL = "m"


@dataclass
class Replica:
    """Answers completions over HTTP, token by token."""

    rate: float
    port: int = 0

    async def start(self) -> None:
        """Listen."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0, backlog=4096)
        self.port = int(server.sockets[0].getsockname()[1])

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
                await self._answer(json.loads(await reader.readexactly(length)), writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            return
        finally:
            writer.transport.abort()

    async def _answer(self, asked: dict[str, int], writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD)
        count, loop = asked["max_tokens"], asyncio.get_running_loop()
        at = loop.time() + (hash(writer) % 1000) / 1000 / self.rate
        for number in range(count):
            await asyncio.sleep(max(0.0, at - loop.time()))
            at += 1 / self.rate
            is_last = number == count - 1
            writer.write(
                _chunk(
                    {
                        "text": f"{time.monotonic():.6f} ",
                        "index": 0,
                        "finish_reason": "length" if is_last else None,
                    }
                )
            )
        writer.write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")
        await writer.drain()


def _chunk(choice: dict[str, object]) -> bytes:
    body = {"object": "text_completion", "model": MODEL, "choices": [choice]}
    event = b"data: " + json.dumps(body).encode() + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(event), event)


@dataclass
class _Claim:
    endpoint: Endpoint
    free: Callable[[], None]
    is_held: bool = False

    def hold(self) -> Callable[[], None]:
        self.is_held = True
        return self.free

    def note(self, answer: NodeAnswer) -> None: ...

    def release(self, error: BaseException | None = None) -> None:
        if not self.is_held:
            self.free()


@dataclass
class ScriptedNode:
    """A node with slots that all of its hubs share."""

    endpoint: Endpoint
    slots: int
    taken: dict[str, int] = field(default_factory=dict)

    def inventory(self) -> Inventory:
        """Return its only replica."""
        served = ServedReplica(self.endpoint.replica, MODEL, self.endpoint.incarnation, self.slots)
        return Inventory("1.0", "scripted", replicas=(served,))

    def slots_for(self, hub: str) -> "_SlotsOf":
        """Return what grants slots to a hub."""
        return _SlotsOf(self, hub)

    async def read_block(self, _sha256: str, _at: int, _size: int) -> bytes:
        """Have no file."""
        return b""

    async def carry_out(self, command: NodeCommand) -> object:
        """Carry out nothing."""
        raise LookupError(command.verb)


@dataclass
class _SlotsOf:
    node: ScriptedNode
    hub: str

    def elsewhere(self) -> dict[str, int]:
        others = sum(count for hub, count in self.node.taken.items() if hub != self.hub)
        return {self.node.endpoint.replica: others} if others else {}

    async def claim(self, opening: StreamOpening, request: LinkRequest) -> _Claim:
        if request.is_beside:
            return _Claim(self.node.endpoint, lambda: None)
        if sum(self.node.taken.values()) >= self.node.slots:
            raise SlotTakenError("no free slot")
        self.node.taken[self.hub] = self.node.taken.get(self.hub, 0) + 1
        return _Claim(self.node.endpoint, self._free)

    def _free(self) -> None:
        self.node.taken[self.hub] -= 1


@dataclass(frozen=True)
class Plan:
    """What a process of nodes is given.

    Attributes:
        tokens: Of each node, the token for each hub, by the hub's address.
        slots: Of each node.
        rate: Tokens a second of each stream.
        bus: Where all meet instead; empty for direct links.
        credentials: Of each node on the bus, as JSON.
        hubs: Names of the hubs on the bus.
    """

    tokens: tuple[dict[str, str], ...]
    slots: int
    rate: float
    bus: str = ""
    credentials: tuple[bytes, ...] = ()
    hubs: tuple[str, ...] = ()


def run(plan: Plan, port: "Queue[int]", dies: Event, ends: Event) -> None:
    """Be every node, until `ends`; the first of them dies with `dies`."""
    asyncio.run(_run(plan, port, dies, ends))


async def _run(plan: Plan, port: "Queue[int]", dies: Event, ends: Event) -> None:
    replica = Replica(plan.rate)
    await replica.start()
    port.put(replica.port)
    clock, pools, links = SystemClock(), Pools(), list[list[asyncio.Task[None]]]()
    for number, tokens in enumerate(plan.tokens):
        endpoint = Endpoint(TcpAddress(replica.port), Secret("k"), "m#0", 1)
        node = ScriptedNode(endpoint, plan.slots)
        if plan.bus:
            bus = _on_bus(plan, number)
            work, dial = [asyncio.create_task(bus.bus.run())], bus.dial
            hubs = [DialledHub(f"bus://{hub}", Secret("")) for hub in plan.hubs]
        else:
            work, dial = [], dial_hub
            hubs = [DialledHub(url, Secret(token)) for url, token in tokens.items()]
        made = [HubConnection(one, dial, node, pools, clock, most_bytes=4 << 20) for one in hubs]
        links.append([*work, *(asyncio.create_task(one.run()) for one in made)])
    while not ends.is_set():
        await asyncio.sleep(0.05)
        if dies.is_set():
            for task in links[0]:
                task.cancel()
    for task in (task for node_links in links for task in node_links):
        task.cancel()


def _on_bus(plan: Plan, number: int) -> "BusNode":
    from relayd.remote.bus.credentials import BusCredentials
    from relayd.remote.bus.meeting import BusNode

    mine = msgspec.json.decode(plan.credentials[number], type=BusCredentials)
    return BusNode(plan.bus, mine, SystemClock(), lambda: None)

"""Do requests reach a node that only the bus connects, whatever happens to it (a real nats-server)?"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

pytest.importorskip("nats", reason="nats-py is not installed: pip install 'relayd[nats]'")

from nats.aio.client import Client

from relayd.clock import SystemClock
from relayd.remote.bus.credentials import BusCredentials
from relayd.remote.bus.keys import make_credentials
from relayd.remote.bus.meeting import BusHub, BusNode
from relayd.remote.bus.serverconfig import BusTls
from relayd.remote.bus.subjects import BusRole, down, inbox
from relayd.remote.capacity import Remotes
from relayd.remote.hub import NodeHub
from relayd.remote.node import DialledHub, HubConnection
from relayd.router import Call, Pools
from relayd.secret import Secret
from tests.certificates import make_certificate
from tests.daemons import DEADLINE_SECONDS
from tests.fakes.replica import DONE, LAST_CHUNK, SSE_HEAD, act, chunk, event, fake_replica, json_answer
from tests.remote.busserver import BusServer
from tests.remote.pair import MOST_BYTES, Machine, Pair
from tests.remote.test_pair import STREAM, Taken, no_hold, until

if TYPE_CHECKING:
    from relayd.scheduler import Event

pytestmark = [pytest.mark.system, pytest.mark.usefixtures("runner")]

HUB, NODE = make_credentials(BusRole.HUB, "hub"), make_credentials(BusRole.NODE, "box")
OTHER = make_credentials(BusRole.NODE, "other")
BEAT_SECONDS = 0.2


@pytest.fixture
def server(tmp_path: Path) -> Iterator[BusServer]:
    made = BusServer(tmp_path, (HUB, NODE, OTHER))
    yield made
    made.stop()


@asynccontextmanager
async def bus_pair(server: BusServer, machine: Machine, resume_seconds: float = 10.0) -> AsyncIterator[Pair]:
    """Return a hub and a node that meet on the bus."""
    events: list[Event] = []
    remotes = Remotes(events.append, lambda _: None)
    hub = NodeHub(remotes, SystemClock(), resume_seconds=resume_seconds, beat_seconds=BEAT_SECONDS)
    async with AsyncExitStack() as stack:
        pools, clock = Pools(), SystemClock()
        stack.callback(pools.close)
        at_hub = BusHub(server.url, HUB, hub.serve, BEAT_SECONDS)
        at_node = BusNode(server.url, NODE, clock, lambda: None, BEAT_SECONDS)
        node = HubConnection(
            DialledHub("bus://hub", Secret("")), at_node.dial, machine, pools, clock, most_bytes=MOST_BYTES
        )
        for work in (at_hub.run(), at_node.bus.run()):
            await _aside(stack, asyncio.create_task(work))
        stack.push_async_callback(hub.close)
        task = asyncio.create_task(node.run())
        await _aside(stack, task)
        yield Pair(hub, remotes, node, machine, pools, events, [], task)


async def _aside(stack: AsyncExitStack, task: asyncio.Task[None]) -> None:
    async def ended() -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    stack.push_async_callback(ended)


async def test_a_long_prompt_and_its_answer_cross_the_bus(server: BusServer) -> None:
    prompt = b'{"prompt":"' + b"a" * 900_000 + b'"}'
    async with (
        fake_replica(None, act(json_answer(b'{"ok":true}'))) as fake,
        bus_pair(server, Machine(fake)) as pair,
    ):
        await until(lambda: pair.is_ready)
        upstream = await Pools().ask(pair.endpoint, Call("/v1/completions", prompt), no_hold)

        assert (200, b'{"ok":true}') == (upstream.head.status, upstream.payload())
        assert prompt in fake.requests[0]


async def test_a_stream_goes_on_when_the_bus_was_away(server: BusServer) -> None:
    more = asyncio.Event()
    answer = act(SSE_HEAD, chunk(event(1)), more, chunk(event(2)), chunk(DONE), LAST_CHUNK)
    async with fake_replica(None, answer) as fake, bus_pair(server, Machine(fake)) as pair:
        await until(lambda: pair.is_ready)
        sink = Taken()
        upstream = await Pools().ask(pair.endpoint, STREAM, no_hold)
        relaying = asyncio.create_task(upstream.relay(sink))
        await until(lambda: event(1) in sink.bytes)
        server.stop()
        await until(lambda: not pair.is_ready)
        more.set()
        server.start()
        await relaying

        assert chunk(event(1)) + chunk(event(2)) + chunk(DONE) + LAST_CHUNK == sink.bytes
        assert 1 == len(fake.requests)
        await until(lambda: pair.is_ready)


async def test_a_command_reaches_a_node_over_the_bus(server: BusServer) -> None:
    async with fake_replica(None) as fake, bus_pair(server, Machine(fake)) as pair:
        await until(lambda: pair.is_ready)
        reply = await pair.hub.command("box", "load", "m")

        assert b'{"loaded":"m"}' == bytes(reply.result)


@asynccontextmanager
async def connected(server: BusServer, who: BusCredentials) -> AsyncIterator[tuple[Client, list[str]]]:
    """Return a client, and what the server refuses it."""
    refused: list[str] = []

    async def note(error: Exception) -> None:
        refused.append(str(error).lower())

    client = Client()
    await client.connect(
        servers=[server.url], nkeys_seed_str=who.seed, inbox_prefix=inbox(who.name), error_cb=note
    )
    yield client, refused
    await client.close()


@pytest.mark.parametrize(
    "subject", [down("box", "*", "*"), down("box", "hub", "s"), "relayd.v1.>", ">", "_INBOX_box.>"]
)
async def test_a_node_cannot_read_the_requests_of_another(server: BusServer, subject: str) -> None:
    async with connected(server, OTHER) as (client, refused):
        await client.subscribe(subject)
        await client.flush()
        await until(lambda: any("permissions violation" in one for one in refused))


async def test_a_node_may_read_its_own(server: BusServer) -> None:
    async with connected(server, OTHER) as (client, refused):
        got = await client.subscribe(down("other", "hub", "s"))
        async with connected(server, HUB) as (hub, _):
            await client.flush()
            await hub.publish(down("other", "hub", "s"), b"mine")
            assert b"mine" == (await got.next_msg(DEADLINE_SECONDS)).data
        assert not refused


async def test_credentials_that_the_server_has_not_got_are_refused_and_tried_on(server: BusServer) -> None:
    at_node = BusNode(server.url, make_credentials(BusRole.NODE, "new"), SystemClock(), lambda: None)
    async with AsyncExitStack() as stack:
        await _aside(stack, asyncio.create_task(at_node.bus.run()))
        await until(lambda: "authorization" in at_node.bus.state.lower())


async def test_a_server_with_a_certificate_of_ones_own_is_trusted_by_the_file_of_the_machine(
    tmp_path: Path,
) -> None:
    cert, key = make_certificate(tmp_path)
    mine = make_credentials(BusRole.NODE, "box", cert.read_text())
    server = BusServer(tmp_path, (mine,), BusTls(cert, key))
    url = server.url.replace("nats://", "tls://")
    try:
        async with AsyncExitStack() as stack:
            at_node = BusNode(url, mine, SystemClock(), lambda: None)
            await _aside(stack, asyncio.create_task(at_node.bus.run()))
            await until(lambda: at_node.bus.state == "connected")
        async with AsyncExitStack() as stack:
            strange = BusNode(url, msgspec.structs.replace(mine, ca=""), SystemClock(), lambda: None)
            await _aside(stack, asyncio.create_task(strange.bus.run()))
            await until(lambda: "certificate" in strange.bus.state.lower())
    finally:
        server.stop()

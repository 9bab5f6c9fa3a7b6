"""Do requests of a hub's router reach a node's replica and come back whole, whatever happens to the link?"""

import asyncio
from collections.abc import Callable

import pytest

from relayd.errors import LinkLostError, NotFoundError, SlotTakenError
from relayd.router import Call, Pools
from relayd.router.upstream import Upstream
from tests.daemons import DEADLINE_SECONDS
from tests.fakes.replica import (
    DONE,
    KEY,
    LAST_CHUNK,
    SSE_HEAD,
    Then,
    act,
    chunk,
    event,
    fake_replica,
    json_answer,
)
from tests.remote.pair import Machine, Pair, paired

pytestmark = [pytest.mark.fake, pytest.mark.usefixtures("runner")]

CALL = Call("/v1/completions", b'{"prompt":"a"}')
STREAM = Call("/v1/completions", b'{"prompt":"a","stream":true}', stream=True)
WHOLE = json_answer(b'{"ok":true}')


class Taken:
    """Takes an answer; reading stops while it is told to."""

    def __init__(self) -> None:
        self.bytes = b""
        self.is_full = False
        self.has_room = asyncio.Event()

    def take(self, raw: bytes) -> bool:
        self.bytes += raw
        return self.is_full

    async def room(self) -> None:
        await self.has_room.wait()


def no_hold() -> Callable[[], None]:
    return lambda: None


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not condition():
            await asyncio.sleep(0.005)


async def asked(pair: Pair, pools: Pools, call: Call = CALL) -> Upstream:
    return await pools.ask(pair.endpoint, call, no_hold)


async def test_an_answer_comes_back_whole_and_its_slot_is_free_then() -> None:
    async with fake_replica(None, act(WHOLE)) as fake, paired(Machine(fake)) as pair:
        await until(lambda: pair.is_ready)
        pools = Pools()
        for _ in range(3):
            upstream = await asked(pair, pools)
            assert (200, b'{"ok":true}') == (upstream.head.status, upstream.payload())
            pools.give_back(upstream, no_hold)
            assert 0 == pair.machine.taken
        await until(lambda: not len(pair.hub.node("box").link))

        assert 1 == fake.connections
        assert b"Bearer " + KEY.encode() in fake.requests[0]


async def test_a_stream_arrives_as_it_is_sent() -> None:
    more = asyncio.Event()
    answer = act(SSE_HEAD, chunk(event(1)), more, chunk(event(2)), chunk(DONE), LAST_CHUNK)
    async with fake_replica(None, answer) as fake, paired(Machine(fake)) as pair:
        await until(lambda: pair.is_ready)
        pools, sink = Pools(), Taken()
        upstream = await asked(pair, pools, STREAM)
        relaying = asyncio.create_task(upstream.relay(sink))
        await until(lambda: event(1) in sink.bytes)
        assert event(2) not in sink.bytes
        more.set()
        await relaying

        assert chunk(event(1)) + chunk(event(2)) + chunk(DONE) + LAST_CHUNK == sink.bytes


async def test_a_link_that_breaks_goes_on_and_the_stream_is_whole() -> None:
    more, last = asyncio.Event(), asyncio.Event()
    answer = act(SSE_HEAD, chunk(event(1)), more, chunk(event(2)), last, chunk(DONE), LAST_CHUNK)
    async with fake_replica(None, answer) as fake, paired(Machine(fake)) as pair:
        await until(lambda: pair.is_ready)
        pools, sink = Pools(), Taken()
        upstream = await asked(pair, pools, STREAM)
        relaying = asyncio.create_task(upstream.relay(sink))
        await until(lambda: event(1) in sink.bytes)
        pair.cut()
        more.set()
        await until(lambda: len(pair.sockets) > 1 and event(2) in sink.bytes)
        pair.cut()
        last.set()
        await relaying

        assert chunk(event(1)) + chunk(event(2)) + chunk(DONE) + LAST_CHUNK == sink.bytes
        assert 1 == len(fake.requests)
        await until(lambda: pair.is_ready)


async def test_a_node_that_does_not_come_back_fails_its_requests_as_no_crash_does() -> None:
    never = asyncio.Event()
    async with (
        fake_replica(None, act(SSE_HEAD, chunk(event(1)), never)) as fake,
        paired(Machine(fake), resume_seconds=0.1) as pair,
    ):
        await until(lambda: pair.is_ready)
        pools, sink = Pools(), Taken()
        upstream = await asked(pair, pools, STREAM)
        relaying = asyncio.create_task(upstream.relay(sink))
        await until(lambda: sink.bytes)
        pair.task.cancel()
        with pytest.raises(LinkLostError):
            await relaying
        await fake.left.wait()

        assert 0 == pair.machine.taken
        with pytest.raises(LinkLostError):
            await asked(pair, pools)
        with pytest.raises(NotFoundError, match="not connected"):
            pair.hub.node("box")


async def test_a_client_that_leaves_cancels_at_the_replica_and_its_slot_is_held_until_then() -> None:
    never, freed = asyncio.Event(), asyncio.Event()
    async with (
        fake_replica(None, act(SSE_HEAD, chunk(event(1)), never)) as fake,
        paired(Machine(fake)) as pair,
    ):
        fake.works_on = True
        await until(lambda: pair.is_ready)
        pools = Pools()
        upstream = await asked(pair, pools, STREAM)
        pools.give_back(upstream, lambda: freed.set)
        await fake.cancelled.wait()
        assert (1, False) == (pair.machine.taken, freed.is_set())
        fake.finish()
        await freed.wait()

        assert 0 == pair.machine.taken
        await until(lambda: not len(pair.hub.node("box").link))


async def test_a_prompt_that_is_left_frees_its_slot_here_when_the_batch_there_is_over() -> None:
    never, freed = asyncio.Event(), asyncio.Event()
    async with fake_replica(None, act(SSE_HEAD, never)) as fake, paired(Machine(fake)) as pair:
        fake.works_on = True
        fake.between_batches.clear()
        await until(lambda: pair.is_ready)
        pools = Pools(infer_batch=lambda _: 1e9)
        asking = asyncio.ensure_future(pools.ask(pair.endpoint, STREAM, lambda: freed.set))
        await fake.asked.wait()
        asking.cancel()
        await fake.cancelled.wait()
        fake.finish()
        await until(lambda: fake.connections > 1)
        assert (1, False) == (pair.machine.taken, freed.is_set())

        fake.between_batches.set()
        await freed.wait()

        assert 0 == pair.machine.taken


async def test_a_claim_that_cannot_be_held_is_refused_at_once() -> None:
    never = asyncio.Event()
    async with (
        fake_replica(None, act(SSE_HEAD, chunk(event(1)), never)) as fake,
        paired(Machine(fake, slots=1)) as pair,
    ):
        await until(lambda: pair.is_ready)
        pools = Pools()
        first = await asked(pair, pools, STREAM)

        with pytest.raises(SlotTakenError):
            await asked(pair, pools)
        pools.give_back(first, no_hold)
        assert 1 == pair.machine.most


@pytest.mark.parametrize(
    ("body", "slots"),
    [(b'{"prompt":["a","b"],"stream":true}', 2), (b'{"prompt":"a","n":3,"stream":true}', 3)],
)
async def test_a_request_of_several_answers_takes_as_many_slots_of_the_node(body: bytes, slots: int) -> None:
    never = asyncio.Event()
    async with (
        fake_replica(None, act(SSE_HEAD, chunk(event(1)), never)) as fake,
        paired(Machine(fake, slots=3)) as pair,
    ):
        await until(lambda: pair.is_ready)
        pools = Pools()
        asking = await asked(pair, pools, Call("/v1/completions", body, stream=True))

        assert slots == pair.machine.most
        pools.give_back(asking, no_hold)


async def test_slots_that_others_use_are_not_offered() -> None:
    async with fake_replica(None, act(WHOLE)) as fake, paired(Machine(fake, slots=3)) as pair:
        await until(lambda: pair.is_ready)
        (offer,) = pair.remotes
        assert 3 == offer.offer.slots
        pair.machine.others = 2
        await until(lambda: [one.offer.slots for one in pair.remotes] == [1])
        pair.machine.others = 3
        await until(lambda: not pair.is_ready)
        pair.machine.others = 0
        await until(lambda: pair.is_ready)


async def test_a_replica_that_hangs_up_is_reported_as_such() -> None:
    async with (
        fake_replica(None, act(SSE_HEAD, chunk(event(1)), then=Then.RESET)) as fake,
        paired(Machine(fake)) as pair,
    ):
        await until(lambda: pair.is_ready)
        pools = Pools()
        upstream = await asked(pair, pools, STREAM)

        with pytest.raises(ConnectionResetError):
            await upstream.relay(Taken())
        assert 0 == pair.machine.taken


@pytest.mark.parametrize("path", ["/slots?action=erase", "/lora-adapters", "/v1/../props", "/admin/keys"])
async def test_a_hub_reaches_nothing_else_of_a_replica(path: str) -> None:
    async with fake_replica(None, act(WHOLE)) as fake, paired(Machine(fake)) as pair:
        await until(lambda: pair.is_ready)

        with pytest.raises(ConnectionResetError, match="passes no POST"):
            await asked(pair, Pools(), Call(path, b"{}"))
        assert [] == fake.requests


async def test_a_slow_client_stops_only_its_own_stream() -> None:
    long = act(SSE_HEAD, *(chunk(bytes(60_000)) for _ in range(200)), LAST_CHUNK)
    async with fake_replica(None, long, act(WHOLE)) as fake, paired(Machine(fake)) as pair:
        await until(lambda: pair.is_ready)
        pools, slow = Pools(), Taken()
        slow.is_full = True
        upstream = await asked(pair, pools, STREAM)
        relaying = asyncio.create_task(upstream.relay(slow))
        await until(lambda: slow.bytes)

        other = await asked(pair, pools)
        assert b'{"ok":true}' == other.payload()
        assert fake.sent < 200 * 60_000
        slow.is_full = False
        slow.has_room.set()
        await relaying
        assert 200 * len(chunk(bytes(60_000))) + len(LAST_CHUNK) == len(slow.bytes)


async def test_a_command_is_carried_out_at_the_node() -> None:
    async with fake_replica(None, act(WHOLE)) as fake, paired(Machine(fake)) as pair:
        await until(lambda: pair.is_ready)

        reply = await pair.hub.command("box", "load", "m")

        assert b'{"loaded":"m"}' == bytes(reply.result)
        assert ["load"] == [one.verb for one in pair.machine.asked]


async def test_a_hub_that_goes_has_its_nodes_dial_again_and_ends_no_stream() -> None:
    last = asyncio.Event()
    answer = act(SSE_HEAD, chunk(event(1)), last, chunk(DONE), LAST_CHUNK)
    async with fake_replica(None, answer) as fake, paired(Machine(fake)) as pair:
        await until(lambda: pair.is_ready)
        pools, sink = Pools(), Taken()
        upstream = await asked(pair, pools, STREAM)
        relaying = asyncio.create_task(upstream.relay(sink))
        await until(lambda: sink.bytes)
        pair.hub.go_away("an upgrade", 60)
        await until(lambda: len(pair.sockets) > 1)
        last.set()
        await relaying

        assert sink.bytes.endswith(LAST_CHUNK)
        assert "an upgrade" in pair.node.state


async def test_a_drained_node_gets_nothing_new() -> None:
    async with fake_replica(None, act(WHOLE)) as fake, paired(Machine(fake)) as pair:
        await until(lambda: pair.is_ready)
        pair.hub.drain("box", drained=True)
        await until(lambda: not pair.is_ready)
        pair.hub.drain("box", drained=False)
        await until(lambda: pair.is_ready)
        pair.machine.draining = True
        await until(lambda: not pair.is_ready)


async def test_a_node_that_is_removed_offers_nothing_more() -> None:
    async with fake_replica(None, act(WHOLE)) as fake, paired(Machine(fake)) as pair:
        await until(lambda: pair.is_ready)
        pair.task.cancel()
        await pair.hub.forget("box")

        assert [] == list(pair.remotes)
        assert [] == list(pair.hub)

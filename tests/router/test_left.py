"""What becomes of a request that is left before its replica is done with it?"""

import asyncio

import pytest

from relayd.endpoint import Endpoint
from relayd.router import Call, Pools
from tests.fakes.replica import (
    DONE,
    LAST_CHUNK,
    SSE_HEAD,
    Act,
    FakeReplica,
    Then,
    act,
    chunk,
    event,
    fake_replica,
    json_answer,
    refusal,
)
from tests.router.front import STREAM, Front, Opener, body, post
from tests.router.test_prefill import progress

pytestmark = [pytest.mark.fake, pytest.mark.usefixtures("runner")]

CALL = Call("/v1/embeddings", b"{}")
GOOD = act(json_answer(b'{"ok":true}'))
GOOD_STREAM = act(SSE_HEAD + chunk(event(1)) + chunk(DONE) + LAST_CHUNK)


async def until_released(here: Front) -> None:
    while here.places.held:
        await asyncio.sleep(0)


@pytest.mark.parametrize("over_tcp", [False, True], ids=["unix", "tcp"])
@pytest.mark.parametrize(
    "answer",
    [act(then=Then.HANG), act(SSE_HEAD, then=Then.HANG), act(SSE_HEAD + chunk(event(1)), then=Then.HANG)],
    ids=["in the queue", "in prefill", "in decode"],
)
@pytest.mark.parametrize("request_body", [STREAM, b"{}"], ids=["stream", "whole"])
async def test_a_slot_is_free_when_the_replica_is_done_and_not_when_the_client_left(
    front: Opener, answer: Act, request_body: bytes, over_tcp: bool
) -> None:
    async with front([answer], over_tcp=over_tcp) as here:
        replica = here.replicas[0]
        replica.works_on = True
        _, writer = await here.connect()
        writer.write(post(request_body))
        await replica.asked.wait()

        writer.close()
        await replica.cancelled.wait()

        while not here.places.finished:
            await asyncio.sleep(0)
        assert 1 == len(here.places.held)
        assert not replica.left.is_set()

        replica.finish()
        await until_released(here)


async def test_a_replica_that_owes_an_end_while_nothing_comes_from_it_is_reported_until_it_ends() -> None:
    owed: list[str] = []
    reported = asyncio.Event()

    def report(replica: str) -> None:
        owed.append(replica)
        if len(owed) > 1:
            reported.set()

    async with fake_replica(None, act(then=Then.HANG)) as fake:
        fake.works_on = True
        pools = Pools(owed_seconds=0.02, on_owed=report)
        asking = asyncio.ensure_future(pools.ask(fake.endpoint, CALL, lambda: reported.clear))
        await fake.asked.wait()
        asking.cancel()

        await reported.wait()
        fake.finish()
        while reported.is_set():
            await asyncio.sleep(0)

    assert {"fake#0"} == set(owed)


async def test_a_replica_that_owes_an_end_but_answers_others_is_not_reported() -> None:
    owed: list[str] = []
    ticks = [asyncio.Event() for _ in range(4)]
    parts = [part for tick in ticks for part in (tick, chunk(event(1)))]
    stream = Call("/v1/completions", b"{}", stream=True)

    async with fake_replica(None, act(then=Then.HANG), act(SSE_HEAD + chunk(event(0)), *parts)) as fake:
        fake.works_on = True
        pools = Pools(owed_seconds=60, on_owed=owed.append)
        left = asyncio.ensure_future(pools.ask(fake.endpoint, CALL, lambda: lambda: None))
        await fake.asked.wait()
        other = await pools.ask(fake.endpoint, stream, lambda: lambda: None)
        left.cancel()
        await fake.cancelled.wait()
        since = asyncio.get_running_loop().time()
        for tick in ticks:
            tick.set()
        while other.last_byte_at < since:
            await asyncio.sleep(0)

        assert not pools.is_silent(other.pool, since)
        assert pools.is_silent(other.pool, asyncio.get_running_loop().time() + 1)
        pools.close()
        other.close()


async def test_an_answer_that_ends_after_its_client_left_frees_the_slot(front: Opener) -> None:
    """It is noticed by what is written to it next: until then its client may have half-closed."""
    next_event, go_on = asyncio.Event(), asyncio.Event()
    parts = (SSE_HEAD + chunk(event(1)), next_event, chunk(event(2)), go_on, chunk(DONE) + LAST_CHUNK)

    async with front([act(*parts)]) as here:
        here.replicas[0].works_on = True
        reader, writer = await here.connect()
        writer.write(post(STREAM))
        await reader.readuntil(b"data: ")

        writer.close()
        next_event.set()
        await here.replicas[0].cancelled.wait()
        assert [1] == [len(here.places.held)]
        go_on.set()

        await until_released(here)


async def test_a_replica_that_fell_silent_keeps_its_slot_and_the_request_runs_elsewhere(
    front: Opener,
) -> None:
    async with front([act(SSE_HEAD, then=Then.HANG)], [GOOD_STREAM], silence_seconds=0.05) as here:
        here.replicas[0].works_on = True

        assert body(await here.ask(post(STREAM))).endswith(LAST_CHUNK)
        assert 1 == here.places.returns
        assert 1 == len(here.places.held)

        here.replicas[0].finish()
        await until_released(here)


async def test_what_ended_with_its_connection_holds_no_slot(front: Opener) -> None:
    async with front([act(then=Then.CLOSE)], [GOOD]) as here:
        assert b'{"ok":true}' == body(await here.ask(post()))
        assert [] == here.places.held


async def until_answered(pools: Pools) -> None:
    """Return when a replica has begun to answer a request."""
    while not any(one.answered for pool in pools._pools.values() for one in pool.every):
        await asyncio.sleep(0)


async def leave_prompt(pools: Pools, replica: FakeReplica, freed: asyncio.Event) -> None:
    """Leave a request while its prompt is read, and return when the engine knows it; it still reads."""
    replica.works_on = True
    call = Call("/v1/completions", b"{}", stream=True)
    asking = asyncio.ensure_future(pools.ask(replica.endpoint, call, lambda: freed.set))
    await replica.asked.wait()
    await until_answered(pools)
    asking.cancel()
    await replica.cancelled.wait()


async def test_a_prompt_that_was_left_keeps_its_slot_until_its_batch_is_over() -> None:
    freed = asyncio.Event()
    async with fake_replica(None, act(SSE_HEAD, then=Then.HANG)) as replica:
        replica.between_batches.clear()
        pools = Pools(infer_batch=lambda _: 1e-9)
        await leave_prompt(pools, replica, freed)
        replica.finish()
        while replica.connections < 2:
            await asyncio.sleep(0)
        assert not freed.is_set()

        replica.between_batches.set()
        await freed.wait()
        pools.close()


async def test_an_engine_that_does_not_tell_keeps_the_slot_as_long_as_a_batch_takes() -> None:
    freed, inferred = asyncio.Event(), list[str]()

    def infer(one: Endpoint) -> float:
        inferred.append(one.replica)
        return 0.01

    async with fake_replica(None, act(SSE_HEAD, then=Then.HANG)) as replica:
        replica.says = refusal(404, "not_found_error")
        pools = Pools(infer_batch=infer)
        await leave_prompt(pools, replica, freed)
        replica.finish()
        await freed.wait()

        assert ["fake#0"] == inferred
        pools.close()


async def test_an_incarnation_that_was_retired_meanwhile_is_forgotten_all_the_same() -> None:
    freed = asyncio.Event()
    async with fake_replica(None, act(SSE_HEAD, then=Then.HANG)) as replica:
        replica.between_batches.clear()
        pools = Pools()
        await leave_prompt(pools, replica, freed)
        pools.retire(replica.endpoint)
        replica.finish()
        replica.between_batches.set()
        await freed.wait()

        assert ({}, {}) == (pools._pools, pools._latest)
        pools.close()


async def test_an_answer_that_was_left_in_the_middle_keeps_its_slot_no_longer_than_its_replica() -> None:
    freed = asyncio.Event()
    async with fake_replica(None, act(SSE_HEAD + chunk(event(1)), then=Then.HANG)) as replica:
        replica.works_on = True
        pools = Pools(infer_batch=lambda _: 1e9)
        call = Call("/v1/completions", b"{}", stream=True)
        upstream = await pools.ask(replica.endpoint, call, lambda: freed.set)
        pools.give_back(upstream, lambda: freed.set)
        await replica.cancelled.wait()
        replica.finish()

        await freed.wait()
        pools.close()


async def test_the_batch_in_which_a_prompt_was_left_still_shows_how_long_it_takes() -> None:
    more, freed = asyncio.Event(), asyncio.Event()
    parts = (SSE_HEAD + progress(0, 0), more, progress(512, 50))
    async with fake_replica(None, act(*parts, then=Then.HANG)) as replica:
        replica.works_on = True
        pools = Pools()
        call = Call("/v1/completions", b"{}", stream=True, hides_progress=True)
        asking = asyncio.ensure_future(pools.ask(replica.endpoint, call, lambda: freed.set))
        await replica.asked.wait()
        await until_answered(pools)
        asking.cancel()
        await replica.cancelled.wait()
        more.set()
        while not pools.batch_seconds(replica.endpoint):
            await asyncio.sleep(0)
        replica.finish()
        await freed.wait()

        assert 0.05 == pools.batch_seconds(replica.endpoint)
        pools.close()

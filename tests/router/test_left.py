"""What becomes of a request that is left before its replica is done with it?"""

import asyncio

import pytest

from relayd.router import Call, Pools
from tests.fakes.replica import (
    DONE,
    LAST_CHUNK,
    SSE_HEAD,
    Act,
    Then,
    act,
    chunk,
    event,
    fake_replica,
    json_answer,
)
from tests.router.front import STREAM, Front, Opener, body, post

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

"""Which connections are kept, for how long, and what if one has died meanwhile?"""

import asyncio
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from relayd.router import Call, Pools
from relayd.router.upstream import Upstream
from tests.daemons import DEADLINE_SECONDS
from tests.fakes.replica import Act, FakeReplica, Then, act, fake_replica, head, json_answer
from tests.router.front import Opener, body, post, status

pytestmark = [pytest.mark.fake, pytest.mark.usefixtures("runner")]

GOOD = act(json_answer(b'{"ok":true}'))
CALL = Call("/v1/embeddings", b"{}")


def freed() -> Callable[[], None]:
    """Hold no slot for what was left."""
    return lambda: None


async def exchange(pools: Pools, fake: FakeReplica) -> Upstream:
    upstream = await pools.ask(fake.endpoint, CALL, freed)
    pools.give_back(upstream, freed)
    return upstream


async def test_a_connection_carries_one_request_after_the_other() -> None:
    async with fake_replica(None, GOOD) as fake:
        pools = Pools()

        assert await exchange(pools, fake) is await exchange(pools, fake)
        assert fake.connections == 1
        pools.close()


async def test_requests_at_the_same_time_have_a_connection_each() -> None:
    async with fake_replica(None, GOOD) as fake:
        pools = Pools()
        both = await asyncio.gather(
            pools.ask(fake.endpoint, CALL, freed), pools.ask(fake.endpoint, CALL, freed)
        )

        assert fake.connections == 2
        for one in both:
            pools.give_back(one, freed)
        pools.close()


async def test_a_connection_is_closed_before_the_engine_would() -> None:
    async with fake_replica(None, GOOD) as fake:
        pools = Pools(most_uses=2)

        first, second, third = [await exchange(pools, fake) for _ in range(3)]

        assert first is second
        assert second is not third
        pools.close()


async def test_another_connection_is_opened_in_place_of_one_that_is_used_up() -> None:
    async with fake_replica(None, GOOD) as fake:
        pools, endpoint = Pools(most_uses=1), fake.endpoint

        first = await pools.ask(endpoint, CALL, freed)
        pools.give_back(first, freed)
        async with asyncio.timeout(DEADLINE_SECONDS):
            while (second := pools.kept(endpoint)) is None:
                await asyncio.sleep(0)

        assert first is not second
        assert second.uses == 0
        second.close()
        pools.close()


async def test_an_idle_connection_is_closed() -> None:
    async with fake_replica(None, GOOD) as fake:
        pools = Pools(idle_seconds=0.01)
        await exchange(pools, fake)

        await fake.alone.wait()

        await exchange(pools, fake)
        assert fake.connections == 2
        pools.close()


async def test_a_retired_replica_keeps_no_connection() -> None:
    async with fake_replica(None, GOOD) as fake:
        pools = Pools()
        await exchange(pools, fake)

        pools.retire(fake.endpoint)

        await fake.alone.wait()


UNFIT = {
    "it says so": act(head("Connection: close", "Content-Length: 0")),
    "it is HTTP/1.0": act(head("Content-Length: 0").replace(b"1.1", b"1.0")),
    "it says more than it announced": act(head("Content-Length: 1") + b"ab"),
}


@pytest.mark.parametrize("answer", UNFIT.values(), ids=UNFIT)
async def test_a_connection_is_not_used_again_if(answer: Act) -> None:
    async with fake_replica(None, answer, GOOD) as fake:
        pools = Pools()
        await exchange(pools, fake)
        await exchange(pools, fake)

        assert fake.connections == 2
        pools.close()


@pytest.mark.parametrize("then", [Then.CLOSE, Then.RESET])
async def test_a_kept_connection_that_dies_unheard_costs_no_attempt(front: Opener, then: Then) -> None:
    async with front([GOOD, act(then=then), GOOD]) as here:
        await here.ask(post())
        raw = await here.ask(post())

        assert status(raw) == 200
        assert here.places.returns == 0
        assert here.replicas[0].connections == 2


async def test_a_replica_that_ends_with_a_kept_connection_has_hung_up(tmp_path: Path) -> None:
    where, ended = tmp_path / "s", asyncio.Event()
    async with fake_replica(where, GOOD, act(ended, then=Then.RESET)) as fake:
        pools = Pools()
        await exchange(pools, fake)
        asking = asyncio.ensure_future(pools.ask(fake.endpoint, CALL, freed))
        while len(fake.requests) < 2:
            await asyncio.sleep(0)

        where.unlink()
        ended.set()

        with pytest.raises(ConnectionError, match="hung up"):
            await asking
        pools.close()


async def test_a_kept_connection_that_dies_within_an_answer_costs_an_attempt(front: Opener) -> None:
    async with front([GOOD, act(b"HTTP/1.1 2", then=Then.CLOSE)], [GOOD]) as here:
        await here.ask(post())
        raw = await here.ask(post())

        assert status(raw) == 200
        assert here.places.returns == 1


async def test_a_fresh_connection_that_dies_costs_an_attempt(front: Opener) -> None:
    async with front([act(then=Then.CLOSE)], [GOOD]) as here:
        await here.ask(post())

        assert here.places.returns == 1


async def test_a_request_that_is_cancelled_while_it_waits_is_closed() -> None:
    async with fake_replica(None, act(then=Then.HANG)) as fake:
        asking = asyncio.ensure_future(Pools().ask(fake.endpoint, CALL, freed))
        await fake.asked.wait()

        asking.cancel()

        await fake.left.wait()


async def test_interim_answers_are_passed_over(front: Opener) -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"

    async with front([act(interim + json_answer(b"{}"))]) as here:
        assert body(await here.ask(post())) == b"{}"


async def test_nobody_asked_for_another_protocol(front: Opener) -> None:
    switching = act(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")

    async with front([switching], [switching]) as here:
        assert status(await here.ask(post())) == 502


async def test_an_answer_that_dribbles_is_the_same_answer(front: Opener) -> None:
    whole = json_answer(b'{"ok":true}')

    async with front([act(*(whole[at : at + 1] for at in range(len(whole))))]) as here:
        assert body(await here.ask(post())) == b'{"ok":true}'


async def test_small_writes_go_out_at_once_and_dead_peers_are_noticed() -> None:
    async with fake_replica(None, GOOD) as fake:
        pools = Pools()
        upstream = await exchange(pools, fake)
        connection = upstream._transport.get_extra_info("socket")

        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        pools.close()


async def test_two_machines_with_a_replica_of_one_name_share_no_connection() -> None:
    async with fake_replica(None, GOOD) as here, fake_replica(None, GOOD) as there:
        pools = Pools()
        ours, theirs = here.endpoint, replace(there.endpoint, incarnation=here.endpoint.incarnation)
        pools.give_back(await pools.ask(ours, CALL, freed), freed)

        pools.give_back(await pools.ask(theirs, CALL, freed), freed)

        assert [1, 1] == [here.connections, there.connections]
        assert repr(pools) == "<Pools idle=2 left=0 incarnations=2>"
        pools.close()


async def test_a_probe_takes_no_connection_of_a_request() -> None:
    async with fake_replica(None, GOOD) as fake:
        pools = Pools()
        await exchange(pools, fake)

        assert (200, b'{"ok":true}') == await pools.get(
            fake.endpoint, "/health", with_key=False, timeout_seconds=5
        )

        assert fake.connections == 2
        assert b"GET /health HTTP/1.1\r\nHost: " in fake.requests[1]
        assert b"Authorization" not in fake.requests[1]
        assert repr(pools) == "<Pools idle=1 left=0 incarnations=1>"
        pools.close()


@pytest.mark.parametrize("answer", [act(then=Then.HANG), act(then=Then.CLOSE), act(b"nonsense\r\n\r\n")])
async def test_a_probe_without_an_answer_is_an_error_of_the_connection(answer: Act) -> None:
    async with fake_replica(None, answer) as fake:
        with pytest.raises((TimeoutError, ConnectionError)):
            await Pools().get(fake.endpoint, "/props", with_key=True, timeout_seconds=0.05)

        await fake.alone.wait()

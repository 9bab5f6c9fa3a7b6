"""Both loops for tests that are coroutines, and fronts for them."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import uvloop

from relayd.api.openai import OPENAI
from relayd.router import Dialect, Pools
from tests.fakes.replica import Act, fake_replica
from tests.router.front import Front, Opener, serving


@pytest.fixture(params=["asyncio", "uvloop", "straight", "aiohttp"])
def way(request: pytest.FixtureRequest) -> str:
    """How requests come in.

    Through the lane on both loops that relayd may run on, there with a connection that is open already, so
    that no coroutine begins them; or through aiohttp.
    """
    return str(request.param)


@pytest.fixture
def runner(way: str) -> Iterator[asyncio.Runner]:
    """The loop of tests that are coroutines."""
    factory = asyncio.new_event_loop if way == "asyncio" else uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        yield runner


@pytest.fixture
def front(tmp_path_factory: pytest.TempPathFactory, way: str) -> Opener:
    """Open a front over replicas, one script each."""
    folder = tmp_path_factory.mktemp("r")

    @asynccontextmanager
    async def opened(
        *scripts: Sequence[Act],
        over_tcp: bool = False,
        stall_seconds: float = 5,
        silence_seconds: float = 60,
        dialect: Dialect = OPENAI,
    ) -> AsyncIterator[Front]:
        async with AsyncExitStack() as stack:
            wheres = [None if over_tcp else folder / f"{number}.sock" for number in range(len(scripts))]
            replicas = [
                await stack.enter_async_context(fake_replica(where, *script))
                for where, script in zip(wheres, scripts, strict=True)
            ]
            pools = Pools(silence_seconds=silence_seconds)
            endpoints = [replica.endpoint for replica in replicas]
            front = Front(endpoints, pools, stall_seconds, dialect, replicas=replicas)
            front.is_straight = way == "straight"
            yield await stack.enter_async_context(serving(front, by_lane=way != "aiohttp"))

    return opened

"""A loop for tests that are coroutines, and fronts for them."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import uvloop

from relayd.api.openai import OPENAI
from relayd.router import Dialect, Pools
from tests.daemons import DEADLINE_SECONDS
from tests.fakes.replica import Act, fake_replica
from tests.router.front import Front, Opener, serving


@pytest.fixture(params=["asyncio", "uvloop"])
def runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    """Both loops that relayd may run on."""
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        yield runner


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a coroutine test on the loop of its `runner`, with a deadline."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    runner = pyfuncitem.funcargs["runner"]
    assert isinstance(runner, asyncio.Runner)
    arguments = {name: pyfuncitem.funcargs[name] for name in inspect.signature(pyfuncitem.obj).parameters}
    runner.run(asyncio.wait_for(pyfuncitem.obj(**arguments), DEADLINE_SECONDS))
    return True


@pytest.fixture
def front(tmp_path_factory: pytest.TempPathFactory) -> Opener:
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
            yield await stack.enter_async_context(serving(front))

    return opened

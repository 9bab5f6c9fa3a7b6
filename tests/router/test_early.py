"""What becomes of a stream whose head went out with a comment: it is answered, by whichever replica can."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from relayd.router import Pools
from relayd.scheduler import Ended
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
    refusal,
)
from tests.router.front import STREAM, Front, post, serving

pytestmark = pytest.mark.fake

GOOD = (SSE_HEAD, chunk(event(1)), chunk(DONE) + LAST_CHUNK)
COMMENT = b": relayd waited="


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@asynccontextmanager
async def front(folder: Path, *scripts: Sequence[Act]) -> AsyncIterator[Front]:
    """Open a front over replicas, one script each, that sends heads almost at once."""
    async with AsyncExitStack() as stack:
        replicas = [
            await stack.enter_async_context(fake_replica(folder / f"{number}.sock", *script))
            for number, script in enumerate(scripts)
        ]
        endpoints = [one.endpoint for one in replicas]
        here = Front(endpoints, Pools(), 5, replicas=replicas, head_hold_seconds=0.02)
        yield await stack.enter_async_context(serving(here))


async def read_on(here: Front, go_on: asyncio.Event) -> tuple[bytes, bytes]:
    """Ask for a stream; have its replica go on once a comment has come; return the head and what followed."""
    reader, writer = await here.connect()
    writer.write(post(STREAM))
    begun = await reader.readuntil(COMMENT)
    go_on.set()
    head, _, rest = (begun + await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    return head, rest


async def test_an_answer_behind_a_comment_has_one_head_and_its_own_end(tmp_path: Path) -> None:
    go_on = asyncio.Event()
    async with front(tmp_path, [act(go_on, *GOOD)]) as here:
        head, rest = await read_on(here, go_on)

        assert head.startswith(b"HTTP/1.1 200")
        assert b"HTTP/1.1" not in rest
        assert event(1) in rest
        assert rest.endswith(DONE + b"\r\n" + LAST_CHUNK)
        assert [Ended.DONE] == [one.ended for one in here.exchanges.recent()]


async def test_a_replica_that_hangs_up_behind_a_comment_is_replaced(tmp_path: Path) -> None:
    go_on = asyncio.Event()
    async with front(tmp_path, [act(go_on, then=Then.CLOSE)], [act(*GOOD)]) as here:
        _, rest = await read_on(here, go_on)

        assert 1 == rest.count(event(1))
        assert rest.endswith(LAST_CHUNK)
        assert 1 == here.places.returns


async def test_what_the_engine_refuses_behind_a_comment_is_an_event(tmp_path: Path) -> None:
    go_on = asyncio.Event()
    async with front(tmp_path, [act(go_on, refusal(400, "invalid_request_error", "too bad"))]) as here:
        _, rest = await read_on(here, go_on)

        assert b'data: {"error"' in rest
        assert b"too bad" in rest
        assert not rest.endswith(LAST_CHUNK)
        assert [(Ended.REFUSED, 400)] == [(one.ended, one.status) for one in here.exchanges.recent()]

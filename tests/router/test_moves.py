"""Is a stream tried elsewhere whose replica may be stuck, and is everything else left where it is?"""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest

from relayd.clock import SystemClock
from relayd.endpoint import Endpoint
from relayd.router import Attempts, Call, Dispatcher, Exchanges, Pools
from relayd.scheduler import Ask, Dispatch, Ended, Event, Move, Ready, Refuse, Scheduler
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
)

pytestmark = [pytest.mark.fake, pytest.mark.usefixtures("runner")]

SUSPECT_SECONDS = 0.05
STREAM = Call("/v1/completions", b"{}", stream=True)
DATA = chunk(event(1)) + chunk(DONE) + LAST_CHUNK
GOOD = act(SSE_HEAD + DATA)
HANG = act(then=Then.HANG)


class Collected:
    """A sink that is no client's."""

    def __init__(self) -> None:
        self.raw = b""

    def take(self, raw: bytes) -> bool:
        self.raw += raw
        return False

    async def room(self) -> None: ...


class Stage:
    """A real schedule over replicas that each do as they are told.

    Attributes:
        faults: What was said of replicas that failed a request.
    """

    def __init__(self, stack: AsyncExitStack, suspect_seconds: float) -> None:
        self._stack = stack
        self._clock = SystemClock()
        self._scheduler = Scheduler(depth=9)
        self.dispatcher = Dispatcher(
            self.post, self._clock, max_wait_seconds=60, suspect_seconds=suspect_seconds
        )
        self.pools = Pools()
        stack.callback(self.pools.close)
        self.exchanges = Exchanges(self._clock)
        self.faults: list[str] = []
        self.attempts = Attempts(self.pools, lambda endpoint, _: self.faults.append(endpoint.replica))

    def post(self, event: Event) -> None:
        for effect in self._scheduler.handle(event, self._clock.monotonic()):
            match effect:
                case Dispatch() | Refuse():
                    self.dispatcher.on_answer(effect)
                case Move():
                    self.dispatcher.on_move(effect)

    async def listen(self, *script: Act) -> FakeReplica:
        return await self._stack.enter_async_context(fake_replica(None, *script))

    def ready(self, name: str, fake: FakeReplica, slots: int = 4) -> Endpoint:
        endpoint = replace(fake.endpoint, replica=name)
        self.post(Ready(name, "m", slots, endpoint))
        return endpoint

    def ask(self, call: Call = STREAM) -> "asyncio.Task[bytes]":
        asked = asyncio.ensure_future(self._ask(call))
        self._stack.callback(asked.cancel)
        return asked

    async def queued(self, count: int) -> None:
        while self._scheduler.load("m").waiting < count:
            await asyncio.sleep(0)

    async def _ask(self, call: Call) -> bytes:
        sink = Collected()
        with (
            self.exchanges.begin("line-1", call.path) as record,
            self.dispatcher.open(Ask("m", stream=call.stream), record) as lease,
            await self.attempts.begin(call, lease) as reply,
        ):
            record.began(reply.head.status)
            await reply.relay(sink)
        return sink.raw


async def asked(fake: FakeReplica, count: int) -> None:
    while len(fake.requests) < count:
        await asyncio.sleep(0)


async def test_a_stream_behind_one_that_holds_its_replica_is_answered_by_another() -> None:
    go_on = asyncio.Event()
    async with AsyncExitStack() as stack:
        stage = Stage(stack, SUSPECT_SECONDS)
        stuck, free = await stage.listen(act(go_on, SSE_HEAD + DATA), HANG), await stage.listen(GOOD)
        stage.ready("m#0", stuck)
        oldest = stage.ask()
        await asked(stuck, 1)
        behind = stage.ask()
        await asked(stuck, 2)
        stage.ready("m#1", free)

        assert await behind == DATA
        assert not oldest.done()
        go_on.set()
        assert await oldest == DATA
        assert (2, 1, ["m#0"]) == (len(stuck.requests), len(free.requests), stage.faults)
        assert [(Ended.DONE, 2), (Ended.DONE, 1)] == [
            (one.ended, one.attempts) for one in stage.exchanges.recent()
        ]


async def test_a_stream_stays_whose_prompt_is_being_processed_and_so_does_a_whole_answer() -> None:
    go_on = asyncio.Event()
    async with AsyncExitStack() as stack:
        stage = Stage(stack, SUSPECT_SECONDS)
        stuck = await stage.listen(HANG, act(SSE_HEAD, go_on, DATA), HANG, HANG)
        free = await stage.listen(GOOD)
        stage.ready("m#0", stuck)
        waiting = []
        for call in (STREAM, STREAM, Call("/v1/completions", b"{}"), STREAM):
            waiting.append(stage.ask(call))
            await asked(stuck, len(waiting))
        stage.ready("m#1", free)

        assert await waiting[3] == DATA
        assert [False] * 3 == [one.done() for one in waiting[:3]]
        go_on.set()
        assert await waiting[1] == DATA
        assert 1 == len(free.requests)


async def test_a_stream_stays_while_no_other_replica_has_a_free_slot() -> None:
    go_on = asyncio.Event()
    async with AsyncExitStack() as stack:
        stage = Stage(stack, SUSPECT_SECONDS)
        stuck, full = (
            await stage.listen(HANG),
            await stage.listen(act(SSE_HEAD + chunk(event(1)), go_on, DATA)),
        )
        stage.ready("m#0", stuck, slots=2)
        waiting = [stage.ask(), stage.ask()]
        await asked(stuck, 2)
        taken = stage.ask()
        await stage.queued(1)
        stage.ready("m#1", full, slots=1)  # whose slot is taken at once
        await asked(full, 1)
        swept = asyncio.Event()
        asyncio.get_running_loop().call_later(4 * SUSPECT_SECONDS, swept.set)
        await swept.wait()
        assert [] == stage.faults

        go_on.set()
        await taken
        assert (await waiting[1]).startswith(chunk(event(1)))


async def test_a_client_that_leaves_while_its_stream_is_moved_is_tried_nowhere_else() -> None:
    async with AsyncExitStack() as stack:
        stage = Stage(stack, 60)
        stuck, free = await stage.listen(HANG), await stage.listen(GOOD)
        stage.ready("m#0", stuck)
        leaving = stage.ask()
        await asked(stuck, 1)
        stage.ready("m#1", free)

        stage.dispatcher.on_move(Move(1))
        leaving.cancel()

        with pytest.raises(asyncio.CancelledError):
            await leaving
        assert ([], []) == (free.requests, stage.faults)
        assert [Ended.CANCELLED] == [one.ended for one in stage.exchanges.recent()]


async def test_a_new_time_to_suspect_counts_at_once() -> None:
    async with AsyncExitStack() as stack:
        stage = Stage(stack, 1e6)
        stuck, free = await stage.listen(HANG), await stage.listen(GOOD)
        stage.ready("m#0", stuck)
        stage.ask()
        behind = stage.ask()
        await asked(stuck, 2)
        stage.ready("m#1", free)

        stage.dispatcher.configure(max_wait_seconds=60, suspect_seconds=SUSPECT_SECONDS)
        assert await behind == DATA

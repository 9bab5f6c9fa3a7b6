"""Concurrent calls share few runs, and each gets one that began after the call."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from relayd.daemon.coalesce import Coalesced

pytestmark = pytest.mark.pure


class Runs:
    """Counts its runs, each of which lasts until it is let go."""

    def __init__(self) -> None:
        self.begun = 0
        self.open = 0
        self.gates: list[asyncio.Event] = []

    async def run(self) -> int:
        self.begun += 1
        self.open += 1
        assert 1 == self.open, "two runs at once"
        number, gate = self.begun, asyncio.Event()
        self.gates.append(gate)
        await gate.wait()
        self.open -= 1
        if number == 3:
            raise ValueError(number)
        return number

    async def reached(self, count: int) -> None:
        while self.begun < count:
            await asyncio.sleep(0)


def play(story: Callable[[Runs, "Coalesced[int]"], Awaitable[None]]) -> None:
    async def tell() -> None:
        runs = Runs()
        async with asyncio.timeout(30):
            await story(runs, Coalesced(runs.run))

    asyncio.run(tell())


def test_fifty_who_ask_during_a_run_share_the_next_one() -> None:
    async def story(runs: Runs, coalesced: Coalesced[int]) -> None:
        first = asyncio.create_task(coalesced.run())
        await runs.reached(1)
        storm = [asyncio.create_task(coalesced.run()) for _ in range(50)]
        await asyncio.sleep(0)
        assert 1 == runs.begun
        runs.gates[0].set()
        await runs.reached(2)
        runs.gates[1].set()

        assert 1 == await first
        assert {2} == set(await asyncio.gather(*storm))
        assert 2 == runs.begun

    play(story)


def test_a_failed_run_fails_those_it_covers_and_no_other() -> None:
    async def story(runs: Runs, coalesced: Coalesced[int]) -> None:
        outcomes = []
        for number in range(4):
            asking = asyncio.create_task(coalesced.run())
            await runs.reached(number + 1)
            runs.gates[number].set()
            (outcome,) = await asyncio.gather(asking, return_exceptions=True)
            outcomes.append(outcome if isinstance(outcome, int) else type(outcome))
        assert [1, 2, ValueError, 4] == outcomes

    play(story)


def test_who_gives_up_ends_no_run_of_others() -> None:
    async def story(runs: Runs, coalesced: Coalesced[int]) -> None:
        impatient, patient = (asyncio.create_task(coalesced.run()) for _ in range(2))
        await runs.reached(1)
        impatient.cancel()
        await asyncio.gather(impatient, return_exceptions=True)
        runs.gates[0].set()
        assert 1 == await patient

    play(story)

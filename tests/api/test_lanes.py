"""Do many requests that come at once leave the loop to others in between?"""

import asyncio
from dataclasses import dataclass
from typing import Any, cast

import pytest

from relayd.api.deadlines import Deadlines
from relayd.api.lanes import Lanes
from relayd.api.limiter import ConnectionLimiter, ConnectionLimits
from relayd.api.openai import OPENAI
from relayd.clock import SystemClock

pytestmark = pytest.mark.pure

AT_ONCE = 32


@dataclass(eq=False)
class Asking:
    """A connection on which a request has come."""

    number: int
    begun: list[int]

    def go_on(self) -> None:
        self.begun.append(self.number)


class StillLoop:
    """A loop whose time stands still, as uvloop's does while it works on what it has found."""

    now = 1.0

    def time(self) -> float:
        return self.now


def lanes_on(loop: StillLoop) -> Lanes:
    limits, nothing = ConnectionLimits(), cast("Any", None)
    deadlines = Deadlines(cast("Any", loop))
    return Lanes(limits, ConnectionLimiter(limits), deadlines, nothing, OPENAI, SystemClock())


def test_of_many_requests_at_once_some_begin_now_and_the_others_by_turns() -> None:
    begun: list[int] = []

    async def scene() -> tuple[list[bool], list[int]]:
        lanes = lanes_on(StillLoop())
        asked = [lanes.takes_turn(cast("Any", Asking(number, begun))) for number in range(80)]
        sizes = []
        for _ in range(3):
            await asyncio.sleep(0)
            sizes.append(len(begun))
        return asked, sizes

    asked, sizes = asyncio.run(scene())

    assert [True] * AT_ONCE + [False] * 48 == asked
    assert [32, 48, 48] == sizes
    assert [*range(AT_ONCE, 80)] == begun


def test_requests_that_need_a_coroutine_leave_the_loop_sooner() -> None:
    async def scene() -> tuple[int, list[int]]:
        lanes, begun = lanes_on(StillLoop()), list[int]()

        class Slow(Asking):
            def go_on(self) -> None:
                super().go_on()
                lanes.needs_coroutine()

        now, sizes = 0, []
        for number in range(14):
            if lanes.takes_turn(cast("Any", Slow(number, begun))):
                lanes.needs_coroutine()
                now += 1
        for _ in range(3):
            await asyncio.sleep(0)
            sizes.append(len(begun))
        return now, sizes

    assert (4, [4, 8, 10]) == asyncio.run(scene())


def test_requests_that_come_one_after_the_other_all_begin_at_once() -> None:
    loop = StillLoop()
    lanes = lanes_on(loop)

    for _ in range(100):
        assert lanes.takes_turn(cast("Any", None))
        loop.now += 0.001

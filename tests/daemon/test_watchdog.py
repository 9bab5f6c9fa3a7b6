"""A loop that stands still is reported with its stack, and a machine that slept is not taken for one."""

import asyncio
import logging
import threading
from collections.abc import Iterator

import pytest

from relayd.clock import SystemClock
from relayd.daemon.watchdog import LoopWatchdog
from tests.daemons import wait_until

pytestmark = pytest.mark.system

STALL_SECONDS = 0.2

LATER_SECONDS = 1.0
"""More than a busy machine keeps a loop from turning."""


class WatchedClock(SystemClock):
    """The system's clock, which may jump, and counts how often the watching thread has looked at it."""

    def __init__(self) -> None:
        self.ahead_seconds = 0.0
        self.looks = 0
        self._loop_thread = threading.current_thread()

    def monotonic(self) -> float:
        self.looks += threading.current_thread() is not self._loop_thread
        return super().monotonic() + self.ahead_seconds

    async def await_looks(self, number: int) -> None:
        """Let the loop turn until the thread has looked so many times more."""
        async with asyncio.timeout(120):
            while self.looks < number:
                await asyncio.sleep(0)


@pytest.fixture(autouse=True)
def _errors(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.ERROR):
        yield


def test_a_loop_that_stands_still_is_reported_once_with_its_stack(caplog: pytest.LogCaptureFixture) -> None:
    def stand_still(clock: WatchedClock) -> None:
        wait_until(lambda: caplog.records)
        looks = clock.looks
        wait_until(lambda: clock.looks >= looks + 5)

    async def story() -> None:
        clock = WatchedClock()
        with LoopWatchdog(clock, stall_seconds=STALL_SECONDS):
            stand_still(clock)

    asyncio.run(story())
    (record,) = caplog.records
    assert "loop.stalled" in record.message
    assert "stand_still" in record.message


def test_a_loop_that_turns_is_not_reported(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        clock = WatchedClock()
        with LoopWatchdog(clock, stall_seconds=LATER_SECONDS):
            await clock.await_looks(8)

    asyncio.run(story())
    assert [] == caplog.records


def test_a_machine_that_slept_is_not_reported(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        clock = WatchedClock()
        with LoopWatchdog(clock, stall_seconds=LATER_SECONDS):
            await clock.await_looks(3)
            clock.ahead_seconds = 3600.0
            await clock.await_looks(8)

    asyncio.run(story())
    assert [] == caplog.records

"""The end of a process is noticed, whatever its begin was like."""

import asyncio
import subprocess
from collections.abc import Callable

import pytest

from relayd.supervisor.watch import ExitWatch
from tests.contract.stage import no_descriptor_left
from tests.daemons import DEADLINE_SECONDS

pytestmark = pytest.mark.system


def await_end(begin: Callable[[asyncio.Event], ExitWatch]) -> None:
    """Begin to watch, and wait for the callback."""

    async def story() -> None:
        ended = asyncio.Event()
        watch = begin(ended)
        async with asyncio.timeout(DEADLINE_SECONDS):
            await ended.wait()
        watch.close()

    asyncio.run(story())


def test_the_end_of_a_process_is_noticed() -> None:
    with subprocess.Popen(("sleep", "0.05")) as process:
        await_end(lambda ended: ExitWatch(process.pid, ended.set))


def test_a_process_that_is_gone_already_has_ended() -> None:
    with subprocess.Popen(("true",)) as process:
        process.wait()

    await_end(lambda ended: ExitWatch(process.pid, ended.set))


def test_without_a_descriptor_the_watch_begins_later() -> None:
    def begin(ended: asyncio.Event) -> ExitWatch:
        with no_descriptor_left():
            return ExitWatch(process.pid, ended.set)

    with subprocess.Popen(("sleep", "0.05")) as process:
        await_end(begin)


def test_a_watch_that_was_closed_is_not_called() -> None:
    """A second watch of the same process shows that its end could be noticed."""
    called = asyncio.Event()

    def begin(ended: asyncio.Event) -> ExitWatch:
        ExitWatch(process.pid, called.set).close()
        return ExitWatch(process.pid, ended.set)

    with subprocess.Popen(("sleep", "0.05")) as process:
        await_end(begin)

    assert not called.is_set()

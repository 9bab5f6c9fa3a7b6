"""What becomes of a start whose process has to be waited for (a sandbox)?"""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from relayd.errors import EngineError
from relayd.supervisor.causes import Cause
from relayd.supervisor.child import Child
from relayd.supervisor.launching import Launching, NotStarted
from relayd.supervisor.sandboxed import as_signalled, engine_in
from tests.daemons import DEADLINE_SECONDS

pytestmark = pytest.mark.system


@dataclass
class Waiting:
    """A start whose process is there once it is let go on."""

    failure: Exception | None = None
    go_on: Event = field(default_factory=Event)
    done: list[str] = field(default_factory=list)

    def spawn(self) -> None:
        self.done.append("spawn")

    def find(self) -> Any:
        assert self.go_on.wait(DEADLINE_SECONDS)
        if self.failure:
            raise self.failure
        return "the process"

    def record(self) -> None:
        self.done.append("record")

    def discard(self) -> None:
        self.done.append("discard")

    def abandon(self) -> None:
        self.done.append("abandon")


def play(launch: Waiting, story: Callable[[Launching], None] = lambda _: None) -> Child | NotStarted:
    async def scene() -> Child | NotStarted:
        reported: asyncio.Future[Child | NotStarted] = asyncio.get_running_loop().create_future()
        launching = Launching(lambda: launch, reported.set_result)
        async with asyncio.timeout(DEADLINE_SECONDS):
            while "spawn" not in launch.done:
                await asyncio.sleep(0)
            were = [launching.under_way]
            story(launching)
            launch.go_on.set()
            found = await reported
            were.append(launching.under_way)
            await launching.work
        assert [True, False] == were
        return found

    return asyncio.run(scene())


def test_a_process_is_reported_once_it_is_found_and_recorded_then() -> None:
    launch = Waiting()

    found: object = play(launch)

    assert "the process" == found
    assert ["spawn", "record"] == launch.done


def test_a_start_that_is_called_off_meanwhile_leaves_no_process() -> None:
    launch = Waiting()

    found = play(launch, Launching.call_off)

    assert isinstance(found, NotStarted)
    assert Cause.COMMANDED is found.exit.cause
    assert ["spawn", "discard"] == launch.done


@pytest.mark.parametrize(
    ("failure", "hopeless"), [(EngineError("no sandbox"), True), (ChildProcessError(0, "ended"), False)]
)
def test_a_process_that_is_not_found_is_a_start_that_failed(failure: Exception, hopeless: bool) -> None:
    async def scene() -> Child | NotStarted:
        reported: asyncio.Future[Child | NotStarted] = asyncio.get_running_loop().create_future()
        launch = Waiting(failure)
        launch.go_on.set()
        Launching(lambda: launch, reported.set_result)
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await reported

    found = asyncio.run(scene())

    assert isinstance(found, NotStarted)
    assert (Cause.SPAWN_FAILED, hopeless) == (found.exit.cause, found.hopeless)


@pytest.mark.parametrize(
    ("code", "expected"), [(0, 0), (1, 1), (128, 128), (137, -signal.SIGKILL), (134, -signal.SIGABRT)]
)
def test_the_end_of_what_runs_inside_is_read_from_that_of_the_sandbox(code: int, expected: int) -> None:
    assert expected == as_signalled(code)


PARENT = "import os, subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"


def engine_of(written: Callable[[int], bytes], program: str = PARENT) -> tuple[int, int, int]:
    """Return what is found inside of a stand-in for bubblewrap, and its own pid."""
    reading, writing = os.pipe()
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE) as monitor:
        try:
            os.write(writing, written(monitor.pid))
            os.close(writing)
            return (*engine_in(monitor, reading), monitor.pid)
        finally:
            monitor.communicate(b"\n", DEADLINE_SECONDS)
            os.close(reading)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="bubblewrap is for Linux")
def test_the_engine_is_the_child_of_the_first_process_inside() -> None:
    found, group, first = engine_of(lambda pid: b'{\n    "child-pid": %d,\n    "mnt-namespace": 1\n}' % pid)

    assert first == group
    assert found not in (first, os.getpid())


def test_a_sandbox_that_cannot_be_made_names_the_remedy() -> None:
    with pytest.raises(EngineError, match="could not make a sandbox"):
        engine_of(lambda _: b"", "input()")


def test_an_engine_that_has_ended_already_may_be_tried_again() -> None:
    with pytest.raises(ChildProcessError):
        engine_of(lambda pid: b'{"child-pid": %d}' % pid, "pass")

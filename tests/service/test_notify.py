"""What does a service manager hear, and what happens where there is none?"""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from relayd.engine import environment
from relayd.engine.environment import probe_environment
from relayd.service.notify import Notifier, counts, message, microseconds, watchdog_seconds
from tests.daemons import DEADLINE_SECONDS

pytestmark = pytest.mark.system

PID = 4711


@dataclass
class StillClock:
    """A clock that stands."""

    now: float = 12.5

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now


@dataclass
class Ear:
    """A service manager's socket."""

    channel: socket.socket
    address: str

    def heard(self) -> dict[str, str]:
        """Return the fields of the next message."""
        lines = self.channel.recv(4096).decode().splitlines()
        return {name: value for name, _, value in (line.partition("=") for line in lines)}

    def is_silent(self) -> bool:
        self.channel.setblocking(False)
        try:
            self.channel.recv(4096)
        except BlockingIOError:
            return True
        return False


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ear]:
    path = str(tmp_path / "n") if request.param == "path" else f"\0relayd-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.settimeout(DEADLINE_SECONDS)
        channel.bind(path)
        yield Ear(channel, path.replace("\0", "@"))


def notifier(address: str | None, **environ: str) -> Notifier:
    variables = environ if address is None else {"NOTIFY_SOCKET": address, **environ}
    return Notifier(variables, StillClock(), PID)


def play(one: Notifier, seconds: float, *, statuses: Iterator[str]) -> None:
    async def scene() -> None:
        task = asyncio.create_task(one.keep_alive(lambda: next(statuses)))
        await asyncio.wait([task], timeout=seconds)
        task.cancel()

    asyncio.run(scene())


def test_a_message_is_a_line_for_each_field() -> None:
    assert b"READY=1\nSTATUS=all is well" == message(READY=1, STATUS="all is well")


def test_a_value_cannot_become_another_field() -> None:
    assert b"STATUS=a MAINPID=1" == message(STATUS="a\nMAINPID=1")


def test_s74_ready_carries_counts(manager: Ear) -> None:
    notifier(manager.address).ready(counts(1, 2, running=3, waiting=4))

    status = "1 of 2 replicas ready, 3 requests running, 4 waiting"
    assert {"READY": "1", "STATUS": status} == manager.heard()


def test_s74_counts_are_told_when_they_change(manager: Ear) -> None:
    one = notifier(manager.address)
    for text in ("a", "a", "b"):
        one.status(text)

    assert ["a", "b"] == [manager.heard()["STATUS"] for _ in range(2)]
    assert manager.is_silent()


def test_s75_the_loop_shows_twice_an_interval_that_it_turns(manager: Ear) -> None:
    one = notifier(manager.address, WATCHDOG_USEC="200000", WATCHDOG_PID=str(PID))
    moments: list[float] = []

    async def scene() -> None:
        loop, enough = asyncio.get_running_loop(), asyncio.Event()

        def status() -> str:
            moments.append(loop.time())
            if len(moments) == 5:
                enough.set()
            return "same"

        task = asyncio.create_task(one.keep_alive(status))
        await enough.wait()
        task.cancel()

    asyncio.run(scene())

    pauses = [later - earlier for earlier, later in pairwise(moments)]
    assert 0.09 < min(pauses) < 0.2, "half of the interval"
    assert [{"WATCHDOG": "1"}, {"STATUS": "same"}] == [manager.heard() for _ in range(2)]
    assert 4 * [{"WATCHDOG": "1"}] == [manager.heard() for _ in range(4)]


def test_s75_the_first_beat_comes_at_once(manager: Ear) -> None:
    play(notifier(manager.address, WATCHDOG_USEC="30000000"), 0.01, statuses=iter("ab"))

    assert {"WATCHDOG": "1"} == manager.heard()
    assert {"STATUS": "a"} == manager.heard()
    assert manager.is_silent()


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(PID)}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "²"}, None),
        ({}, None),
    ],
)
def test_s75_only_the_watched_process_beats(environ: Mapping[str, str], expected: float | None) -> None:
    assert expected == watchdog_seconds(environ, PID)


def test_s76_the_end_is_announced_with_the_time_it_may_take(manager: Ear) -> None:
    notifier(manager.address).stopping(45.5, open_requests=2)

    assert {
        "STOPPING": "1",
        "EXTEND_TIMEOUT_USEC": "45500000",
        "STATUS": "stopping, 2 requests to finish",
    } == manager.heard()


def test_s76_a_reload_is_announced_with_its_time_and_ends_with_ready(manager: Ear) -> None:
    one = notifier(manager.address)
    one.reloading()
    one.ready("done")

    begin, end = manager.heard(), manager.heard()
    assert ("1", "12500000") == (begin["RELOADING"], begin["MONOTONIC_USEC"])
    assert "1" == end["READY"]


def test_times_are_rounded_up_to_microseconds() -> None:
    assert 1_000_001 == microseconds(1.000_000_1)


@pytest.mark.parametrize(
    "address", [None, "", "@", "relative", "vsock:2:1234", "/nowhere/at/all", f"/{'x' * 200}"]
)
def test_s77_no_manager_means_no_effect(address: str | None) -> None:
    one = notifier(address, WATCHDOG_USEC="20000")
    one.ready("x")
    one.reloading()
    one.stopping(1, open_requests=0)
    play(one, 0.03, statuses=iter("abcdefghij"))


def test_s77_a_dead_manager_means_no_effect(tmp_path: Path) -> None:
    path = tmp_path / "dead"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(path))

    notifier(str(path)).ready("x")


def test_s77_a_manager_that_does_not_listen_holds_nothing_up(tmp_path: Path) -> None:
    path = tmp_path / "deaf"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(path))
        full = Path("/proc/sys/net/unix/max_dgram_qlen")
        number = int(full.read_text()) if full.exists() else 10
        one = notifier(str(path))
        for _ in range(number + 3):
            one.send(WATCHDOG=1)


def test_s77_replicas_and_probes_learn_nothing_of_the_manager() -> None:
    names = "NOTIFY_SOCKET WATCHDOG_USEC WATCHDOG_PID LISTEN_FDS LISTEN_PID LISTEN_FDNAMES".split()
    parent = {"PATH": "/bin", **dict.fromkeys(names, "canary")}
    child = environment(parent, instance="/r", replica="m#0", empty_config_home=Path("/x"))

    assert "canary" not in {*child.values(), *probe_environment(parent).values()}


def test_s77_no_descriptor_stays_open(manager: Ear) -> None:
    script = (
        "import os; from relayd.clock import SystemClock; from relayd.service import Notifier\n"
        "before = os.listdir('/dev/fd'); Notifier(os.environ, SystemClock()).ready('x')\n"
        "assert before == os.listdir('/dev/fd')"
    )
    subprocess.run(
        [sys.executable, "-c", script], check=True, env={"NOTIFY_SOCKET": manager.address}, timeout=30
    )

    assert "1" == manager.heard()["READY"]

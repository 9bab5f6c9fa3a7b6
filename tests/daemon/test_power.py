"""Is a node woken as configured, within a bound, and does an idle machine go to sleep?"""

import asyncio
import sys
from pathlib import Path

import pytest

from relayd.clock import SystemClock
from relayd.config.schema import PowerSettings
from relayd.daemon.power import IdleSleep, magic_packet, wake
from relayd.errors import DaemonError, UsageError

pytestmark = [pytest.mark.system, pytest.mark.usefixtures("runner")]


class SetClock:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now


def writing(path: Path) -> tuple[str, ...]:
    """Return a command that writes its last argument to a file."""
    return (sys.executable, "-c", f"import sys; open({str(path)!r}, 'a').write(sys.argv[-1] + ' ')")


def test_a_magic_packet_has_the_address_sixteen_times() -> None:
    packet = magic_packet("aa:bb:cc:dd:ee:0f")
    assert (102, b"\xff" * 6, bytes.fromhex("aabbccddee0f")) == (len(packet), packet[:6], packet[-6:])
    assert packet == magic_packet("AA-BB-CC-DD-EE-0F")


async def test_a_command_wakes_a_node_by_its_name(tmp_path: Path) -> None:
    woken = tmp_path / "woken"
    settings = PowerSettings(wake_command=writing(woken))
    await wake("box1", settings, woken.exists, SystemClock(), look_seconds=0.01)
    assert "box1 " == woken.read_text()


async def test_a_node_that_is_there_is_not_woken(tmp_path: Path) -> None:
    settings = PowerSettings(wake_command=writing(tmp_path / "woken"))
    await wake("box1", settings, lambda: True, SystemClock())
    assert not (tmp_path / "woken").exists()


async def test_a_node_that_does_not_come_is_given_up_in_time(tmp_path: Path) -> None:
    settings = PowerSettings(wake_command=writing(tmp_path / "woken"), wake_seconds=0.05)
    with pytest.raises(DaemonError, match=r"within 0\.05 s"):
        await wake("box1", settings, lambda: False, SystemClock(), look_seconds=0.01)


@pytest.mark.parametrize(
    "command", [(), ("/no/such/program",), (sys.executable, "-c", "raise SystemExit(3)")]
)
async def test_what_cannot_wake_a_node_is_named(command: tuple[str, ...]) -> None:
    with pytest.raises((UsageError, DaemonError)) as failed:
        await wake("box1", PowerSettings(wake_command=command), lambda: False, SystemClock())
    assert ("[power]" in failed.value.remedy) is not bool(command)
    assert (command[0] if command else "box1") in failed.value.message


async def test_a_machine_sleeps_after_idle_minutes_and_not_while_a_request_runs(tmp_path: Path) -> None:
    slept, clock, busy = tmp_path / "slept", SetClock(), [True]
    settings = PowerSettings(suspend_minutes=10, suspend_command=(*writing(slept), "once"))
    sleep = IdleSleep(lambda: settings, lambda: busy[0], clock)
    for minutes, is_busy, times in (
        (30, True, 0),
        (9, False, 0),
        (1, False, 1),
        (9, False, 1),
        (2, False, 2),
    ):
        busy[0] = is_busy
        clock.now += 60 * minutes
        await sleep.look()
        assert times == (len(slept.read_text().split()) if slept.exists() else 0)


async def test_a_machine_stays_awake_by_default() -> None:
    clock = SetClock()
    sleep = IdleSleep(PowerSettings, lambda: False, clock)
    clock.now = 1e6
    async with asyncio.timeout(5):
        await sleep.look()

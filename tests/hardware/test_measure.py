"""How RAM bandwidth is measured and remembered."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from relayd.clock import SystemClock
from relayd.hardware.machine import Bandwidth, Cpu, Machine, Memory
from relayd.hardware.measure import RETRY_SECONDS, is_due, measured, read_ram, remembered
from relayd.units import GIB, MIB, Bytes

pytestmark = pytest.mark.system

MACHINE = Machine("linux", "x86_64", Cpu("Ryzen", 1, 2, 1), Memory(Bytes(4 * GIB), Bytes(GIB)))


class Jumps:
    """A clock that takes a step at every look: fills and windows end after few passes."""

    def __init__(self, step_seconds: float) -> None:
        self.now = 0.0
        self._step = step_seconds

    def monotonic(self) -> float:
        self.now += self._step
        return self.now

    def working(self, share: float = 1.0) -> Callable[[], float]:
        """Return the time for which a thread had a core, when it has one for a share of this clock's."""
        return lambda: self.now * share

    def wall(self) -> float:
        raise AssertionError("durations are monotonic")


def test_bytes_read_are_divided_by_the_time_they_took() -> None:
    clock = Jumps(0.5)
    found = read_ram(1, Bytes(8 * MIB), clock, clock.working())
    assert found.undisturbed
    assert 8 * MIB / 0.5 / 1e9 == pytest.approx(found.gb_s)


def test_little_ram_is_read_in_little_pieces() -> None:
    clock = Jumps(0.5)
    assert 4 * MIB / 0.5 / 1e9 == pytest.approx(read_ram(1, Bytes(100), clock, clock.working()).gb_s)


def test_a_thread_that_waits_for_its_core_is_timed_while_it_has_one() -> None:
    clock = Jumps(0.5)
    found = read_ram(1, Bytes(8 * MIB), clock, clock.working(0.2))
    assert not found.undisturbed
    assert 8 * MIB / 0.1 / 1e9 == pytest.approx(found.gb_s)


def test_a_reading_goes_on_until_it_was_left_alone() -> None:
    clock = Jumps(0.5)

    assert read_ram(1, Bytes(8 * MIB), clock, lambda: max(0.1 * clock.now, clock.now - 4)).undisturbed


def test_this_machine_reads_at_a_plausible_rate() -> None:
    assert 0.1 < read_ram(2, Bytes(64 * MIB), SystemClock()).gb_s < 5000


def test_a_measurement_is_remembered_for_this_machine_alone(tmp_path: Path) -> None:
    found = measured(MACHINE, tmp_path / "cache", Jumps(0.5)).ram_bandwidth

    assert found is not None
    assert "measured" == found.basis
    assert found == remembered(MACHINE, tmp_path / "cache").ram_bandwidth
    larger = replace(MACHINE, memory=Memory(Bytes(8 * GIB), Bytes(GIB)))
    assert remembered(larger, tmp_path / "cache").ram_bandwidth is None


def reading(folder: Path, step_seconds: float, share: float = 1.0) -> Bandwidth:
    """Return what is measured with a clock, by threads that have a core for a share of the time."""
    clock = Jumps(step_seconds)
    found = measured(MACHINE, folder, clock, load=quiet, working=clock.working(share)).ram_bandwidth
    assert found is not None
    return found


def test_a_slower_moment_does_not_replace_what_was_faster(tmp_path: Path) -> None:
    assert reading(tmp_path, 0.01) == reading(tmp_path, 1.0)


def test_a_disturbed_reading_never_replaces_an_undisturbed_one(tmp_path: Path) -> None:
    alone = reading(tmp_path, 1.0)

    assert alone == reading(tmp_path, 1.0, share=0.1)
    assert not alone.disturbed


def test_what_was_measured_on_a_busy_machine_is_measured_again(tmp_path: Path) -> None:
    assert is_due(MACHINE, tmp_path, SystemClock())
    beside = reading(tmp_path, 1.0, share=0.1)
    assert beside.disturbed
    assert not is_due(MACHINE, tmp_path, SystemClock())
    grow_old(tmp_path)
    assert is_due(MACHINE, tmp_path, SystemClock())
    assert beside == remembered(MACHINE, tmp_path).ram_bandwidth
    assert not reading(tmp_path, 1.0).disturbed
    assert not is_due(MACHINE, tmp_path, SystemClock())


def test_what_was_measured_under_a_high_load_is_measured_again(tmp_path: Path) -> None:
    clock, load = Jumps(1.0), (float(MACHINE.cpu.usable_cores), 0.0, 0.0)
    measured(MACHINE, tmp_path, clock, load=lambda: load, working=clock.working())
    grow_old(tmp_path)

    assert is_due(MACHINE, tmp_path, SystemClock())


def grow_old(folder: Path) -> None:
    """Make what is remembered as old as is needed for another try."""
    (file,) = folder.iterdir()
    then = file.stat().st_mtime - RETRY_SECONDS
    os.utime(file, (then, then))


def quiet() -> tuple[float, float, float]:
    """Return the load of a machine on which nothing else runs."""
    return (0.1, 0.1, 0.1)


@pytest.mark.parametrize("damage", ["", "{}", '{"machine": "another", "gb_s": 9.0}'])
def test_a_damaged_memory_is_no_measurement(tmp_path: Path, damage: str) -> None:
    measured(MACHINE, tmp_path, Jumps(0.5))
    (file,) = tmp_path.iterdir()
    assert json.loads(file.read_text())
    file.write_text(damage)

    assert MACHINE == remembered(MACHINE, tmp_path)


def test_a_cache_that_cannot_be_written_costs_nothing_but_the_next_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    assert measured(MACHINE, tmp_path / "file", Jumps(0.5)).ram_bandwidth

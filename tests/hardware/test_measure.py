"""How RAM bandwidth is measured and remembered."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from relayd.clock import SystemClock
from relayd.hardware.machine import Cpu, Machine, Memory
from relayd.hardware.measure import is_due, measured, read_gb_s, remembered
from relayd.units import GIB, MIB, Bytes

pytestmark = pytest.mark.system

MACHINE = Machine("linux", "x86_64", Cpu("Ryzen", 1, 2, 1), Memory(Bytes(4 * GIB), Bytes(GIB)))


class Jumps:
    """A clock that takes a step at every look: fills and windows end after few passes."""

    def __init__(self, step_seconds: float) -> None:
        self._now = 0.0
        self._step = step_seconds

    def monotonic(self) -> float:
        self._now += self._step
        return self._now

    def wall(self) -> float:
        raise AssertionError("durations are monotonic")


def test_bytes_read_are_divided_by_the_time_they_took() -> None:
    assert 8 * MIB / 0.5 / 1e9 == pytest.approx(read_gb_s(1, Bytes(8 * MIB), Jumps(0.5)))


def test_little_ram_is_read_in_little_pieces() -> None:
    assert 4 * MIB / 0.5 / 1e9 == pytest.approx(read_gb_s(1, Bytes(100), Jumps(0.5)))


def test_this_machine_reads_at_a_plausible_rate() -> None:
    assert 0.1 < read_gb_s(2, Bytes(64 * MIB), SystemClock()) < 5000


def test_a_measurement_is_remembered_for_this_machine_alone(tmp_path: Path) -> None:
    found = measured(MACHINE, tmp_path / "cache", Jumps(0.5)).ram_bandwidth

    assert found is not None
    assert "measured" == found.basis
    assert found == remembered(MACHINE, tmp_path / "cache").ram_bandwidth
    larger = replace(MACHINE, memory=Memory(Bytes(8 * GIB), Bytes(GIB)))
    assert remembered(larger, tmp_path / "cache").ram_bandwidth is None


def test_a_busy_moment_does_not_replace_what_was_faster(tmp_path: Path) -> None:
    quiet = measured(MACHINE, tmp_path, Jumps(0.01)).ram_bandwidth
    busy = measured(MACHINE, tmp_path, Jumps(1.0)).ram_bandwidth

    assert quiet == busy


def test_what_was_measured_on_a_busy_machine_is_measured_again(tmp_path: Path) -> None:
    cores = MACHINE.cpu.usable_cores

    assert is_due(MACHINE, tmp_path)
    slow = measured(MACHINE, tmp_path, Jumps(1.0), load=lambda: (cores, 0.0, 0.0)).ram_bandwidth
    assert is_due(MACHINE, tmp_path)
    assert slow == remembered(MACHINE, tmp_path).ram_bandwidth
    measured(MACHINE, tmp_path, Jumps(1.0), load=lambda: (0.1, 0.0, 0.0))
    assert not is_due(MACHINE, tmp_path)


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

"""When a replica that has work gets nowhere, and when it only looks so."""

import pytest

from relayd.supervisor.stall import StallWatch

pytestmark = pytest.mark.pure


def test_counters_that_stand_still_without_cpu_are_a_hang() -> None:
    watch = StallWatch(120)

    assert None is watch.observe(0, (5, 100), cpu_seconds=500.0)
    assert None is watch.observe(119, (5, 100), cpu_seconds=500.1)
    assert 121 == watch.observe(121, (5, 100), cpu_seconds=500.2)


def test_any_counter_that_moves_is_progress() -> None:
    watch = StallWatch(120)

    for minute in range(60):
        assert None is watch.observe(60.0 * minute, (5, 100 + minute), cpu_seconds=1.0)


def test_a_long_batch_that_burns_cpu_gets_ten_times_as_long() -> None:
    watch = StallWatch(120)
    watch.observe(0, (5, 100), cpu_seconds=0)

    assert None is watch.observe(1199, (5, 100), cpu_seconds=1190)
    assert 1201 == watch.observe(1201, (5, 100), cpu_seconds=1190)


def test_a_replica_without_work_does_not_hang() -> None:
    watch = StallWatch(120)
    watch.observe(0, (5, 100), cpu_seconds=0)

    assert None is watch.observe(100, None, cpu_seconds=0)
    assert None is watch.observe(500, None, cpu_seconds=0)
    assert None is watch.observe(505, (5, 100), cpu_seconds=0), "new work starts the count anew"
    assert 130 == watch.observe(635, (5, 100), cpu_seconds=0)

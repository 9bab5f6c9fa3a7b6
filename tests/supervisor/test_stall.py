"""When a replica that has work gets nowhere, and when it only looks so."""

import pytest

from relayd.supervisor.stall import NO_ANSWER, Look, StallWatch

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


def test_an_engine_that_does_not_answer_about_its_work_gets_nowhere_however_busy() -> None:
    """As b11434 while its inference thread matches a grammar of 200,000 values."""
    watch = StallWatch(120)
    watch.observe(0, (5, 100), cpu_seconds=0)

    assert None is watch.observe(60, NO_ANSWER, cpu_seconds=60)
    assert 121 == watch.observe(121, NO_ANSWER, cpu_seconds=121)


def test_an_answer_that_comes_after_all_is_progress_if_it_differs() -> None:
    watch = StallWatch(120)
    watch.observe(0, NO_ANSWER, cpu_seconds=0)

    assert 130 == watch.observe(130, NO_ANSWER, cpu_seconds=130)
    assert None is watch.observe(131, (5, 100), cpu_seconds=131)


BEFORE = Look(5, 0.1, cpu_seconds=10.0, at=100.0)


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (Look(5, 0.1, 12.0, 102.0), True),
        (Look(6, 0.1, 12.0, 102.0), False),
        (Look(5, 0.1, 10.0, 102.0), False),
        (Look(None, 0.0, 12.0, 102.0), False),
    ],
    ids=["stuck", "decoding", "idle", "silent now"],
)
def test_a_thread_stands_still_that_burns_cpu_and_decodes_nothing(now: Look, expected: bool) -> None:
    assert expected is now.stands_still(BEFORE)


def test_a_thread_that_is_silent_twice_stands_still() -> None:
    assert Look(None, 0.0, 12.0, 102.0).stands_still(Look(None, 0.0, 10.0, 100.0))

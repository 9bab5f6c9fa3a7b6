"""A replica that drains for good has nothing wait for it; one that comes back has."""

import pytest

from relayd.scheduler import (
    AttemptFailed,
    Draining,
    Event,
    Expected,
    Finished,
    Idle,
    Refusal,
    Scheduler,
)
from tests.scheduler.script import arrived, placed, play, ready, refused

pytestmark = pytest.mark.pure


def test_what_waits_for_a_replica_that_drains_for_good_is_refused_at_once() -> None:
    scheduler = Scheduler(depth=4)
    play(scheduler, ready("m#0"), arrived(1), arrived(2))

    assert [(2, Refusal.UNAVAILABLE)] == refused(play(scheduler, Draining("m#0", "m#0 is stopped")))
    assert [(3, Refusal.UNAVAILABLE)] == refused(play(scheduler, arrived(3)))
    assert [Idle("m#0")] == play(scheduler, Finished(1))


def test_what_waits_for_a_replica_that_drains_for_good_runs_on_another() -> None:
    scheduler = Scheduler(depth=4)
    play(scheduler, ready("m#0"), ready("m#1"), *map(arrived, (1, 2, 3)))

    assert [] == play(scheduler, Draining("m#0", "m#0 is stopped"))
    assert [(3, "m#1")] == placed(play(scheduler, Finished(2)))


def test_an_attempt_that_fails_as_its_model_drains_for_good_is_not_repeated() -> None:
    scheduler = Scheduler(depth=4)
    play(scheduler, ready("m#0"), arrived(1), Draining("m#0", "m#0 is stopped"))

    assert [(1, Refusal.UNAVAILABLE)] == refused(play(scheduler, AttemptFailed(1)))


@pytest.mark.parametrize("again", [Draining("m#0"), ready("m#0"), Expected("m#0", "m")])
def test_requests_wait_again_for_a_replica_that_is_to_come_back_after_all(again: Event) -> None:
    scheduler = Scheduler(depth=4)
    play(scheduler, ready("m#0"), arrived(1), Draining("m#0", "m#0 is stopped"), again)

    assert [] == refused(play(scheduler, arrived(2)))

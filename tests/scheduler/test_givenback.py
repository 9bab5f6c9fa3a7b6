"""What becomes of a request that gives its slots to a more urgent one?"""

import pytest

from relayd.scheduler import (
    Abandoned,
    Arrived,
    Ask,
    AttemptFailed,
    Finished,
    GivenBack,
    Refusal,
    Scheduler,
    Tick,
    Ticket,
)
from tests.scheduler.script import arrived, placed, play, ready, refused

pytestmark = pytest.mark.pure


def urgent(ticket_id: int) -> Arrived:
    return Arrived(Ticket(ticket_id, Ask("m", klass="interactive", deadline=100.0)))


def test_a_request_that_gives_its_slot_back_runs_again_behind_the_more_urgent_one() -> None:
    scheduler = Scheduler(depth=9)
    play(scheduler, ready("m#0"), arrived(1), arrived(2), urgent(3))

    assert [(3, "m#0")] == placed(play(scheduler, GivenBack(1, 50.0)))
    assert [(1, "m#0")] == placed(play(scheduler, Finished(3)))
    assert [(2, "m#0")] == placed(play(scheduler, Finished(1)))


def test_what_gave_its_slot_back_has_failed_nowhere_and_may_still_fail_as_often() -> None:
    scheduler = Scheduler(depth=9, attempts=2)
    play(scheduler, ready("m#0"), arrived(1))
    for _ in range(5):
        assert [(1, "m#0")] == placed(play(scheduler, GivenBack(1)))
    first = play(scheduler, AttemptFailed(1), now=10.0) + play(scheduler, Tick(), now=12.0)
    second = play(scheduler, AttemptFailed(1), now=20.0)

    assert [[], [(1, Refusal.ATTEMPTS_SPENT)]] == [refused(first), refused(second)]


def test_a_slot_that_was_given_back_is_taken_only_when_the_replica_is_done_with_it() -> None:
    scheduler = Scheduler(depth=9)
    play(scheduler, ready("m#0"), arrived(1), urgent(2))

    assert [] == placed(play(scheduler, Abandoned(1, 90), GivenBack(1)))
    assert [(2, "m#0")] == placed(play(scheduler, Finished(90)))


def test_what_gives_its_slot_back_waits_until_its_own_deadline() -> None:
    scheduler = Scheduler(depth=9)
    play(scheduler, ready("m#0"), arrived(1), urgent(2), GivenBack(1, 5.0))

    assert [(1, Refusal.TIMED_OUT)] == refused(play(scheduler, Tick(), now=6.0))
    assert [] == play(scheduler, GivenBack(1), GivenBack(77))

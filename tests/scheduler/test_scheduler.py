"""Which ticket runs where: orders, limits, retries and refusals."""

import math

import pytest

from relayd.scheduler import (
    Abandoned,
    Ask,
    AttemptFailed,
    Cleared,
    Draining,
    Ended,
    Event,
    Exchange,
    Expected,
    Finished,
    Gone,
    Idle,
    Lost,
    Refusal,
    Refuse,
    Scheduler,
    Tick,
)
from tests.scheduler.script import arrived, inherited, placed, play, ready, refused

pytestmark = pytest.mark.pure


def test_a_ticket_runs_at_once_on_a_free_slot() -> None:
    effects = play(Scheduler(depth=4), ready("m#0"), arrived(1))

    assert [(1, "m#0")] == placed(effects)


def test_a_replica_never_gets_more_work_than_slots() -> None:
    effects = play(Scheduler(depth=4), ready("m#0", slots=2), arrived(1), arrived(2), arrived(3))

    assert [(1, "m#0"), (2, "m#0")] == placed(effects)


def test_waiting_tickets_run_in_the_order_they_came() -> None:
    scheduler = Scheduler(depth=4)
    play(scheduler, ready("m#0"), arrived(1), arrived(2), arrived(3))

    assert [(2, "m#0"), (3, "m#0")] == placed(play(scheduler, Finished(1), Finished(2)))


def test_the_least_busy_replica_is_chosen_and_equals_take_turns() -> None:
    scheduler = Scheduler(depth=4)
    effects = play(scheduler, ready("m#0", slots=4), ready("m#1", slots=4), *map(arrived, (1, 2, 3, 4)))

    assert ["m#0", "m#1", "m#0", "m#1"] == [replica for _, replica in placed(effects)]


def test_busy_is_measured_in_shares_of_a_replicas_slots() -> None:
    scheduler = Scheduler(depth=4)
    effects = play(scheduler, ready("m#0", slots=2), ready("m#1", slots=8), *map(arrived, (1, 2, 3)))

    assert ["m#0", "m#1", "m#1"] == [replica for _, replica in placed(effects)]


def test_a_wide_ticket_takes_as_many_slots_as_it_is_wide() -> None:
    scheduler = Scheduler(depth=4)
    effects = play(scheduler, ready("m#0", slots=4), arrived(1, width=3), arrived(2, width=2), arrived(3))

    assert [(1, "m#0")] == placed(effects)
    assert [(2, "m#0"), (3, "m#0")] == placed(play(scheduler, Finished(1)))


def test_a_ticket_wider_than_a_replica_runs_alone_on_it() -> None:
    scheduler = Scheduler(depth=4)
    play(scheduler, ready("m#0", slots=2), arrived(1), arrived(2, width=9), arrived(3))

    assert [(2, "m#0")] == placed(play(scheduler, Finished(1)))
    assert [(3, "m#0")] == placed(play(scheduler, Finished(2)))


def test_a_full_queue_refuses_and_says_when_to_come_back() -> None:
    scheduler = Scheduler(depth=1)
    effects = play(scheduler, ready("m#0"), arrived(1), arrived(2), arrived(3))

    assert [(3, Refusal.QUEUE_FULL)] == refused(effects)
    assert isinstance(effects[-1], Refuse)
    assert effects[-1].retry_after_seconds is not None
    assert effects[-1].retry_after_seconds >= 1


def test_a_free_slot_is_used_even_when_the_queue_may_hold_nothing() -> None:
    scheduler = Scheduler(depth=0)

    assert [(1, Refusal.QUEUE_FULL)] == refused(play(scheduler, Expected("m#0", "m"), arrived(1)))
    assert [(2, "m#0")] == placed(play(scheduler, ready("m#0"), arrived(2)))


def test_a_ticket_waits_while_a_replica_is_on_its_way() -> None:
    scheduler = Scheduler(depth=4)

    assert [] == play(scheduler, Expected("m#0", "m"), arrived(1))
    assert [(1, "m#0")] == placed(play(scheduler, ready("m#0")))


def test_a_ticket_past_its_deadline_is_refused_and_leaves_the_queue() -> None:
    scheduler = Scheduler(depth=4)
    play(scheduler, ready("m#0"), arrived(1), arrived(2, deadline=5), arrived(3))

    assert 5 == scheduler.tick_due
    assert [(2, Refusal.TIMED_OUT)] == refused(play(scheduler, Tick(), now=5.0))
    assert [(3, "m#0")] == placed(play(scheduler, Finished(1), now=6.0))


def test_no_tick_is_due_while_nobody_waits() -> None:
    scheduler = Scheduler(depth=4)

    assert math.inf == scheduler.tick_due
    play(scheduler, ready("m#0"), arrived(1), Tick())
    assert math.inf == scheduler.tick_due


def test_a_model_that_cannot_come_refuses_with_its_reason() -> None:
    scheduler = Scheduler(depth=4)
    effects = play(scheduler, Expected("m#0", "m"), arrived(1), Gone("m#0", "out of memory"), arrived(2))

    assert [(1, Refusal.UNAVAILABLE), (2, Refusal.UNAVAILABLE)] == refused(effects)
    assert all("out of memory" in each.reason for each in effects if isinstance(each, Refuse))


@pytest.mark.parametrize("ready_first", [True, False])
def test_what_runs_since_an_earlier_daemon_holds_its_slots_until_it_ends(ready_first: bool) -> None:
    scheduler = Scheduler(depth=4)
    told: list[Event] = [ready("m#0", slots=2), inherited(1, "m#0", slots=2), inherited(2, "m#0", slots=2)]
    play(scheduler, Expected("m#0", "m"), *(told if ready_first else told[::-1]))

    assert [] == play(scheduler, arrived(3))
    assert [(3, "m#0")] == placed(play(scheduler, Finished(1)))


def test_what_runs_on_a_process_that_is_not_ours_holds_no_slot_of_ours() -> None:
    scheduler = Scheduler(depth=4)
    play(scheduler, ready("m#0", incarnation=2), inherited(1, "m#0"), inherited(2, "gone#0"))

    assert [(3, "m#0")] == placed(play(scheduler, arrived(3)))
    assert [] == play(scheduler, Finished(1), Finished(2))


def test_what_an_earlier_daemon_returns_runs_elsewhere() -> None:
    scheduler = Scheduler(depth=4)
    play(scheduler, Expected("m#0", "m"), inherited(1, "m#0"), ready("m#1"))

    assert [(1, "m#1")] == placed(play(scheduler, AttemptFailed(1)))


def test_a_replica_that_drains_waits_for_what_runs_since_an_earlier_daemon() -> None:
    scheduler = Scheduler(depth=4)
    play(scheduler, ready("m#0"), inherited(1, "m#0"))

    assert [] == play(scheduler, Draining("m#0"))
    assert [Idle("m#0")] == play(scheduler, Finished(1))


def test_an_heir_is_told_what_runs_and_what_waits_in_the_order_they_came() -> None:
    scheduler = Scheduler(depth=4)
    play(
        scheduler,
        ready("m#0", slots=2),
        ready("n#0"),
        arrived(1),
        arrived(2, "n"),
        arrived(3),
        arrived(4, "n"),
    )
    play(scheduler, arrived(5))

    assert [(1, "m#0", 2), (2, "n#0", 1), (3, "m#0", 2)] == [
        (one.ticket.id, one.endpoint.replica, one.slots) for one in scheduler.running()
    ]
    assert [4, 5] == [ticket.id for ticket in scheduler.waiting()]


def test_a_returned_ticket_runs_elsewhere_and_before_those_that_came_later() -> None:
    scheduler = Scheduler(depth=4)
    play(scheduler, ready("m#0"), ready("m#1"), *map(arrived, (1, 2, 3, 4)), AttemptFailed(1))

    assert [(1, "m#1")] == placed(play(scheduler, Finished(2)))
    assert [(4, "m#0")] == placed(play(scheduler, Finished(3)))


def test_a_returned_ticket_holds_nobody_back_from_where_it_failed() -> None:
    scheduler = Scheduler(depth=4, avoid_seconds=1.0)
    play(scheduler, ready("m#0"), arrived(1), arrived(2), arrived(3))

    assert [(2, "m#0")] == placed(play(scheduler, AttemptFailed(1), now=10.0))
    assert [(3, "m#0")] == placed(play(scheduler, Finished(2), now=10.5))
    assert [(1, "m#0")] == placed(play(scheduler, Finished(3), now=11.0))


def test_what_a_returned_ticket_waits_for_is_kept_for_it() -> None:
    scheduler = Scheduler(depth=9)
    play(scheduler, ready("m#0", slots=2), ready("m#1", slots=2), arrived(1, width=2), arrived(2), arrived(3))
    play(scheduler, AttemptFailed(1), arrived(4), arrived(5), arrived(6))

    assert [] == play(scheduler, Finished(2))
    assert [(1, "m#1")] == placed(play(scheduler, Finished(3)))


def test_nothing_runs_on_an_ended_incarnation_that_a_ticket_stays_away_from() -> None:
    scheduler = Scheduler(depth=4)
    play(scheduler, ready("m#0"), arrived(1), arrived(2, width=2), Lost("m#0"))

    assert [] == play(scheduler, AttemptFailed(1))


def test_a_returned_ticket_stays_away_from_where_it_failed_for_a_while() -> None:
    scheduler = Scheduler(depth=4, avoid_seconds=1.0)
    play(scheduler, ready("m#0"), arrived(1))

    assert [] == play(scheduler, AttemptFailed(1), now=10.0)
    assert 11.0 == scheduler.tick_due
    assert [(1, "m#0")] == placed(play(scheduler, Tick(), now=11.0))


def test_a_returned_ticket_takes_a_new_incarnation_at_once() -> None:
    scheduler = Scheduler(depth=4)
    play(scheduler, ready("m#0"), arrived(1), AttemptFailed(1), Lost("m#0"))

    assert [(1, "m#0")] == placed(play(scheduler, ready("m#0", incarnation=2)))


def test_slots_stay_taken_until_the_replica_is_done_with_what_was_left() -> None:
    scheduler = Scheduler(depth=4)
    play(scheduler, ready("m#0", slots=2), arrived(1, width=2), arrived(2), Abandoned(1, 9))

    assert [] == play(scheduler, Finished(1))
    assert 1 == scheduler.running_on("m#0")
    assert [(9, "m#0")] == [(one.ticket.id, one.endpoint.replica) for one in scheduler.running()]
    assert [(2, "m#0")] == placed(play(scheduler, Finished(9)))


def test_a_request_that_left_one_replica_unfinished_runs_on_another() -> None:
    scheduler = Scheduler(depth=4)
    play(scheduler, ready("m#0"), ready("m#1"), arrived(1), Abandoned(1, 9))

    assert [(1, "m#1")] == placed(play(scheduler, AttemptFailed(1)))
    assert [1, 1] == [scheduler.running_on(replica) for replica in ("m#0", "m#1")]


def test_a_replica_drains_until_it_is_done_with_what_was_left() -> None:
    scheduler = Scheduler(depth=4)
    play(scheduler, ready("m#0"), arrived(1), Draining("m#0"))

    assert [] == play(scheduler, Abandoned(1, 9), Finished(1))
    assert [Idle("m#0")] == play(scheduler, Finished(9))


def test_the_end_of_an_old_incarnations_work_is_not_the_end_of_the_new_ones() -> None:
    scheduler = Scheduler(depth=4)
    play(scheduler, ready("m#0"), arrived(1), Draining("m#0"), Lost("m#0"), ready("m#0", incarnation=2))
    play(scheduler, arrived(2), Draining("m#0"))

    assert [] == play(scheduler, Finished(1))
    assert [Idle("m#0")] == play(scheduler, Finished(2))


def suspected(scheduler: Scheduler, *tickets: int) -> None:
    """Have one incarnation hang up on tickets that ran there together."""
    play(scheduler, ready("m#0", slots=4), *map(arrived, tickets), Lost("m#0"))
    play(scheduler, *(AttemptFailed(ticket, hung_up=True) for ticket in tickets))


def test_two_requests_that_a_replica_hung_up_on_run_on_no_replica_together() -> None:
    scheduler = Scheduler(depth=4)
    suspected(scheduler, 1, 2)

    assert [(1, "m#0"), (3, "m#0")] == placed(
        play(scheduler, arrived(3), ready("m#0", slots=4, incarnation=2))
    )
    assert [(2, "m#1")] == placed(play(scheduler, ready("m#1", slots=4)))


def test_a_suspect_runs_when_the_other_one_is_done_or_was_not_the_cause() -> None:
    scheduler = Scheduler(depth=9)
    suspected(scheduler, 1, 2, 3)
    play(scheduler, ready("m#0", slots=4, incarnation=2))

    assert [(2, "m#0")] == placed(play(scheduler, Finished(1)))
    assert [(3, "m#0")] == placed(play(scheduler, Cleared(3)))
    assert [] == play(scheduler, Cleared(99))


def test_a_suspect_whose_client_left_keeps_others_away_until_the_replica_is_done() -> None:
    scheduler = Scheduler(depth=9)
    suspected(scheduler, 1, 2)
    play(scheduler, ready("m#0", slots=4, incarnation=2), Abandoned(1, 9))

    assert [] == play(scheduler, Finished(1))
    assert [(2, "m#0")] == placed(play(scheduler, Finished(9)))


def test_nothing_is_left_of_a_ticket_that_does_not_run() -> None:
    scheduler = Scheduler(depth=4)

    assert [] == play(scheduler, ready("m#0"), Abandoned(1, 9), Finished(9))
    assert [] == scheduler.running()


def test_a_ticket_is_refused_after_its_attempts() -> None:
    scheduler = Scheduler(depth=4, attempts=2)
    play(scheduler, ready("m#0"), ready("m#1"), arrived(1), AttemptFailed(1))

    assert [(1, Refusal.ATTEMPTS_SPENT)] == refused(play(scheduler, AttemptFailed(1)))
    assert 0 == scheduler.load("m").running


def test_work_of_a_dead_incarnation_takes_nothing_from_the_next_one() -> None:
    scheduler = Scheduler(depth=4)
    play(scheduler, ready("m#0"), arrived(1), Lost("m#0"), ready("m#0", incarnation=2), arrived(2))

    assert [] == play(scheduler, arrived(3), Finished(1))
    assert [(3, "m#0")] == placed(play(scheduler, Finished(2)))


def test_a_cancelled_ticket_leaves_the_queue() -> None:
    scheduler = Scheduler(depth=4)
    play(scheduler, ready("m#0"), arrived(1), arrived(2), arrived(3), Finished(2))

    assert [(3, "m#0")] == placed(play(scheduler, Finished(1)))


def test_a_draining_replica_takes_nothing_new_and_says_when_it_is_idle() -> None:
    scheduler = Scheduler(depth=4)
    play(scheduler, ready("m#0"), arrived(1))

    assert [] == play(scheduler, Draining("m#0"), arrived(2))
    assert [Idle("m#0")] == play(scheduler, Finished(1))


def test_an_idle_replica_drains_at_once() -> None:
    scheduler = Scheduler(depth=4)

    assert [Idle("m#0")] == play(scheduler, ready("m#0"), Draining("m#0"))
    assert [Idle("m#9")] == play(scheduler, Draining("m#9"))


def test_a_replica_that_is_well_again_still_counts_what_it_runs() -> None:
    scheduler = Scheduler(depth=4)
    play(scheduler, ready("m#0"), arrived(1), Draining("m#0"), ready("m#0"))

    assert [] == play(scheduler, arrived(2))
    assert [(2, "m#0")] == placed(play(scheduler, Finished(1)))


def test_one_models_queue_does_not_hold_back_another() -> None:
    scheduler = Scheduler(depth=4)
    play(scheduler, ready("a#0"), ready("b#0"), arrived(1, "a"), arrived(2, "a"))

    assert [(3, "b#0")] == placed(play(scheduler, arrived(3, "b")))


def test_an_end_that_is_told_twice_changes_nothing() -> None:
    scheduler = Scheduler(depth=4)
    play(scheduler, ready("m#0"), arrived(1), Finished(1))

    assert [] == play(scheduler, Finished(1), AttemptFailed(1))
    assert 0 == scheduler.load("m").running
    assert [0, 0] == [scheduler.running_on(replica) for replica in ("m#0", "unknown#0")]


def finished(ticket_id: int, ended: Ended) -> Finished:
    return Finished(ticket_id, Exchange(ask=Ask("m"), ended=ended))


def retry_after(scheduler: Scheduler) -> float | None:
    """Return what a request is told that finds the queue full."""
    effects = play(scheduler, arrived(98), arrived(99), now=1000.0)
    assert isinstance(effects[-1], Refuse)
    return effects[-1].retry_after_seconds


@pytest.mark.parametrize("ended", [Ended.CANCELLED, Ended.CUT, Ended.REFUSED])
def test_only_complete_answers_say_how_long_a_request_takes(ended: Ended) -> None:
    scheduler = Scheduler(depth=1)
    play(scheduler, ready("m#0"), arrived(1))
    play(scheduler, finished(1, Ended.DONE), arrived(2), now=40.0)
    play(scheduler, finished(2, ended), arrived(3), now=41.0)

    assert 80.0 == retry_after(scheduler)


def test_an_end_without_an_outcome_teaches_nothing() -> None:
    scheduler = Scheduler(depth=1)
    play(scheduler, ready("m#0"), arrived(1))
    play(scheduler, Finished(1), arrived(2), now=40.0)

    assert 2.0 == retry_after(scheduler)

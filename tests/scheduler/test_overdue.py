"""What happens on a replica that owes the first byte of an answer for too long?"""

import pytest

from relayd.scheduler import (
    Abandoned,
    Answering,
    Arrived,
    Ask,
    AttemptFailed,
    Draining,
    Finished,
    Move,
    Overdue,
    Scheduler,
    Ticket,
)
from tests.scheduler.script import arrived, placed, play, ready

pytestmark = pytest.mark.pure


def stream(ticket_id: int) -> Arrived:
    return Arrived(Ticket(ticket_id, Ask("m", stream=True)))


def test_a_replica_that_owes_a_first_byte_is_passed_over_while_another_is_free() -> None:
    scheduler = Scheduler(depth=4)
    play(scheduler, ready("m#0", slots=4), arrived(1), ready("m#1", slots=4), Overdue(1))

    assert [(2, "m#1"), (3, "m#1")] == placed(play(scheduler, arrived(2), arrived(3)))
    assert [(4, "m#0")] == placed(play(scheduler, Answering(1), arrived(4)))
    assert [(5, "m#1"), (6, "m#1")] == placed(play(scheduler, Overdue(1), arrived(5), arrived(6)))
    assert [(7, "m#0")] == placed(play(scheduler, arrived(7)))


def test_a_stream_that_waits_behind_an_overdue_request_is_moved_once_to_a_free_replica() -> None:
    scheduler = Scheduler(depth=4)
    play(scheduler, ready("m#0", slots=4), arrived(1), stream(2), arrived(3))
    assert [] == play(scheduler, Overdue(1), Overdue(2))

    play(scheduler, ready("m#1", slots=4))
    assert [Move(2)] == play(scheduler, *map(Overdue, (1, 2, 3)))
    assert [(2, "m#1")] == placed(play(scheduler, Abandoned(2, 9), AttemptFailed(2)))
    assert [] == play(scheduler, Overdue(1), Overdue(2), Answering(99), Overdue(99))


def test_the_oldest_overdue_stream_stays_where_it_is_also_when_others_were_moved() -> None:
    scheduler = Scheduler(depth=4)
    play(scheduler, ready("m#0", slots=4), stream(1), stream(2), ready("m#1", slots=4))

    assert [Move(2)] == play(scheduler, Overdue(1), Overdue(2))
    play(scheduler, Abandoned(2, 9), AttemptFailed(2))
    assert [] == play(scheduler, Overdue(1))


@pytest.mark.parametrize("before", [(), (Overdue(1),)], ids=["in time", "overdue"])
def test_a_stream_behind_a_request_that_was_left_and_has_not_ended_is_moved(before: tuple[Overdue]) -> None:
    scheduler = Scheduler(depth=4)
    play(scheduler, ready("m#0", slots=4), stream(1), stream(2), ready("m#1", slots=4))
    play(scheduler, *before, Abandoned(1, 9), Finished(1))

    assert [Move(2)] == play(scheduler, Overdue(2))
    play(scheduler, Finished(9))
    assert [] == play(scheduler, Overdue(2))


def test_no_more_streams_are_moved_than_there_are_free_slots_for() -> None:
    scheduler = Scheduler(depth=4)
    play(scheduler, ready("m#0", slots=4), *map(stream, (1, 2, 3)), ready("m#1", slots=1))

    assert [Move(2)] == play(scheduler, *map(Overdue, (1, 2, 3)))
    assert [Move(2)] == play(scheduler, *map(Overdue, (1, 2, 3)))
    assert [Move(3)] == play(scheduler, Answering(2), Overdue(3))


def test_nothing_is_moved_to_a_replica_that_drains_or_owes_a_first_byte_too() -> None:
    scheduler = Scheduler(depth=4)
    play(scheduler, ready("m#0", slots=4), *map(stream, (1, 2)), ready("m#1", slots=4), stream(3))

    assert [] == play(scheduler, *map(Overdue, (3, 1, 2)))
    assert [] == play(scheduler, Answering(3), Draining("m#1"), Overdue(2))


def test_what_was_left_overdue_keeps_its_replica_from_being_preferred() -> None:
    scheduler = Scheduler(depth=4)
    play(scheduler, ready("m#0", slots=4), arrived(1), Overdue(1), Abandoned(1, 9), Finished(1))
    play(scheduler, ready("m#1", slots=1))

    assert ["m#1"] == [replica for _, replica in placed(play(scheduler, arrived(2)))]
    play(scheduler, Finished(9), Finished(2))
    assert ["m#0", "m#1"] == [replica for _, replica in placed(play(scheduler, arrived(3), arrived(4)))]

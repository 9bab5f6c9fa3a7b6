"""Tickets of one model, in the order they came."""

import pytest

from relayd.scheduler.ask import Ask
from relayd.scheduler.events import Ticket
from relayd.scheduler.queue import Queue
from relayd.scheduler.waiting import Waiting

pytestmark = pytest.mark.pure


def test_a_ticket_that_is_not_here_takes_no_other_with_it() -> None:
    queue = Queue()
    for number in (3, 1):
        queue.add(Waiting(Ticket(number, Ask("m", deadline=100.0))), now=1.0)

    assert [None, None, None] == [queue.remove(number) for number in (0, 2, 4)]
    assert [1, 3] == [waiting.ticket.id for waiting in queue]


def waiting(number: int, deadline: float) -> Waiting:
    return Waiting(Ticket(number, Ask("m", deadline=deadline)))


def test_a_ticket_that_comes_back_takes_its_old_place() -> None:
    queue = Queue()
    for number in (2, 5, 7, 1, 4):
        queue.add(waiting(number, 100.0), now=1.0)

    assert [1, 2, 4, 5, 7] == [one.ticket.id for one in queue]


def test_only_what_is_overdue_is_taken_out_and_what_is_due_next_is_known() -> None:
    queue = Queue()
    for number, deadline in ((1, 30.0), (2, 10.0), (3, 20.0)):
        queue.add(waiting(number, deadline), now=1.0)
    queue.remove(2)

    assert 20.0 == queue.due()
    assert [3] == [one.ticket.id for one in queue.overdue(20.0)]
    assert 30.0 == queue.due()
    assert [] == queue.overdue(29.0)


def test_what_is_remembered_of_tickets_that_have_left_is_bounded() -> None:
    queue = Queue()
    queue.add(waiting(0, 1e9), now=1.0)
    for number in range(1, 2000):
        queue.add(waiting(number, 1e9), now=1.0)
        queue.remove(number)

    assert len(queue._moments) < 100
    assert 1e9 == queue.due()

"""Tickets of one model, in the order they came."""

import pytest

from relayd.scheduler.ask import Ask
from relayd.scheduler.events import Ticket
from relayd.scheduler.queue import Queue, Waiting

pytestmark = pytest.mark.pure


def test_a_ticket_that_is_not_here_takes_no_other_with_it() -> None:
    queue = Queue()
    for number in (3, 1):
        queue.add(Waiting(Ticket(number, Ask("m", deadline=100.0))))

    assert [None, None, None] == [queue.remove(number) for number in (0, 2, 4)]
    assert [1, 3] == [waiting.ticket.id for waiting in queue]

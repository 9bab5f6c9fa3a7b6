"""When is a client asked back: at the rate at which requests leave, once that was seen (Retry-After)?"""

import pytest

from relayd.scheduler import Ask, Ended, Event, Exchange, Finished, Refuse, Scheduler
from relayd.scheduler.service import ServiceTimes
from tests.scheduler.script import arrived, play, ready

pytestmark = pytest.mark.pure


def done(ticket_id: int) -> Event:
    return Finished(ticket_id, Exchange(ask=Ask("m"), ended=Ended.DONE))


def test_a_full_queue_asks_back_at_the_rate_at_which_requests_leave() -> None:
    """Each takes ten seconds, but one leaves every second: their slots are many."""
    scheduler = Scheduler(depth=4)
    play(scheduler, ready("m#0", slots=10), *(arrived(number) for number in range(1, 15)))
    for number in range(1, 5):
        play(scheduler, done(number), now=10.0 + number)
    play(scheduler, *(arrived(number) for number in range(20, 24)), now=15.0)

    (refusal,) = (one for one in play(scheduler, arrived(30), now=15.0) if isinstance(one, Refuse))

    assert 5 * 1.0 == pytest.approx(refusal.retry_after_seconds)


def test_a_rate_is_measured_only_while_requests_wait() -> None:
    times = ServiceTimes()
    times.line_begins("m")
    for now in (10.0, 12.0):
        times.departed("m", now)
    times.line_begins("m")
    for now in (500.0, 502.0):
        times.departed("m", now)

    assert 3 * 2.0 == times.wait_seconds("m", 3, slots=1)


def test_the_wait_follows_the_length_of_requests_until_some_have_left() -> None:
    times = ServiceTimes()
    times.learn("m", 6.0)

    assert 3 * 6.0 / 2 == times.wait_seconds("m", 3, slots=2)
    times.forget("m")
    assert 3 * 1.0 / 2 == times.wait_seconds("m", 3, slots=2)

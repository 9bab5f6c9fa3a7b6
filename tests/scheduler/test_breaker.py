"""A replica that fails is left alone, and tried again with one request."""

import pytest

from relayd.scheduler import AttemptFailed, Ended, Event, Exchange, Finished, Lost, Scheduler, Usage
from relayd.scheduler.ask import Ask
from tests.scheduler.script import arrived, placed, play, ready

pytestmark = pytest.mark.pure


def whole(ticket_id: int) -> Event:
    return Finished(ticket_id, Exchange(ask=Ask("m"), ended=Ended.DONE, usage=Usage(9, 0, 9)))


def failing(*names: str, slots: int = 4, failures: int = 3) -> Scheduler:
    """Return a scheduler whose first replica has failed so many requests in a row, in second 1."""
    scheduler = Scheduler(depth=99, attempts=9)
    play(scheduler, ready(names[0], slots=slots), now=1.0)
    for number in range(1000, 1000 + failures):
        play(scheduler, arrived(number), now=1.0)
        play(scheduler, AttemptFailed(number), Finished(number), now=1.0)
    play(scheduler, *(ready(name, slots=slots) for name in names[1:]), now=1.0)
    return scheduler


def test_a_replica_that_fails_in_a_row_gets_nothing_for_a_while() -> None:
    scheduler = failing("m#0", "m#1")

    assert ["m#1"] * 4 == [where for _, where in placed(play(scheduler, *map(arrived, range(1, 6)), now=1.5))]


def trial(scheduler: Scheduler, now: float) -> int:
    """Return the only one of four requests that a replica is tried with."""
    effects = placed(play(scheduler, *map(arrived, range(1, 5)), now=now))
    found = [ticket for ticket, where in effects if where == "m#0"]
    assert 1 == len(found)
    return found[0]


def test_one_request_tries_it_and_its_answer_brings_it_back() -> None:
    scheduler = failing("m#0", "m#1", slots=8)
    play(scheduler, whole(trial(scheduler, 3.0)), now=3.2)

    assert "m#0" in [where for _, where in placed(play(scheduler, *map(arrived, (5, 6)), now=3.3))]


def test_it_is_left_alone_for_longer_each_time() -> None:
    scheduler = failing("m#0", "m#1", slots=8)
    play(scheduler, AttemptFailed(trial(scheduler, 3.0)), now=3.0)

    assert ["m#1"] * 2 == [where for _, where in placed(play(scheduler, *map(arrived, (5, 6)), now=4.5))]
    assert "m#0" in [where for _, where in placed(play(scheduler, *map(arrived, (7, 8)), now=5.5))]


def test_two_failures_are_not_enough() -> None:
    scheduler = failing("m#0", "m#1", failures=2)

    assert {"m#0", "m#1"} == {where for _, where in placed(play(scheduler, *map(arrived, (1, 2)), now=1.5))}


def test_the_last_replica_of_a_model_is_never_left_alone() -> None:
    scheduler = failing("m#0")

    assert [(1, "m#0")] == placed(play(scheduler, arrived(1), now=1.5))


def test_a_replica_that_becomes_the_last_one_is_used_at_once() -> None:
    scheduler = failing("m#0", "m#1")
    play(scheduler, Lost("m#1"), now=1.4)

    assert [(1, "m#0")] == placed(play(scheduler, arrived(1), now=1.5))


def test_a_new_incarnation_begins_anew() -> None:
    scheduler = failing("m#0", "m#1")
    play(scheduler, Lost("m#0"), ready("m#0", slots=4, incarnation=2), now=1.2)

    assert {"m#0", "m#1"} == {where for _, where in placed(play(scheduler, *map(arrived, (1, 2)), now=1.5))}
    assert "0 failing" in repr(scheduler._running._breaker)

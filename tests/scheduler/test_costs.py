"""What costs less goes first, and a request waits for it as long as the difference is worth."""

import pytest

from relayd.scheduler import AttemptFailed, Expected, Finished, Lost, Paused, Ready, Scheduler, Tick
from tests.scheduler.script import arrived, endpoint, placed, play

pytestmark = pytest.mark.pure


def offered(replica: str, cost: float, slots: int = 1, weight: float = 1.0) -> Ready:
    return Ready(replica, "m", slots, endpoint(replica), None, cost, weight)


def test_a_replica_of_ours_goes_before_a_server_elsewhere() -> None:
    scheduler = Scheduler(depth=9)
    play(scheduler, offered("m@a", 0.001, slots=2), offered("m#0", 0.0))
    assert [(1, "m#0"), (2, "m@a")] == placed(play(scheduler, arrived(1), arrived(2)))


def test_the_cheaper_of_two_servers_elsewhere_goes_first() -> None:
    scheduler = Scheduler(depth=9)
    play(scheduler, offered("m@dear", 5.0), offered("m@cheap", 1.0))
    assert [(1, "m@cheap")] == placed(play(scheduler, arrived(1)))


def test_servers_whose_costs_are_nearly_the_same_share_the_requests() -> None:
    scheduler = Scheduler(depth=9)
    play(scheduler, offered("m@a", 0.02, slots=4), offered("m@b", 0.04, slots=4))
    found = placed(play(scheduler, *(arrived(number) for number in range(4))))
    assert {"m@a", "m@b"} == {replica for _, replica in found}


def test_a_request_waits_for_a_busy_replica_as_long_as_the_paid_one_costs() -> None:
    scheduler = Scheduler(depth=9)
    play(scheduler, offered("m#0", 0.0), offered("m@paid", 30.0), arrived(1))
    assert [] == placed(play(scheduler, arrived(2), now=10.0))
    assert 40.0 == scheduler.tick_due
    assert [] == placed(play(scheduler, Tick(), now=39.9))
    assert [(2, "m@paid")] == placed(play(scheduler, Tick(), now=40.0))


def test_a_request_that_waits_runs_on_the_replica_of_ours_once_that_is_free() -> None:
    scheduler = Scheduler(depth=9)
    play(scheduler, offered("m#0", 0.0), offered("m@paid", 30.0), arrived(1), arrived(2))
    assert [(2, "m#0")] == placed(play(scheduler, Finished(1), now=3.0))


def test_a_request_waits_for_a_replica_that_loads_before_money_is_spent() -> None:
    scheduler = Scheduler(depth=9)
    play(scheduler, Expected("m#0", "m"), offered("m@paid", 30.0))
    assert [] == placed(play(scheduler, arrived(1)))
    assert [(1, "m#0")] == placed(play(scheduler, offered("m#0", 0.0), now=2.0))


def test_a_server_that_was_lost_keeps_requests_waiting_no_longer_than_the_paid_one_costs() -> None:
    scheduler = Scheduler(depth=9)
    play(scheduler, offered("m@cheap", 1.0), offered("m@paid", 30.0), Lost("m@cheap"), arrived(1))
    assert [(1, "m@paid")] == placed(play(scheduler, Tick(), now=30.0))


def test_a_server_that_takes_nothing_keeps_no_request_waiting() -> None:
    scheduler = Scheduler(depth=9)
    play(scheduler, offered("m@cheap", 1.0), offered("m@paid", 30.0), Paused("m@cheap"))
    assert [(1, "m@paid")] == placed(play(scheduler, arrived(1)))


def test_a_request_goes_to_the_paid_server_at_once_where_there_is_nothing_else() -> None:
    scheduler = Scheduler(depth=9)
    play(scheduler, offered("m@paid", 30.0))
    assert [(1, "m@paid")] == placed(play(scheduler, arrived(1)))


def test_other_slots_of_a_server_count_at_once_and_what_runs_there_goes_on() -> None:
    scheduler = Scheduler(depth=9)
    play(scheduler, offered("m@a", 0.001, slots=3), *(arrived(number) for number in range(3)))
    assert [] == placed(play(scheduler, offered("m@a", 0.001, slots=1), arrived(3), Finished(0), Finished(1)))
    assert [(3, "m@a")] == placed(play(scheduler, Finished(2)))
    assert [(4, "m@a")] == placed(play(scheduler, arrived(4), offered("m@a", 0.001, slots=2)))


def test_a_request_does_not_wait_for_the_cheaper_server_that_has_failed_it() -> None:
    scheduler = Scheduler(depth=9)
    play(scheduler, offered("m@cheap", 1.0), offered("m@paid", 30.0), arrived(1))
    assert [(1, "m@paid")] == placed(play(scheduler, AttemptFailed(1)))

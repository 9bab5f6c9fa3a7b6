"""How long a replica waits, and when it is given up."""

from random import Random

import pytest

from relayd.config.schema import Restart
from relayd.supervisor.causes import Cause, Exit
from relayd.supervisor.restarts import GiveUp, Restarts, Retry, Served, Spent

pytestmark = pytest.mark.pure

CRASH = Exit(Cause.CRASH, 1, "it exited with code 1")
HOST_OOM = Exit(Cause.HOST_OOM, -9, "memory ran out")
REFUSED = Exit(Cause.REFUSED, 1, "unknown model architecture")
NOT_STARTED = Exit(Cause.SPAWN_FAILED, None, "Too many open files")


class Dice(Random):
    """Always throws the same."""

    def __init__(self, throw: float = 0.0) -> None:
        super().__init__()
        self.throw = throw

    def uniform(self, a: float, b: float) -> float:
        return self.throw


def restarts(throw: float = 0.0, **settings: float) -> Restarts:
    return Restarts(Restart(**settings), Dice(throw))  # type: ignore[arg-type]  # whole numbers are counts


def delays(count: int, throw: float = 0.0) -> list[float]:
    policy = restarts(throw, budget=10_000)
    found = [policy.ended(CRASH, 0.0) for _ in range(count)]
    return [one.delay_seconds for one in found if isinstance(one, Retry)]


def test_delays_double_up_to_the_longest() -> None:
    assert [1, 2, 4, 8, 16, 32, 60, 60] == delays(8)


@pytest.mark.parametrize(("throw", "expected"), [(-1, 6.4), (0, 8), (1, 9.6)])
def test_jitter_moves_a_delay_by_a_fifth_at_most(throw: float, expected: float) -> None:
    assert expected == pytest.approx(delays(4, throw)[-1])


def test_a_thousand_failures_do_not_overflow() -> None:
    assert 60 == delays(2000)[-1]


def test_the_sixth_exit_within_the_window_is_too_many() -> None:
    policy = restarts()

    assert [Retry] * 5 + [GiveUp] == [type(policy.ended(CRASH, now)) for now in range(6)]


def test_exits_outside_the_window_are_forgotten() -> None:
    policy = restarts()

    assert all(isinstance(policy.ended(CRASH, 601.0 * n), Retry) for n in range(50))


def test_an_exit_for_want_of_memory_counts_double() -> None:
    policy = restarts()

    assert [Retry, Retry, GiveUp] == [type(policy.ended(HOST_OOM, now)) for now in range(3)]


def test_a_start_that_asks_for_less_memory_costs_nothing_of_the_budget() -> None:
    policy = restarts(budget=1)

    assert all(isinstance(policy.ended(HOST_OOM, 0.0, smaller=True), Retry) for _ in range(9))
    assert 1 == policy.left(0.0)


def test_what_the_system_refuses_is_tried_for_ever() -> None:
    policy = restarts(budget=1)

    assert all(isinstance(policy.ended(NOT_STARTED, 0.0), Retry) for _ in range(9))


def test_what_no_retry_helps_is_given_up_at_once() -> None:
    assert GiveUp() == restarts().ended(REFUSED, 0.0)


def test_only_a_stable_time_in_service_makes_the_delays_start_over() -> None:
    policy = restarts()
    ready = [None, 1.0, 119.0, 120.0, 0.0]

    found = [policy.ended(CRASH, 0.0, Served(seconds)) for seconds in ready]

    assert [Retry(1), Retry(2), Retry(4), Retry(1), Retry(2)] == found


def test_an_operator_makes_everything_start_over() -> None:
    policy = restarts(budget=1)
    policy.ended(CRASH, 0.0)
    policy.ended(CRASH, 0.0)
    policy.forget()

    assert 1 == policy.left(0.0)
    assert Retry(1) == policy.ended(CRASH, 0.0)


def test_new_settings_hold_from_the_next_exit_on() -> None:
    policy = restarts()
    policy.ended(CRASH, 0.0)
    policy.configure(Restart(first_delay_seconds=3, budget=1))

    assert GiveUp() == policy.ended(CRASH, 1.0)


def test_it_shows_its_counters() -> None:
    policy = restarts()
    policy.ended(CRASH, 0.0)

    assert "<Restarts: 1 failures in a row, 1 exits in the window>" == repr(policy)


POISON, OTHER = frozenset({"7d1a"}), frozenset({"55aa"})


def served(*in_flight: str, busy: bool = True) -> Served:
    return Served(1.0, frozenset(in_flight), busy)


def test_exits_with_one_and_the_same_body_in_flight_count_once() -> None:
    policy = restarts(budget=1)

    found = [policy.ended(CRASH, float(now), served("7d1a", str(now))) for now in range(9)]

    assert [Retry] * 9 == [type(one) for one in found]
    assert 0 == policy.left(9.0)


def test_a_body_that_ran_beside_the_one_that_is_to_blame_is_counted_no_more_either() -> None:
    policy = restarts(budget=5)
    for now, bodies in enumerate((("a", "b"), ("b", "c"), ("c",), ("d",), ())):
        policy.ended(CRASH, float(now), served(*bodies))

    assert 5 - 3 == policy.left(5.0)


def test_the_body_of_an_exit_outside_the_window_counts_anew() -> None:
    policy = restarts(budget=5)
    policy.ended(CRASH, 0.0, served("7d1a"))
    policy.ended(CRASH, 599.0, served("7d1a"))
    assert 4 == policy.left(599.0)

    assert 4 == policy.left(601.0), "the second one is the first of this window"


def test_a_budget_that_is_spent_under_load_makes_restarts_slow_and_gives_nothing_up() -> None:
    policy = restarts(budget=1)
    policy.ended(CRASH, 0.0, served())

    found = [policy.ended(CRASH, 1.0, served()) for _ in range(6)]

    assert [Retry(seconds, slow=True) for seconds in (300, 600, 1200, 2400, 3600, 3600)] == found


@pytest.mark.parametrize("last", [Served(), Served(5.0)])
def test_a_budget_that_is_spent_without_load_gives_the_replica_up(last: Served) -> None:
    policy = restarts(budget=1)
    policy.ended(CRASH, 0.0, served())

    assert GiveUp() == policy.ended(CRASH, 1.0, last)


def test_what_no_retry_helps_is_given_up_under_load_too() -> None:
    assert GiveUp() == restarts().ended(REFUSED, 0.0, served())


def test_a_stable_time_in_service_makes_slow_restarts_start_over() -> None:
    policy = restarts(budget=1)
    policy.ended(CRASH, 0.0, served())
    slow = [policy.ended(CRASH, 1.0, served()) for _ in range(2)]
    assert [Retry(300, slow=True), Retry(600, slow=True)] == slow

    assert Retry(300, slow=True) == policy.ended(CRASH, 2.0, Served(120.0, busy=True))


def test_another_daemon_goes_on_with_what_was_spent_by_its_own_clock() -> None:
    policy, other = restarts(budget=2), restarts(budget=2)
    policy.ended(CRASH, 100.0, served("7d1a"))
    policy.ended(CRASH, 101.0, served("55aa"))

    other.resume(policy.spent().moved(-90.0))

    assert Spent(other.spent().exits, 2, 0) == other.spent()
    assert [(10.0, POISON), (11.0, OTHER)] == [(one.at, one.in_flight) for one in other.spent().exits]
    assert (0, 1) == (other.left(11.0), other.left(610.5))

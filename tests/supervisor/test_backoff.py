"""How long a replica waits, and when it is given up."""

import pytest

from relayd.supervisor.backoff import Budget, backoff_seconds

pytestmark = pytest.mark.pure


def test_delays_double_up_to_the_longest() -> None:
    delays = [backoff_seconds(n, first=1, most=60, jitter=0) for n in range(1, 9)]

    assert [1, 2, 4, 8, 16, 32, 60, 60] == delays


def test_jitter_moves_a_delay_by_a_fifth_at_most() -> None:
    assert 8 == pytest.approx(backoff_seconds(4, first=1, most=60, jitter=0))
    assert 6.4 == pytest.approx(backoff_seconds(4, first=1, most=60, jitter=-1))
    assert 9.6 == pytest.approx(backoff_seconds(4, first=1, most=60, jitter=1))


def test_a_thousand_failures_do_not_overflow() -> None:
    assert 60 == backoff_seconds(1000, first=1, most=60, jitter=0)


def test_the_sixth_exit_within_the_window_is_too_many() -> None:
    budget = Budget(5, 600)

    assert [True] * 5 + [False] == [budget.spend(now) for now in range(6)]


def test_exits_outside_the_window_are_forgotten() -> None:
    budget = Budget(5, 600)

    assert all(budget.spend(601.0 * n) for n in range(50))


def test_an_exit_may_weigh_double() -> None:
    budget = Budget(5, 600)

    assert [True, True, False] == [budget.spend(now, weight=2) for now in range(3)]


def test_an_operator_refills_the_budget() -> None:
    budget = Budget(1, 600)
    budget.spend(0.0)
    budget.spend(0.0)
    budget.refill()

    assert 1 == budget.left(0.0)

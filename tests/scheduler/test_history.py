"""How often a model is wanted, and how long it takes to load, as learned."""

import pytest

from relayd.scheduler.history import DemandRates, LoadTimes

pytestmark = pytest.mark.pure


def test_a_model_that_was_never_asked_for_is_not_wanted() -> None:
    assert 0.0 == DemandRates().chance("m", 100.0)


def test_a_model_that_is_asked_for_each_second_is_almost_surely_wanted() -> None:
    rates = DemandRates()
    for second in range(600):
        rates.note("m", 1, float(second))

    assert rates.chance("m", 600.0) > 0.99


def test_demand_of_long_ago_counts_less_than_that_of_now() -> None:
    rates = DemandRates()
    rates.note("old", 10, 0.0)
    rates.note("new", 10, 900.0)

    assert rates.chance("old", 900.0) < rates.chance("new", 900.0) / 5


def test_many_requests_noted_in_bulk_count_as_if_spread_over_the_time_between() -> None:
    bulk, single = DemandRates(), DemandRates()
    bulk.note("m", 0, 0.0)
    bulk.note("m", 300, 300.0)
    for second in range(1, 301):
        single.note("m", 1, float(second))

    assert single.chance("m", 300.0) == pytest.approx(bulk.chance("m", 300.0), rel=0.01)


def test_demand_is_forgotten_with_the_model() -> None:
    rates = DemandRates()
    rates.note("m", 10, 0.0)
    rates.forget("m")

    assert 0.0 == rates.chance("m", 0.0)


def test_a_load_takes_what_loads_took_and_an_estimate_before_the_first() -> None:
    times = LoadTimes()

    assert 7.0 == times.seconds("m", 7.0)

    times.learn("m", 2.0)
    times.learn("m", 3.0)

    assert 2.3 == pytest.approx(times.seconds("m", 7.0))


def test_what_another_daemon_learned_counts_where_nothing_is_known() -> None:
    times = LoadTimes()
    times.learn("known", 1.0)
    times.resume({"known": 9.0, "other": 2.0})

    assert {"known": 1.0, "other": 2.0} == times.known()

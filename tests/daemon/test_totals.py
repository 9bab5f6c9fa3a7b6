"""Are finished requests added up once, by model and by how they ended?"""

import pytest

from relayd.daemon.adminreport import EndedRequests, Spread
from relayd.daemon.totals import Totals, spread
from relayd.scheduler import Ask, Ended, Exchange
from relayd.scheduler.exchange import Usage

pytestmark = pytest.mark.pure


def ended(model: str, how: Ended, seconds: float, usage: Usage | None = None) -> Exchange:
    return Exchange(ask=Ask(model), ended=how, arrived_at=10.0, ended_at=10.0 + seconds, usage=usage)


def test_requests_add_up_by_model_and_by_how_they_ended() -> None:
    totals = Totals()
    for exchange in (
        ended("a", Ended.DONE, 1.5, Usage(10, 4, 7)),
        ended("a", Ended.DONE, 0.5, Usage(1, 0, 2)),
        ended("a", Ended.CUT, 1.0),
        ended("b", Ended.REFUSED, 0.0),
    ):
        totals.note(exchange)

    assert {
        "a": {"done": EndedRequests(2, 11, 4, 9, 2.0), "cut": EndedRequests(1, seconds=1.0)},
        "b": {"refused": EndedRequests(1)},
    } == totals.by_model()


@pytest.mark.parametrize(
    ("seconds", "found"),
    [
        ([], Spread()),
        ([2.0], Spread(1, 2.0, 2.0, 2.0)),
        ([float(one) for one in range(101)], Spread(101, 50.0, 95.0, 99.0)),
    ],
)
def test_a_spread_is_the_middle_and_the_slow_end(seconds: list[float], found: Spread) -> None:
    assert found == spread(seconds)

import pytest

from relayd.daemon.done import done_reports
from relayd.daemon.donereport import DoneReport
from relayd.daemon.totals import Totals
from relayd.scheduler import Ended, Exchange
from relayd.scheduler.ask import Ask
from relayd.scheduler.exchange import Usage

pytestmark = pytest.mark.pure


def exchange(tokens: int, seconds: float, ended: Ended = Ended.DONE) -> Exchange:
    return Exchange(Ask("m"), ended=ended, ended_at=seconds, usage=Usage(7, 2, tokens, 5.0, seconds * 1000))


def test_requests_tokens_and_the_middle_speed_of_recent_answers_are_reported() -> None:
    exchanges = [exchange(100, 4.0), exchange(90, 2.0), exchange(80, 1.0), exchange(1, 0.001)]
    exchanges.append(exchange(8, 1.0, Ended.CUT))
    totals = Totals()
    for one in exchanges:
        totals.note(one)

    done = done_reports(totals, exchanges[:4])["m"]

    assert DoneReport(5, 1, 35, 279, 45.0) == done
    assert {} == done_reports(Totals(), ())

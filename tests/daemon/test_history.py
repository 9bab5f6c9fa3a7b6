"""Does the daemon keep the last hour and the last day by itself, and take the day up again?"""

from pathlib import Path

import pytest

from relayd.daemon.adminreport import EndedRequests
from relayd.daemon.history import FILE, FigureHistory, Moment
from relayd.scheduler import Ask, Exchange

pytestmark = pytest.mark.system


def moment(number: int, requests: int, tokens: int = 0, cut: int = 0, first: float = 0.5) -> Moment:
    rows = [("done", EndedRequests(requests, 10, 4, tokens)), ("cut", EndedRequests(cut))]
    recent = [
        Exchange(Ask("m"), arrived_at=float(number), first_byte_at=number + first, ended_at=number + 1.0)
    ]
    return Moment(1000.0 + 10 * number, rows, recent, number + 1.0, 2, 3, {"host": 7})


def kept(folder: Path) -> FigureHistory:
    return FigureHistory(lambda: moment(0, 0), folder)


def test_a_sample_is_what_came_since_the_one_before(tmp_path: Path) -> None:
    history = kept(tmp_path)
    history.sample(moment(1, 5, tokens=100))
    history.sample(moment(2, 8, tokens=150, cut=1))

    first, second = history.report().hour

    assert (5, 100, 10.0) == (first.requests, first.completion_tokens, first.tokens_per_second)
    assert (4, 1, 50, 0.5) == (
        second.requests,
        second.failed,
        second.completion_tokens,
        second.first_byte_p95,
    )
    assert (2, 3, {"host": 7}) == (second.running, second.waiting, second.held)


def test_five_minutes_become_one_sample_of_the_day_and_what_is_open_counts_too(tmp_path: Path) -> None:
    history = kept(tmp_path)
    full = [history.sample(moment(number, number)) for number in range(1, 32)]

    assert [30] == [at for at, is_full in enumerate(full, 1) if is_full]
    assert [30, 1] == [one.requests for one in history.report().day]


async def test_the_day_outlives_the_daemon(tmp_path: Path) -> None:
    before = kept(tmp_path)
    before.sample(moment(1, 5))
    before.mark(3.0, "replica.ready", "m#0")
    await before.write()

    after = kept(tmp_path)
    await after.recall()

    assert [5] == [one.requests for one in after.report().day]
    assert ["m#0"] == [one.subject for one in after.report().marks]
    assert 0o600 == (tmp_path / FILE).stat().st_mode & 0o777


async def test_a_folder_that_cannot_be_written_costs_only_the_figures(tmp_path: Path) -> None:
    history = kept(tmp_path / "gone")
    history.sample(moment(1, 5))
    await history.write()

    assert 1 == len(history.report().hour)

"""What `upgrade` and `stop` say of the requests that are still to be finished."""

import pytest

from relayd.cli.stop import show_left
from relayd.cli.upgrade import left
from relayd.daemon.report import ModelReport, StatusReport, UpgradeReport

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    ("running", "waiting", "sentence"),
    [
        (0, 0, ""),
        (1, 0, "1 answer under way ends in the old daemon, within 30 s"),
        (3, 0, "3 answers under way end in the old daemon, within 30 s"),
        (0, 1, "1 waiting request ends in the old daemon, within 30 s"),
        (2, 1, "2 answers under way and 1 waiting request end in the old daemon, within 30 s"),
    ],
)
def test_upgrade_counts_what_runs_and_what_waits(running: int, waiting: int, sentence: str) -> None:
    done = UpgradeReport(running, waiting, pid=1, version="1", old_version="1", drain_seconds=30)

    assert sentence == left(done)


@pytest.mark.parametrize(
    ("running", "waiting", "shown"),
    [
        (0, 0, ""),
        (1, 0, "waiting for 1 running request\n"),
        (2, 3, "waiting for 2 running and 3 waiting requests\n"),
        (0, 2, "waiting for 2 waiting requests\n"),
    ],
)
def test_stop_shows_what_it_waits_for(
    capsys: pytest.CaptureFixture[str], running: int, waiting: int, shown: str
) -> None:
    report = StatusReport(models=(ModelReport("m", running=running, waiting=waiting),))

    assert running + waiting == show_left(report, 0)
    assert shown == capsys.readouterr().err
    assert running + waiting == show_left(report, running + waiting)
    assert "" == capsys.readouterr().err

"""Benchmark runs are appended, and survive lines that cannot be read."""

from pathlib import Path

import pytest

from relayd.errors import StateError
from relayd.store import remember_run, remembered_runs
from relayd.store.runs import FILE

pytestmark = pytest.mark.system


def test_runs_come_back_in_the_order_they_were_measured(tmp_path: Path) -> None:
    for number in range(3):
        remember_run(tmp_path, {"at": number})

    assert [{"at": 0}, {"at": 1}, {"at": 2}] == list(remembered_runs(tmp_path))


def test_a_folder_without_runs_has_none(tmp_path: Path) -> None:
    assert [] == list(remembered_runs(tmp_path))


def test_lines_that_cannot_be_read_are_skipped(tmp_path: Path) -> None:
    remember_run(tmp_path, {"at": 1})
    with (tmp_path / FILE).open("ab") as file:
        file.write(b'{"at": 2\n[3]\n\xff\xfe\n')
    remember_run(tmp_path, {"at": 4})

    assert [{"at": 1}, {"at": 4}] == list(remembered_runs(tmp_path))


def test_runs_are_private_to_their_user(tmp_path: Path) -> None:
    remember_run(tmp_path, {"at": 1})

    assert 0o600 == (tmp_path / FILE).stat().st_mode & 0o777


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StateError, match=FILE):
        remember_run(tmp_path / "missing", {})

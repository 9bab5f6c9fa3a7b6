"""The daemon's own log, on a disk that does what disks do."""

import json
import logging
import re
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from relayd.daemon.eventcounts import EventCounts
from relayd.errors import StateError
from relayd.journal import Journal, configure_journal, open_journal

pytestmark = pytest.mark.system

LOGGERS = ("relayd", "aiohttp", "asyncio")


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    """A journal that is open, and closed again."""
    before = {name: (logging.getLogger(name).handlers[:], logging.getLogger(name).level) for name in LOGGERS}
    path = tmp_path / "logs" / "relayd.log"
    open_journal(path, max_bytes=2000, backups=2)
    yield path
    for handler in logging.getLogger("relayd").handlers:
        handler.close()
    for name, (handlers, level) in before.items():
        logging.getLogger(name).handlers[:] = handlers
        logging.getLogger(name).setLevel(level)
        logging.getLogger(name).propagate = True


def test_r49_an_event_is_one_line_whatever_its_values_hold(log: Path) -> None:
    Journal("room").info("it.happened", plain="a/b", evil="x\nERROR forged", seconds=1.25)

    (line,) = log.read_text().splitlines()
    assert 'INFO    it.happened plain=a/b evil="x\\nERROR forged" seconds=1.250' in line


def test_r54_the_log_stays_bounded(log: Path) -> None:
    for number in range(500):
        Journal("room").info("it.happened", number=number)

    assert {"relayd.log", "relayd.log.1", "relayd.log.2"} == {file.name for file in log.parent.iterdir()}
    assert sum(file.stat().st_size for file in log.parent.iterdir()) <= 6000


def test_a_log_that_was_deleted_is_made_again(log: Path) -> None:
    Journal("room").info("before")
    log.unlink()
    Journal("room").info("after")

    assert "after" in log.read_text()


def test_a_full_disk_is_told_once(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Journal("room").info("before")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        for _ in range(10):
            Journal("room").info("lost")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    Journal("room").info("after")

    assert 1 == capsys.readouterr().err.count("cannot be written")
    assert log.read_text().endswith("after\n")


def test_a_folder_that_cannot_be_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(StateError, match="cannot be written"):
        open_journal(tmp_path / "file" / "relayd.log", max_bytes=1, backups=1)


def test_a_level_leaves_out_what_is_below_it_and_can_be_changed(log: Path) -> None:
    configure_journal("warning", "text")
    Journal("room").info("left.out")
    Journal("room").warning("kept")
    configure_journal("debug", "text")
    Journal("room").debug("kept.too")

    assert ["kept", "kept.too"] == [line.split()[2] for line in log.read_text().splitlines()]


def test_a_line_can_be_a_json_object_with_the_fields_of_its_event(log: Path) -> None:
    configure_journal("info", "json")
    Journal("room").info("replica.ready", replica='a"\n#0', seconds=1.5, path=Path("/x"))

    (line,) = log.read_text().splitlines()
    found = json.loads(line)

    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", found.pop("time"))
    assert {
        "level": "info", "event": "replica.ready", "replica": 'a"\n#0', "seconds": 1.5, "path": "/x"
    } == found  # fmt: skip


def test_what_follows_the_journal_gets_what_the_file_leaves_out(log: Path) -> None:
    configure_journal("error", "text")
    counts = EventCounts()
    logging.getLogger("relayd").addHandler(counts)
    Journal("room").info("replica.ready", replica="a#0")
    logging.getLogger("relayd").removeHandler(counts)

    assert ({"a": 1}, "") == (counts.loads, log.read_text())

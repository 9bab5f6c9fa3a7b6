"""The record of a running replica, its layout, and those of earlier versions."""

import json
from pathlib import Path

import pytest

from relayd.errors import StateError
from relayd.store import Record, Records

pytestmark = pytest.mark.system

RECORD = Record(
    replica="m#0",
    identity="0123456789abcdef /bin/llama-server b11434",
    line="fedcba9876543210",
    spec={"model": "m"},
    incarnation=3,
    pid=4711,
    boot_id="boot",
    started="12345",
    port=8100,
    host="10.0.0.7",
    log="/log",
    log_offset=17,
    command=("llama-server", "--model", "/m.gguf"),
)

EARLIER = {
    "replica": "m#0",
    "identity": "66afa3d61951f574 /bin/llama-server b11434",
    "incarnation": 1,
    "pid": 4711,
    "boot_id": "boot",
    "started": "12345",
    "port": 8100,
    "log": "/log",
    "log_offset": 0,
    "command": ["llama-server"],
    "schema": 1,
}
"""As commit e573402 wrote it."""


def test_what_is_written_is_what_the_next_daemon_reads(tmp_path: Path) -> None:
    Records(tmp_path).write("0123abcd", RECORD)

    assert RECORD == Records(tmp_path).read("0123abcd")
    assert 0o600 == (tmp_path / "0123abcd.json").stat().st_mode & 0o777


def test_a_record_of_the_last_release_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(EARLIER))

    record = Records(tmp_path).read("a")

    assert record
    assert ("", None, None, "127.0.0.1", 8100) == (
        record.line,
        record.spec,
        record.reduction,
        record.host,
        record.port,
    )


def test_a_member_that_a_later_version_adds_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(EARLIER | {"added": 1}))

    assert Records(tmp_path).read("a")


@pytest.mark.parametrize("text", ["{", "[]", json.dumps(EARLIER | {"schema": 2}), '{"replica": 3}', "\0"])
def test_r41_what_makes_no_sense_is_put_aside_once(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)

    assert None is Records(tmp_path).read("a")
    assert ["a.json.corrupt-1"] == [path.name for path in tmp_path.iterdir()]
    assert None is Records(tmp_path).read("a")


def test_what_was_never_written_is_not_there_and_can_be_forgotten(tmp_path: Path) -> None:
    records = Records(tmp_path)
    records.forget("a")

    assert None is records.read("a")


def test_a_forgotten_record_is_gone(tmp_path: Path) -> None:
    records = Records(tmp_path)
    records.write("a", RECORD)
    records.forget("a")

    assert [] == list(tmp_path.iterdir())


def test_a_folder_that_is_gone_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="cannot be written"):
        Records(tmp_path / "none").write("a", RECORD)

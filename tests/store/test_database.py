"""Is the database made, opened, brought up to date, and refused where it cannot be trusted?"""

import sqlite3
import stat
from pathlib import Path

import pytest
from msgspec import structs

from relayd.errors import StateError
from relayd.rights import UsageRow
from relayd.store.database import VERSION, Database
from relayd.store.usage import UsageTable

pytestmark = pytest.mark.system

ROW = UsageRow(day="2026-11-30", key="key_a", model="qwen", requests=1, prompt_tokens=3, seconds=0.5)


def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    database = Database.open(tmp_path / "relayd.db")
    UsageTable(database).add([ROW])

    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    database.close()

    assert {0o600} == modes


def test_what_was_written_is_there_when_it_is_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "relayd.db"
    first = Database.open(path)
    UsageTable(first).add([ROW])
    first.close()

    second = Database.open(path)
    rows = UsageTable(second).rows()
    second.close()

    assert [ROW] == rows


def test_a_change_that_fails_changes_nothing(tmp_path: Path) -> None:
    database = Database.open(tmp_path / "relayd.db")
    table = UsageTable(database)
    table.add([ROW])

    with pytest.raises(StateError):
        table.add([ROW, structs.replace(ROW, requests=None)])
    rows = table.rows()
    database.close()

    assert [ROW] == rows


def test_a_file_of_a_later_relayd_is_only_read(tmp_path: Path) -> None:
    path = tmp_path / "relayd.db"
    made = Database.open(path)
    UsageTable(made).add([ROW])
    made.close()
    later = sqlite3.connect(path)
    later.execute(f"PRAGMA user_version = {VERSION + 1}")
    later.execute("ALTER TABLE usage ADD COLUMN later TEXT")
    later.close()

    database = Database.open(path)

    assert [ROW] == UsageTable(database).rows()
    with pytest.raises(StateError, match="later relayd"):
        UsageTable(database).add([ROW])
    assert [ROW] == UsageTable(database).rows()
    database.close()


def test_a_damaged_file_is_an_error_and_stays_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "relayd.db"
    path.write_bytes(b"this was a database once" * 100)

    with pytest.raises(StateError, match="damaged"):
        Database.open(path)

    assert path.exists()


def test_r42_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"")
    (tmp_path / "relayd.db").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(StateError):
        Database.open(tmp_path / "relayd.db")

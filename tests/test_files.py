import os
import stat
from pathlib import Path

import pytest

from relayd.errors import StateError
from relayd.files import expanded, private_folder, quarantine, scratch_folder, write_atomic

pytestmark = pytest.mark.system


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_is_replaced_whole_and_kept_to_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_bytes(b"old and longer")
    path.chmod(0o644)

    write_atomic(path, b"new")

    assert b"new" == path.read_bytes()
    assert 0o600 == _mode(path)
    assert [path] == list(tmp_path.iterdir())


def test_a_reader_that_had_the_old_file_open_keeps_reading_the_old_bytes(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write_atomic(path, b"old")
    with path.open("rb") as reader:
        write_atomic(path, b"new")
        assert b"old" == reader.read()


def test_a_write_that_fails_names_the_file_and_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "state.json").mkdir()

    with pytest.raises(StateError, match=r"state\.json cannot be written"):
        write_atomic(tmp_path / "state.json", b"new")

    assert [tmp_path / "state.json"] == list(tmp_path.iterdir())


def test_a_missing_folder_is_an_error_of_state(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="No such file"):
        write_atomic(tmp_path / "absent" / "file", b"")


def test_a_private_folder_is_made_with_its_parents(tmp_path: Path) -> None:
    folder = private_folder(tmp_path / "a" / "b")
    assert 0o700 == _mode(folder)


def test_r21_a_private_folder_that_was_open_is_closed(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    assert 0o700 == _mode(private_folder(tmp_path / "open"))


def test_a_file_in_the_place_of_a_private_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(StateError, match="cannot be used as a folder"):
        private_folder(tmp_path / "taken")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    os.chown(tmp_path / "theirs", 65534, -1)
    with pytest.raises(StateError, match="belongs to user 65534"):
        private_folder(tmp_path / "theirs")


def test_quarantine_never_overwrites_an_earlier_one(tmp_path: Path) -> None:
    for text in ("first", "second"):
        (tmp_path / "records.json").write_text(text)
        quarantine(tmp_path / "records.json")

    assert "first" == (tmp_path / "records.json.corrupt-1").read_text()
    assert "second" == (tmp_path / "records.json.corrupt-2").read_text()
    assert not (tmp_path / "records.json").exists()


def test_quarantine_of_nothing_is_an_error_of_state(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="cannot be moved aside"):
        quarantine(tmp_path / "absent")


def test_a_home_that_nobody_has_stays_as_it_was_written() -> None:
    assert Path("~nobody-of-this-name/x.gguf") == expanded("~nobody-of-this-name/x.gguf")


def test_a_scratch_folder_is_where_something_can_be_written(tmp_path: Path) -> None:
    with scratch_folder(tmp_path / "cache") as folder:
        assert tmp_path / "cache" not in folder.parents
    with scratch_folder(tmp_path / "cache", tmp_path / "read-only") as folder:
        assert tmp_path / "cache" == folder.parent
        (folder / "file").write_bytes(b"")
    assert not folder.exists()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StateError, match="file"), scratch_folder(tmp_path / "file", tmp_path / "gone"):
        pass

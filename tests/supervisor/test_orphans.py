"""What an earlier daemon left lying about is removed, and nothing is held after that."""

from pathlib import Path

import pytest

from relayd.lock import Lock, is_held
from relayd.supervisor.child import Files
from relayd.supervisor.orphans import remove_files

pytestmark = pytest.mark.system


def test_files_of_replicas_that_nothing_serves_are_removed(tmp_path: Path) -> None:
    files = Files.of(tmp_path, "m#0")
    for path in (files.lock, files.socket, files.key, tmp_path / "relay.toml"):
        path.touch()

    remove_files(tmp_path)

    assert [tmp_path / "relay.toml"] == list(tmp_path.iterdir())


def test_files_of_a_replica_that_is_served_stay(tmp_path: Path) -> None:
    files = Files.of(tmp_path, "m#0")
    lock = Lock.try_take(files.lock)
    assert lock
    files.key.touch()

    remove_files(tmp_path)

    assert files.key.exists()
    lock.close()


def test_a_folder_in_the_place_of_a_file_keeps_no_lock_held(tmp_path: Path) -> None:
    files = Files.of(tmp_path, "m#0")
    files.lock.touch()
    files.socket.mkdir()
    files.key.touch()

    remove_files(tmp_path)

    assert not is_held(files.lock)
    assert [files.socket] == list(tmp_path.iterdir())

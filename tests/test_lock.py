"""A lock is held by one, as long as it lives, whatever happens to its file."""

import os
import threading
from pathlib import Path, PosixPath

import pytest

from relayd.lock import Lock, holder, is_held

pytestmark = pytest.mark.system


def test_a_lock_is_held_until_it_is_closed(tmp_path: Path) -> None:
    lock = Lock.try_take(tmp_path / "lock")
    assert lock
    assert Lock.try_take(tmp_path / "lock") is None
    assert is_held(tmp_path / "lock")

    lock.close()
    assert not is_held(tmp_path / "lock")


def test_a_lock_that_is_not_got_leaves_no_descriptor(tmp_path: Path) -> None:
    lock = Lock.try_take(tmp_path / "lock")
    assert lock
    before = sorted(Path("/dev/fd").iterdir())

    assert [None] * 5 == [Lock.try_take(tmp_path / "lock") for _ in range(5)]
    assert before == sorted(Path("/dev/fd").iterdir())
    lock.close()


def test_a_lock_whose_file_is_replaced_while_it_is_taken_is_taken_on_the_new_file(tmp_path: Path) -> None:
    path = RemovedOnce(tmp_path / "lock")
    lock = Lock.try_take(path)
    assert lock

    assert (tmp_path / "lock").stat().st_ino == os.fstat(lock.descriptor).st_ino
    assert Lock.try_take(tmp_path / "lock") is None
    lock.close()


def test_a_lock_is_waited_for_until_its_holder_closes_it(tmp_path: Path) -> None:
    lock = Lock.try_take(tmp_path / "lock")
    assert lock
    taken: list[Lock] = []
    waiting = threading.Thread(target=lambda: taken.append(Lock.wait_for(tmp_path / "lock")))
    waiting.start()
    waiting.join(0.05)
    assert [] == taken

    lock.close()
    waiting.join(10)
    assert is_held(tmp_path / "lock")
    taken[0].close()


def test_the_holder_is_waited_for_until_it_has_signed(tmp_path: Path) -> None:
    lock = Lock.try_take(tmp_path / "lock")
    assert lock
    assert holder(tmp_path / "lock", patience_seconds=0) is None
    (tmp_path / "lock").write_text(f"{2**22 + 1}\n")  # of an earlier holder, long gone: above pid_max
    signing = threading.Timer(0.05, lock.sign, [os.getpid()])
    signing.start()

    assert os.getpid() == holder(tmp_path / "lock", patience_seconds=10)
    signing.join()
    lock.close()


class RemovedOnce(PosixPath):
    """A path whose file another process removes just before it is looked at for the first time."""

    def lstat(self) -> os.stat_result:
        if not self.with_name("removed").exists():
            self.with_name("removed").touch()
            self.unlink()
        return super().lstat()

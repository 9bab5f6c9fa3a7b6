"""Logs that would fill the disk."""

import asyncio
import logging
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from relayd.clock import SystemClock
from relayd.supervisor.logs import open_log
from relayd.supervisor.rotation import Rotation, rescue, rotate

pytestmark = pytest.mark.system


def test_r54_rotation_restarts_the_file_under_a_writer_that_appends(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    writer = open_log(log)
    try:
        for number in range(5):
            os.write(writer, f"{number}".encode() * 600)
            assert rotate(log, max_bytes=500, backups=2)
            assert 0 == log.stat().st_size
    finally:
        os.close(writer)

    assert ["a.log", "a.log.1", "a.log.2"] == sorted(file.name for file in tmp_path.iterdir())
    assert "4" * 600 == (tmp_path / "a.log.1").read_text()
    assert 0o600 == (tmp_path / "a.log.1").stat().st_mode & 0o777


def test_a_small_log_is_left_alone(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("short")

    assert not rotate(log, max_bytes=500, backups=2)
    assert not rotate(tmp_path / "none.log", max_bytes=500, backups=2)


def test_without_backups_a_log_starts_anew(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("x" * 600)

    assert rotate(log, max_bytes=500, backups=0)
    assert [log] == list(tmp_path.iterdir())


def test_a_rotation_that_fails_loses_nothing(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("new" * 600)
    (tmp_path / "a.log.1").write_text("old")
    (tmp_path / "a.log.new").mkdir()  # stands where the copy would be

    with pytest.raises(OSError, match="directory"):
        rotate(log, max_bytes=500, backups=2)
    assert "old" == (tmp_path / "a.log.1").read_text()
    assert "new" * 600 == log.read_text()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 128 KiB, where the system lets us make one."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(tmp_path)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a file system of our own needs root")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


def test_on_a_full_disk_the_oldest_backups_give_way(small_disk: Path) -> None:
    log = small_disk / "a.log"
    log.write_bytes(b"x" * 40_000)
    for number in (1, 2):
        (small_disk / f"a.log.{number}").write_bytes(f"{number}".encode() * 40_000)

    assert rotate(log, max_bytes=500, backups=2)
    assert 0 == log.stat().st_size
    assert b"x" * 40_000 == (small_disk / "a.log.1").read_bytes()
    assert b"1" * 40_000 == (small_disk / "a.log.2").read_bytes()


def test_a_disk_that_stays_full_is_told_once_a_minute(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = tmp_path / "a.log"
    log.write_text("x" * 600)
    obstacle = tmp_path / "a.log.new"
    obstacle.mkdir()
    looks = 0

    class Ahead(SystemClock):
        def monotonic(self) -> float:
            return 1000.0 + 10 * looks

    def logs() -> list[tuple[Path, int]]:
        nonlocal looks
        looks += 1
        return [(log, os.getpid())]

    async def story() -> None:
        task = asyncio.create_task(Rotation(logs, lambda: (500, 1), Ahead(), every_seconds=0.001).run())
        while looks < 14:
            await asyncio.sleep(0.001)
        obstacle.rmdir()
        while log.stat().st_size:
            await asyncio.sleep(0.001)
        task.cancel()

    with caplog.at_level(logging.WARNING):
        asyncio.run(story())
    assert len(caplog.records) in (2, 3), "at 10 s a look, some 14 looks are two or three minutes"


def test_what_is_written_into_a_deleted_log_is_rescued(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    output = open_log(log)
    with subprocess.Popen(("cat",), stdin=subprocess.PIPE, stdout=output) as writer:
        os.close(output)
        assert writer.stdin
        for number in range(2):
            log.unlink()
            writer.stdin.write(b"%d\n" % number)
            writer.stdin.flush()
            while not Path(f"/proc/{writer.pid}/fd/1").stat().st_size:
                pass
            rescue(log, writer.pid)
            assert f"{number}\n" == log.read_text()
        rescue(log, writer.pid)
        rescue(log, 0)
        assert "1\n" == log.read_text()
        writer.stdin.close()

"""Log rotation, so that logs do not fill the disk.

By copy and truncation under a writer that appends, so a hot writer may lose a line at the cut.
"""

import asyncio
import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from relayd.clock import Clock
from relayd.journal import Journal
from relayd.supervisor.logs import next_part, open_log

_WARN_SECONDS = 60.0


class Rotation:
    """Looks at the logs of running replicas now and then.

    Args:
        logs: Returns each log with the pid of the process that writes it.
        limits: Returns the size in bytes at which a log is rotated, and how many old ones are kept.
        clock: Time.
        every_seconds: Time between two looks.
    """

    def __init__(
        self,
        logs: Callable[[], Iterable[tuple[Path, int]]],
        limits: Callable[[], tuple[int, int]],
        clock: Clock,
        *,
        every_seconds: float = 10.0,
    ) -> None:
        self._logs = logs
        self._limits = limits
        self._clock = clock
        self._every_seconds = every_seconds
        self._journal = Journal("supervisor")
        self._quiet_until = 0.0

    async def run(self) -> None:
        """Rotate until cancelled; a full disk is reported once a minute, and tried again."""
        while True:
            await asyncio.sleep(self._every_seconds)
            max_bytes, backups = self._limits()
            for path, pid in tuple(self._logs()):
                try:
                    await asyncio.to_thread(_look, path, pid, max_bytes, backups)
                except OSError as error:
                    self._warn(path, error)

    def _warn(self, path: Path, error: OSError) -> None:
        now = self._clock.monotonic()
        if now >= self._quiet_until:
            self._quiet_until = now + _WARN_SECONDS
            self._journal.warning("log.not_rotated", path=path, message=error.strerror)


def _look(path: Path, pid: int, max_bytes: int, backups: int) -> None:
    rescue(path, pid)
    rotate(path, max_bytes=max_bytes, backups=backups)


def rotate(path: Path, *, max_bytes: int, backups: int) -> bool:
    """Move a log that has grown past `max_bytes` aside and start it anew; return whether it did.

    The new file begins with the line that marks the begin of the incarnation. Where there is no
    room for a copy the oldest ones give way.

    Raises:
        OSError: The disk is full, or the folder is gone.
    """
    if not path.exists() or path.stat().st_size <= max_bytes:
        return False
    begin = _begin_of_next(path)
    if backups:
        copy = path.with_name(f"{path.name}.new")
        try:
            _copy(path, copy, backups)
        except OSError:
            copy.unlink(missing_ok=True)
            raise
        for number in range(backups - 1, 0, -1):
            with contextlib.suppress(FileNotFoundError):
                _backup(path, number).replace(_backup(path, number + 1))
        copy.replace(_backup(path, 1))
    os.truncate(path, 0)
    if begin:
        _append(path, begin)
    return True


def rescue(path: Path, pid: int) -> None:
    """Move what a process wrote into a log that has been deleted to a new file of that name.

    The deleted file would grow unseen for as long as the process lives. Only Linux lets it be
    reached; elsewhere the next start of the replica makes a new log.
    """
    writes_to = Path(f"/proc/{pid}/fd/1")
    try:
        deleted = str(writes_to.readlink()) == f"{path.resolve()} (deleted)"
    except OSError:
        return
    if deleted and writes_to.stat().st_size:
        with writes_to.open("rb") as source, os.fdopen(open_log(path), "ab") as target:
            shutil.copyfileobj(source, target)
        os.truncate(writes_to, 0)


def _copy(path: Path, copy: Path, backups: int) -> None:
    """Copy a log; on a full disk remove the oldest backups until there is room."""
    for number in range(backups, -1, -1):
        try:
            shutil.copyfile(path, copy)
        except OSError as error:
            if number == 0 or error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            _backup(path, number).unlink(missing_ok=True)
        else:
            copy.chmod(0o600)
            return


def _backup(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")


def _begin_of_next(path: Path) -> bytes:
    """Return the line that marks the incarnation in the next file; empty if there is none."""
    begin = ""
    with path.open("rb") as file:
        while line := file.readline(1 << 16):
            if line.startswith(b"relayd: "):
                begin = next_part(line.decode("utf-8", "replace")) or begin
    return begin.encode()


def _append(path: Path, line: bytes) -> None:
    """Add a line to a log; without room it goes without."""
    with contextlib.suppress(OSError):
        descriptor = open_log(path)
        try:
            os.write(descriptor, line)
        finally:
            os.close(descriptor)

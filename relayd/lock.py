"""Which process holds a name on this machine, without trusting a pid (file locks)?"""

import contextlib
import fcntl
import os
import time
from collections.abc import Mapping
from pathlib import Path
from threading import Event

import psutil

from relayd.errors import DaemonRunningError, StateError

CHANNEL_VARIABLE = "RELAYD_HANDOVER"
"""Names the descriptor of the pair's other end in the environment of a daemon that shall take over."""


class Lock:
    """An exclusive lock on a file, held as long as any process keeps its descriptor open.

    A child that inherits the descriptor holds the lock after its parent is gone, and the
    kernel frees it the moment the last holder ends. The pid inside is for people only.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.descriptor = descriptor

    @classmethod
    def try_take(cls, path: Path) -> "Lock | None":
        """Take the lock, or return None when another process holds it.

        Raises:
            OSError: The file cannot be made.
        """
        try:
            return cls(path, _locked(path, fcntl.LOCK_EX | fcntl.LOCK_NB))
        except BlockingIOError:
            return None

    @classmethod
    def wait_for(cls, path: Path) -> "Lock":
        """Take the lock, and block the thread for as long as another process holds it.

        Raises:
            OSError: The file cannot be made.
        """
        return cls(path, _locked(path, fcntl.LOCK_EX))

    @classmethod
    def inherited(cls, path: Path, descriptor: int) -> "Lock | None":
        """Return the share of a lock that another process passed, or None when it is on another file."""
        return cls(path, descriptor) if _is_at(path, descriptor) else None

    def sign(self, pid: int) -> None:
        """Write the holder's pid into the file, for people; skipped when the disk is full."""
        with contextlib.suppress(OSError):
            os.ftruncate(self.descriptor, 0)
            os.pwrite(self.descriptor, f"{pid}\n".encode(), 0)

    def close(self) -> None:
        """Close this process's descriptor, once; a child that inherited it still holds the lock."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def takes_over(environ: Mapping[str, str]) -> bool:
    """Return whether a daemon with this environment was started to take over from another one."""
    return CHANNEL_VARIABLE in environ


def lock_of_daemon(path: Path) -> Lock:
    """Return the lock that makes this process the daemon of a runtime folder.

    Raises:
        DaemonRunningError: Another one is.
        StateError: The lock cannot be made.
    """
    try:
        lock = Lock.try_take(path)
    except OSError as error:
        raise StateError(f"the lock {path} cannot be made: {error.strerror}") from error
    if lock is None:
        pid = holder(path)
        raise DaemonRunningError(
            f"another relayd{f' (pid {pid})' if pid else ''} is already running here",
            remedy="See it with `relayd status`, or end it with `relayd stop`.",
        )
    lock.sign(os.getpid())
    return lock


def is_held(path: Path) -> bool:
    """Return whether a process holds a lock that exists.

    Raises:
        OSError: The lock file cannot be opened.
    """
    if not path.exists():
        return False
    lock = Lock.try_take(path)
    if lock is not None:
        lock.close()
    return lock is None


def holder(path: Path, patience_seconds: float = 1.0) -> int | None:
    """Return the living process that a lock file names, for a message to people.

    A process writes its pid a moment after it took the lock: until then the file is empty or names an earlier
    holder.
    """
    deadline, never = time.monotonic() + patience_seconds, Event()
    while True:
        with contextlib.suppress(OSError, ValueError):
            if psutil.pid_exists(pid := int(path.read_text())):
                return pid
        if time.monotonic() >= deadline:
            return None
        never.wait(0.01)


def _locked(path: Path, operation: int) -> int:
    """Return the descriptor of a lock file that is locked.

    A file that was removed between its opening and its locking guards nothing: the one that took its
    place is locked instead.

    Raises:
        BlockingIOError: Another process holds it, and the operation does not wait.
        OSError: The file cannot be made.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, operation)
        except OSError:
            os.close(descriptor)
            raise
        if _is_at(path, descriptor):
            return descriptor
        os.close(descriptor)


def _is_at(path: Path, descriptor: int) -> bool:
    """Return whether an open file is the one that a path names."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False

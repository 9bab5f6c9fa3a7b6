"""A started process, whether this daemon started it or an earlier one: its files, signals, end."""

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Protocol

from relayd.endpoint import Endpoint
from relayd.lock import is_held
from relayd.planner.wall import NO_WALL, MemoryWall
from relayd.supervisor.orphans import end_stragglers
from relayd.supervisor.sandboxed import as_signalled

_RECORDING_SECONDS = 30.0
"""How long the end of a process waits for the record of its start: a disk that hangs must not hide it."""


class Child(Protocol):
    """A process that serves one replica."""

    @property
    def pid(self) -> int:
        """Process id."""
        ...

    @property
    def endpoint(self) -> Endpoint:
        """Where it answers, and to which key."""
        ...

    @property
    def log(self) -> Path:
        """The file it writes to."""
        ...

    @property
    def log_offset(self) -> int:
        """Where in that file this incarnation begins, in bytes."""
        ...

    @property
    def command(self) -> tuple[str, ...]:
        """Its argv."""
        ...

    @property
    def wall(self) -> MemoryWall:
        """Its limit of memory."""
        ...

    def signal(self, number: int) -> None:
        """Signal the whole process group; a group that is already gone is fine."""
        ...

    def reap(self) -> int | None:
        """Return the exit code of the ended process, and remove what only it used."""
        ...


@dataclass(frozen=True, slots=True)
class Files:
    """The files of one replica in the runtime folder, named by a hash and not by the model."""

    folder: Path
    stem: str

    @classmethod
    def of(cls, runtime: Path, replica: str) -> "Files":
        """Return the files of a replica."""
        return cls(runtime, hashlib.sha256(replica.encode()).hexdigest()[:8])

    @property
    def socket(self) -> Path:
        """Where it listens."""
        return self.folder / f"{self.stem}.sock"

    @property
    def key(self) -> Path:
        """The key of the living incarnation."""
        return self.folder / f"{self.stem}.key"

    @property
    def lock(self) -> Path:
        """Held by the living incarnation."""
        return self.folder / f"{self.stem}.lock"

    @property
    def box(self) -> Path:
        """What it can write to, where it runs in a sandbox; its socket is in there then."""
        return self.folder / f"{self.stem}.box"

    def make_box(self) -> None:
        """Make an empty folder for a sandbox, and have the socket's name lead to the one in there.

        Raises:
            OSError: It cannot be made.
        """
        shutil.rmtree(self.box, ignore_errors=True)
        self.box.mkdir(mode=0o700)
        self.socket.symlink_to(Path(self.box.name) / self.socket.name)

    def remove_box(self) -> None:
        """Remove both, where no process was started for them."""
        self.socket.unlink(missing_ok=True)
        shutil.rmtree(self.box, ignore_errors=True)


def _happened() -> Event:
    event = Event()
    event.set()
    return event


@dataclass(slots=True, eq=False)
class EngineChild:
    """A llama-server in a session of its own.

    Attributes:
        process: How its exit code is learnt; None when an earlier daemon started it. Of one in a sandbox it
            is what waits for it outside.
        group: The id of its group; 0 where that is its own.
        forget: Removes its record.
        recorded: Set once its record is written; always of one that an earlier daemon started.
        wall: Its limit of memory.
    """

    pid: int
    endpoint: Endpoint
    files: Files
    log: Path
    log_offset: int
    command: tuple[str, ...]
    forget: Callable[[], None]
    process: subprocess.Popen[bytes] | None = None
    group: int = 0
    recorded: Event = field(default_factory=_happened)
    wall: MemoryWall = NO_WALL

    def signal(self, number: int) -> None:
        """Signal the whole process group; a group that is already gone is fine."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.group or self.pid, number)

    def reap(self) -> int | None:
        """Return the exit code, end all that it started, and remove socket, key and record.

        Only a parent learns the exit code: that of an adopted process is None. What left the
        group still holds the lock.
        """
        code = self.process.wait() if self.process else None
        if code is not None and self.group:
            code = as_signalled(code)
        self.recorded.wait(_RECORDING_SECONDS)  # our own copy of its lock is closed with that
        self.signal(signal.SIGKILL)
        with contextlib.suppress(OSError):  # out of descriptors; the next start looks again
            if is_held(self.files.lock):
                end_stragglers(self.files.folder, self.endpoint.replica)
        for path in (self.files.socket, self.files.key):
            with contextlib.suppress(OSError):  # not ours any more; its end is reported all the same
                path.unlink()
        shutil.rmtree(self.files.box, ignore_errors=True)
        self.forget()
        return code

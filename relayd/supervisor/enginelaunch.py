"""A llama-server that is about to be started: its files are there, its lock is held (engine launch)."""

import contextlib
import errno
import os
import resource
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event

import msgspec

from relayd.endpoint import Endpoint
from relayd.errors import EngineError, StateError
from relayd.journal import Journal
from relayd.lock import Lock
from relayd.store import Record, Records
from relayd.supervisor.child import EngineChild, Files
from relayd.supervisor.identity import start_mark

PASSING = frozenset({
    errno.EAGAIN, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC, errno.EROFS,
    errno.ETXTBSY,
})  # fmt: skip
"""What the system may have again in a moment."""


@dataclass(slots=True, eq=False)
class EngineLaunch:
    """A start of llama-server; see `launching.Launch`.

    Attributes:
        prepared: What the next daemon is to know, but for the process.
        endpoint: Where it will answer.
        files: Its files.
        environment: Its environment.
        output: Descriptor of its log, until it is started or abandoned.
        lock: Its lock, which it holds as long as it lives.
        records: Where the record goes.
        child: The process, once it is started.
    """

    prepared: Record
    endpoint: Endpoint
    files: Files
    environment: Mapping[str, str]
    output: int
    lock: Lock
    records: Records
    child: EngineChild | None = None

    def spawn(self) -> EngineChild:
        """Start it; see `Launch`."""
        record = self.prepared
        process = self._popen()
        os.close(self.output)
        self.output = -1
        _limit(process.pid)
        self.child = EngineChild(
            pid=process.pid,
            endpoint=self.endpoint,
            files=self.files,
            log=Path(record.log),
            log_offset=record.log_offset,
            command=record.command,
            forget=partial(self.records.forget, self.files.stem),
            process=process,
            recorded=Event(),
        )
        return self.child

    def record(self) -> None:
        """Write down what was started; see `Launch`."""
        if (child := self.child) is None:
            return
        try:
            self.lock.sign(child.pid)
            started = start_mark(child.pid) or ""
            self.records.write(
                self.files.stem, msgspec.structs.replace(self.prepared, pid=child.pid, started=started)
            )
        except StateError as error:  # it runs all the same; only the next daemon would not know it
            replica = self.endpoint.replica
            Journal("supervisor").warning("record.not_written", replica=replica, message=error.message)
        finally:
            self.lock.close()
            child.recorded.set()

    def abandon(self) -> None:
        """Let go of lock and log; see `Launch`."""
        self.lock.close()
        if self.output >= 0:
            os.close(self.output)
            self.output = -1

    def _popen(self) -> subprocess.Popen[bytes]:
        command = self.prepared.command
        try:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=self.output,
                stderr=self.output,
                cwd=self.files.folder,
                env=dict(self.environment),
                pass_fds=(self.lock.descriptor,),
                start_new_session=True,
                umask=0o077,
            )
        except OSError as error:
            if error.errno in PASSING:
                raise
            message = f"llama-server cannot be started: {command[0]}: {error.strerror}."
            raise EngineError(
                message, remedy="Correct engine.path, or run `relayd engine install`."
            ) from error


def _limit(pid: int) -> None:
    """Let the kernel prefer this process over the daemon when memory ends, and write no core.

    Set from outside after the start: no code of ours runs between fork and exec.
    """
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError):  # already gone; its exit is seen elsewhere
        resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))
        Path(f"/proc/{pid}/oom_score_adj").write_text("500")

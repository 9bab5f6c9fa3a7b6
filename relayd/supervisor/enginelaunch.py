"""A llama-server that is about to be started: its files are there, its lock is held (engine launch)."""

import errno
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
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
from relayd.supervisor.limits import limit, small_stacks, wall_of
from relayd.supervisor.sandboxed import engine_in

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
        sandbox: Argv of what runs it in a sandbox; empty where none does.
        child: The process, once it is started.
    """

    prepared: Record
    endpoint: Endpoint
    files: Files
    environment: Mapping[str, str]
    output: int
    lock: Lock
    records: Records
    sandbox: tuple[str, ...] = ()
    child: EngineChild | None = None
    _started: subprocess.Popen[bytes] | None = None
    _info: int = -1

    def spawn(self) -> EngineChild | None:
        """Start it; see `Launch`."""
        if not self.sandbox:
            process = self._popen(self.prepared.command, self.lock.descriptor)
            return self._began(process, process.pid)
        self._info, writing = os.pipe()
        try:
            program, *rest = self.sandbox
            argv = (program, "--info-fd", str(writing), *rest)
            self._started = self._popen(argv, self.lock.descriptor, writing)
        finally:
            os.close(writing)
        return None

    def find(self) -> EngineChild:
        """Return the engine inside its sandbox; see `Launch`."""
        if (process := self._started) is None:
            raise ChildProcessError(errno.ECHILD, "nothing was started")
        try:
            pid, group = engine_in(process, self._info)
        except BaseException:
            process.kill()
            process.wait()
            self.abandon()
            raise
        finally:
            os.close(self._info)
        return self._began(process, pid, group)

    def discard(self) -> None:
        """End what was started; see `Launch`."""
        if (child := self.child) is not None:
            child.recorded.set()
            self.lock.close()
            child.signal(signal.SIGKILL)
            child.reap()

    def _began(self, process: subprocess.Popen[bytes], pid: int, group: int = 0) -> EngineChild:
        """Return the process of this start, within its limits."""
        record = self.prepared
        os.close(self.output)
        self.output = -1
        wall = wall_of(record)
        limit(pid, wall)
        self.child = EngineChild(
            pid=pid,
            endpoint=self.endpoint,
            files=self.files,
            log=Path(record.log),
            log_offset=record.log_offset,
            command=record.command,
            forget=partial(self.records.forget, self.files.stem),
            process=process,
            group=group,
            recorded=Event(),
            wall=wall,
        )
        return self.child

    def record(self) -> None:
        """Write down what was started; see `Launch`."""
        if (child := self.child) is None:
            return
        try:
            self.lock.sign(child.pid)
            started = start_mark(child.pid) or ""
            made = {"pid": child.pid, "group": child.group, "started": started}
            self.records.write(self.files.stem, msgspec.structs.replace(self.prepared, **made))
        except StateError as error:  # it runs all the same; only the next daemon would not know it
            replica = self.endpoint.replica
            Journal("supervisor").warning("record.not_written", replica=replica, message=error.message)
        finally:
            self.lock.close()
            child.recorded.set()

    def abandon(self) -> None:
        """Let go of lock and log; see `Launch`."""
        if self.sandbox:
            self.files.remove_box()
        self.lock.close()
        if self.output >= 0:
            os.close(self.output)
            self.output = -1

    def _popen(self, command: Sequence[str], *descriptors: int) -> subprocess.Popen[bytes]:
        try:
            with small_stacks():
                return subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=self.output,
                    stderr=self.output,
                    cwd=self.files.folder,
                    env=dict(self.environment),
                    pass_fds=descriptors,
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

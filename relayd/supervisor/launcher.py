"""The launcher: starts llama-server processes, and takes them over from an earlier daemon."""

import errno
import os
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

from relayd.clock import Clock
from relayd.endpoint import Endpoint, LocalAddress, TcpAddress, UnixAddress
from relayd.errors import ListenError, StateError
from relayd.files import private_folder
from relayd.lock import Lock, is_held
from relayd.planner import Planned, ReplicaSpec
from relayd.planner.plan import to_document
from relayd.planner.wall import NO_WALL, MemoryWall
from relayd.secret import Secret, new_secret
from relayd.store import Record, Records
from relayd.supervisor.adoption import Adopted, address_of, identity, running_plan
from relayd.supervisor.child import EngineChild, Files
from relayd.supervisor.enginelaunch import PASSING, EngineLaunch
from relayd.supervisor.identity import boot_id, is_ours, start_mark
from relayd.supervisor.launching import Launch
from relayd.supervisor.limits import set_wall, wall_of
from relayd.supervisor.logs import log_path, mark, open_log
from relayd.supervisor.orphans import TAGS, end_stragglers
from relayd.supervisor.sizing import Reduction, line_of

Command = Callable[[ReplicaSpec, LocalAddress, Path], tuple[str, ...]]
"""Builds the argv of a replica from its spec, its address and its key file."""


Sandbox = Callable[[ReplicaSpec, Sequence[str], Files], tuple[str, ...]]
"""Builds the argv that runs that of a replica in a sandbox; an empty one where none does.

Raises EngineError where there is no sandbox to be had. Called in a thread.
"""


def _no_sandbox(_spec: ReplicaSpec, _command: Sequence[str], _files: Files) -> tuple[str, ...]:
    return ()


def _no_wall(_planned: Planned) -> MemoryWall:
    return NO_WALL


class Launcher(Protocol):
    """Starts processes for specs."""

    def prepare(self, planned: Planned, incarnation: int, reduction: Reduction | None = None) -> Launch:
        """Make what a start needs: lock, key, address, command line, log. Blocks.

        Args:
            planned: What runs.
            incarnation: How many times the replica was started, this time included.
            reduction: What it was made smaller by, if it was.

        Raises:
            StateError: The runtime folder cannot be used.
            RelaydError: The replica cannot be started as it is planned.
            OSError: The system is out of a resource, or another process holds the replica; trying
                again may help.
        """
        ...

    def adopt(self, planned: Planned) -> Adopted | None:
        """Return the process that an earlier daemon started for the line of this plan, if it lives."""
        ...


class EngineLauncher:
    """Starts llama-server processes that outlive this one.

    The child gets no descriptor but its log and its lock. It holds the lock as long as it
    lives, so no second process is started for the replica, whatever happens to us.

    Args:
        command: Builds the argv.
        environment: Builds the child's environment for a replica's name.
        runtime: Folder of sockets, keys, locks and records; the child's working directory.
        logs: Folder of log files.
        engine: Names the binary; part of what a replica is started from.
        clock: Time, for the line in the log where an incarnation begins.
        ports: Ports to assign from; empty for unix sockets.
        wall: Returns the limit of memory of a process; called in a thread.

    Attributes:
        sandbox: Builds the argv that runs a replica in a sandbox; of none, until it is set.
    """

    sandbox: Sandbox = staticmethod(_no_sandbox)

    def __init__(
        self,
        command: Command,
        environment: Callable[[str], Mapping[str, str]],
        *,
        runtime: Path,
        logs: Path,
        engine: str,
        clock: Clock,
        ports: Iterable[int] = (),
        wall: Callable[[Planned], MemoryWall] = _no_wall,
    ) -> None:
        self._command = command
        self._environment = environment
        self._runtime = runtime
        self._logs = logs
        self._engine = engine
        self._clock = clock
        self._ports = tuple(ports)
        self._wall = wall
        self._next_port = 0
        self._records = Records(runtime)

    def __repr__(self) -> str:
        return f"<EngineLauncher: {self._engine}, {len(self._ports) or 'no'} ports>"

    def prepare(self, planned: Planned, incarnation: int, reduction: Reduction | None = None) -> EngineLaunch:
        """Make what a start needs; see `Launcher`."""
        files = Files.of(self._runtime, planned.name)
        private_folder(self._runtime)  # it may have been removed meanwhile
        private_folder(self._logs)
        lock = _take(files.lock, planned.name)
        try:
            return self._prepared(planned, incarnation, reduction, files, lock)
        except BaseException:
            lock.close()
            raise

    def adopt(self, planned: Planned) -> Adopted | None:
        """Return the living process of this plan's line; see `Launcher`.

        All of these must hold: its record is of this boot, of this engine and of what is wanted, the pid
        began when the record has it, carries our tag, holds the replica's lock, and its key is there.
        """
        files = Files.of(self._runtime, planned.name)
        record = self._records.read(files.stem)
        if (
            record is None
            or record.boot_id != boot_id()
            or (wanted := self._wanted(record, planned, files)) is None
            or record.started != start_mark(record.pid)
            or not is_ours(record.pid, self._runtime, planned.name)
            or (key := _key_of_holder(files)) is None
        ):
            return None
        child = self._adopted(record, files, key)
        set_wall(child.pid, child.wall)
        return Adopted(child, *wanted)

    def _wanted(
        self, record: Record, planned: Planned, files: Files
    ) -> tuple[Planned, Reduction | None] | None:
        address = address_of(record, files)
        return running_plan(
            record, planned, self._engine, lambda spec: self._command(spec, address, files.key)
        )

    def _adopted(self, record: Record, files: Files, key: Secret) -> EngineChild:
        return EngineChild(
            pid=record.pid,
            endpoint=Endpoint(address_of(record, files), key, record.replica, record.incarnation),
            files=files,
            log=Path(record.log),
            log_offset=record.log_offset,
            command=record.command,
            forget=partial(self._records.forget, files.stem),
            group=record.group,
            wall=wall_of(record),
        )

    def _prepared(
        self, planned: Planned, incarnation: int, reduction: Reduction | None, files: Files, lock: Lock
    ) -> EngineLaunch:
        spec, key = planned.spec, new_secret()
        files.key.unlink(missing_ok=True)
        with os.fdopen(os.open(files.key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(key.reveal() + "\n")
        files.socket.unlink(missing_ok=True)
        address = self._address(files)
        command = self._command(spec, address, files.key)
        if sandbox := self.sandbox(spec, command, files):
            files.make_box()
        log = log_path(self._logs, spec.model, spec.index)
        environment = self._environment(spec.name)
        output = open_log(log)
        mark(output, spec.name, incarnation, self._clock.wall())
        tcp, wall = address if isinstance(address, TcpAddress) else TcpAddress(0), self._wall(planned)
        record = Record(
            replica=planned.name,
            identity=identity(planned.spec, self._engine),
            line=line_of(planned),
            spec=to_document(planned.spec),
            needs=dict(planned.needs),
            basis=planned.basis.value,
            reduction=to_document(reduction) if reduction else None,
            incarnation=incarnation,
            pid=0,
            boot_id=boot_id(),
            started="",
            port=tcp.port,
            host=tcp.host,
            log=str(log),
            log_offset=os.fstat(output).st_size,
            command=command,
            wall=wall.limit or 0,
            no_wall=wall.reason,
        )
        endpoint = Endpoint(address, key, spec.name, incarnation)
        if sandbox:  # it runs what is tagged, and is not
            environment = {name: value for name, value in environment.items() if name not in TAGS}
        return EngineLaunch(record, endpoint, files, environment, output, lock, self._records, sandbox)

    def _address(self, files: Files) -> LocalAddress:
        if not self._ports:
            return UnixAddress(files.socket)
        for _ in self._ports:
            port = self._ports[self._next_port % len(self._ports)]
            self._next_port += 1
            if _is_free(port):
                return TcpAddress(port)
        first, last = self._ports[0], self._ports[-1]
        raise ListenError(
            f"every port from {first} to {last} is taken.", remedy="Give replicas.ports a wider range."
        )


def _key_of_holder(files: Files) -> Secret | None:
    """Return the key of the process that holds a replica's lock; None if none does or it is not there."""
    try:
        return Secret(files.key.read_text("ascii").strip()) if is_held(files.lock) else None
    except (OSError, ValueError):  # not the files that were left there
        return None


def _take(path: Path, replica: str) -> Lock:
    try:
        lock = Lock.try_take(path)
    except OSError as error:
        if error.errno in PASSING:
            raise
        message = f"the runtime folder {path.parent} cannot be used: {error.strerror}."
        raise StateError(message, remedy="Check its owner and mode (0700).") from error
    if lock is None:
        end_stragglers(path.parent, replica)  # what is ending holds it a moment longer
        raise BlockingIOError(errno.EAGAIN, f"another process holds {replica}; `fuser {path}` names it")
    return lock


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True

"""Replica records: what was running when the last daemon ended.

One small file for each replica, in the runtime folder. The process is the truth, the record
only describes it: losing one costs a reload, and one that cannot be read is put aside.
"""

import contextlib
from pathlib import Path
from typing import Any

import msgspec

from relayd.errors import StateError
from relayd.files import quarantine, write_atomic
from relayd.journal import Journal

_SCHEMA = 1
_MOST_BYTES = 1 << 20


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One incarnation of a replica, as the next daemon needs to know it.

    Attributes:
        replica: Its name, `MODEL#N`.
        identity: Digest of the spec it was started from, and the engine.
        line: Digest of the model's line that the spec was made of; empty in records of earlier versions.
        spec: That spec, smaller than planned where memory did not hold the plan.
        needs: Device → bytes that it has to hold; empty where they were not planned, and in earlier records.
        basis: How these are known.
        reduction: What it was made smaller by, if it was.
        incarnation: How many times it had been started.
        pid: Process id.
        group: The id of its group; 0 where that is its own.
        boot_id: The boot of the machine in which that pid means this process.
        started: When the process began, as the kernel counts it since that boot.
        port: Its TCP port; 0 on a unix socket.
        host: The host of that port.
        log: The file it writes to.
        log_offset: Where in that file it began, in bytes.
        command: Its argv.
        wall: Its limit of anonymous memory in bytes; 0 for none.
        no_wall: Why it has none.
        schema: Version of this layout.
    """

    replica: str
    identity: str
    line: str = ""
    spec: dict[str, Any] | None = None
    needs: dict[str, int] = {}
    basis: str = ""
    reduction: dict[str, Any] | None = None
    incarnation: int
    pid: int
    group: int = 0
    boot_id: str
    started: str
    port: int = 0
    host: str = "127.0.0.1"
    log: str
    log_offset: int
    command: tuple[str, ...]
    wall: int = 0
    no_wall: str = ""
    schema: int = _SCHEMA


class Records:
    """The records in one folder.

    Args:
        folder: The runtime folder; the caller holds its lock.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._journal = Journal("store")

    def write(self, stem: str, record: Record) -> None:
        """Remember a replica under a file name without suffix.

        Raises:
            StateError: The disk is full, or the folder is gone.
        """
        write_atomic(self._path(stem), msgspec.json.encode(record))

    def forget(self, stem: str) -> None:
        """Remove the record of a replica that has ended; one that cannot be removed matches no process."""
        with contextlib.suppress(OSError):
            self._path(stem).unlink()

    def read(self, stem: str) -> Record | None:
        """Return the record, or None; a file that cannot be read is moved aside and logged."""
        path = self._path(stem)
        try:
            with path.open("rb") as file:
                record = msgspec.json.decode(file.read(_MOST_BYTES), type=Record)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            self._put_aside(path, str(error))
            return None
        if record.schema != _SCHEMA:
            self._put_aside(path, f"schema {record.schema}")
            return None
        return record

    def _put_aside(self, path: Path, why: str) -> None:
        try:
            aside = quarantine(path)
        except StateError as error:
            self._journal.error("record.unreadable", path=path, message=f"{why}; {error.message}")
        else:
            self._journal.warning("record.put_aside", path=aside, message=why)

    def _path(self, stem: str) -> Path:
        return self._folder / f"{stem}.json"

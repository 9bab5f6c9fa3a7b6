"""What replicas were made smaller to, kept over daemons: one file of the state folder."""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from relayd.errors import StateError
from relayd.files import quarantine, write_atomic
from relayd.journal import Journal

FILE = "reductions.json"

_SCHEMA = 1


class _ReductionsFile(msgspec.Struct, frozen=True, kw_only=True):
    replicas: dict[str, dict[str, Any]]
    schema: int = _SCHEMA


class Reductions:
    """The reductions by replica, as documents; threads may use it at the same time.

    Args:
        state: The state folder.
    """

    def __init__(self, state: Path) -> None:
        self._path = state / FILE
        self._lock = threading.Lock()
        self._journal = Journal("store")

    def __repr__(self) -> str:
        return f"<Reductions: {self._path}>"

    def read(self) -> Mapping[str, dict[str, Any]]:
        """Return what is kept; a file that cannot be read is moved aside and reported."""
        with self._lock:
            return self._read()

    def put(self, replica: str, reduction: Mapping[str, Any] | None) -> None:
        """Keep what a replica was made smaller to, or None once it is at its full size again.

        Raises:
            StateError: The disk is full, or the folder is gone.
        """
        with self._lock:
            known = self._read()
            kept = {name: one for name, one in known.items() if name != replica}
            if reduction is not None:
                kept[replica] = dict(reduction)
            if kept != known:
                write_atomic(self._path, msgspec.json.encode(_ReductionsFile(replicas=kept)))

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            document = msgspec.json.decode(self._path.read_bytes(), type=_ReductionsFile)
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.MsgspecError) as error:
            return self._put_aside(str(error))
        return (
            document.replicas if document.schema == _SCHEMA else self._put_aside(f"schema {document.schema}")
        )

    def _put_aside(self, why: str) -> dict[str, dict[str, Any]]:
        try:
            aside = quarantine(self._path)
        except StateError as error:
            self._journal.error("reduction.unreadable", path=self._path, message=f"{why}; {error.message}")
        else:
            self._journal.warning("reduction.put_aside", path=aside, message=why)
        return {}

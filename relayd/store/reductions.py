"""What replicas were made smaller to, kept over daemons: one file of the state folder."""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from relayd.store.kept import SCHEMA, KeptFile

FILE = "reductions.json"


class _ReductionsFile(msgspec.Struct, frozen=True, kw_only=True):
    replicas: dict[str, dict[str, Any]]
    schema: int = SCHEMA


class Reductions:
    """The reductions by replica, as documents; threads may use it at the same time.

    Args:
        state: The state folder.
    """

    def __init__(self, state: Path) -> None:
        self._file = KeptFile(state / FILE, _ReductionsFile)
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<Reductions in {self._file!r}>"

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
                self._file.write(_ReductionsFile(replicas=kept))

    def _read(self) -> dict[str, dict[str, Any]]:
        document = self._file.read()
        return document.replicas if document else {}

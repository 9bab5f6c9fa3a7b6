"""Which replicas run now, by what their daemon wrote into the runtime folder and the locks they hold."""

import contextlib
from pathlib import Path

import msgspec

from relayd.lock import is_held


class _Started(msgspec.Struct):
    """The members of a record (`store.records`) that have had the same name in every version."""

    replica: str
    pid: int


def running_replicas(runtime: Path) -> dict[str, int]:
    """Return the name and process of each replica that lives, whichever daemon started it.

    Only read: what cannot be understood is left to the daemon.
    """
    found = {}
    for path in sorted(runtime.glob("*.json")):
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            record = msgspec.json.decode(path.read_bytes(), type=_Started)
            if is_held(path.with_suffix(".lock")):
                found[record.replica] = record.pid
    return found

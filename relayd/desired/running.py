"""Which replicas run now, by what their daemon wrote into the runtime folder and the locks they hold."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from relayd.lock import is_held


class RunningReplica(msgspec.Struct, frozen=True):
    """The members of a record (`store.records`) that are read without its daemon.

    Attributes:
        replica: Its name, `MODEL#N`.
        pid: Its process.
        command: Its argv.
        line: Digest of the model's line that it was made of; "" in records of earlier versions.
        reduction: What it was made smaller by, if it was.
    """

    replica: str
    pid: int
    command: tuple[str, ...] = ()
    line: str = ""
    reduction: dict[str, Any] | None = None


def running_replicas(runtime: Path) -> dict[str, int]:
    """Return the name and process of each replica that lives, whichever daemon started it."""
    return {one.replica: one.pid for one in replicas_that_run(runtime)}


def replicas_that_run(runtime: Path) -> Iterator[RunningReplica]:
    """Yield each replica that lives, whichever daemon started it.

    Only read: what cannot be understood is left to the daemon.
    """
    for path in sorted(runtime.glob("*.json")):
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            record = msgspec.json.decode(path.read_bytes(), type=RunningReplica)
            if is_held(path.with_suffix(".lock")):
                yield record

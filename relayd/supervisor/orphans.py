"""Orphans: processes and files that earlier daemons have left, found and removed.

The tag in a process's environment decides, never a pid from a file: pids are reused.
"""

import asyncio
import contextlib
import os
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

import psutil

from relayd.lock import Lock

INSTANCE_VARIABLE = "RELAYD_INSTANCE"
"""Set in every replica's environment to the runtime folder of its daemon."""

REPLICA_VARIABLE = "RELAYD_REPLICA"
"""Set in every replica's environment to its name."""

TAGS = (INSTANCE_VARIABLE, REPLICA_VARIABLE)

_STEM = "[0-9a-f]" * 8


async def end_orphans(
    runtime: Path, adopted: Collection[int], *, patience_seconds: float, spared: Collection[str] = ()
) -> list[int]:
    """End what an earlier daemon left behind, and return the pids; replicas may end and start meanwhile.

    Args:
        runtime: The runtime folder; the caller holds its lock, so no other daemon lives.
        adopted: Processes that stay: what is in their group stays with them.
        spared: Replicas whose processes stay too.
        patience_seconds: How long the others have between TERM and KILL.
    """
    groups = {_group(pid) for pid in adopted}
    orphans = [
        process
        for process, name in _tagged(runtime)
        if _group(process.pid) not in groups and name not in spared
    ]
    await asyncio.to_thread(_end_processes, orphans, patience_seconds=patience_seconds)
    remove_files(runtime)
    return [process.pid for process in orphans]


def _end_processes(processes: list[psutil.Process], *, patience_seconds: float) -> None:
    """End processes by TERM, then by KILL; blocks until they are gone."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.terminate()
            process.resume()
    _, alive = psutil.wait_procs(processes, timeout=patience_seconds)
    for process in alive:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(alive, timeout=patience_seconds)


def end_stragglers(runtime: Path, replica: str) -> None:
    """Kill what a replica has left behind that ended itself."""
    for process, name in _tagged(runtime):
        if name == replica:
            with contextlib.suppress(psutil.Error):
                process.kill()


def _tagged(runtime: Path) -> Iterator[tuple[psutil.Process, str]]:
    """Yield this user's processes that a daemon of this runtime folder started, and for which replica."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            tags = process.environ() if process.uids().real == os.getuid() else {}
            if tags.get(INSTANCE_VARIABLE) == str(runtime):
                yield process, tags.get(REPLICA_VARIABLE, "")


def _group(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None


def remove_files(runtime: Path) -> None:
    """Remove sockets, keys, records and locks of replicas that nothing serves.

    It holds each of these locks for a moment, so no replica may be started at the same time.
    """
    for path in runtime.glob(f"{_STEM}.lock"):
        with contextlib.suppress(OSError):
            if lock := Lock.try_take(path):
                for suffix in (".sock", ".key", ".json", ".lock"):
                    with contextlib.suppress(OSError):  # a folder in its place is not ours
                        path.with_suffix(suffix).unlink()
                shutil.rmtree(path.with_suffix(".box"), ignore_errors=True)
                lock.close()

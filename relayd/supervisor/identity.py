"""Process identity: whether a pid is still the process that was started.

A pid alone names nothing: it is reused, and means something else after a reboot.
"""

import os
from pathlib import Path

import psutil

from relayd.supervisor.orphans import INSTANCE_VARIABLE, REPLICA_VARIABLE


def boot_id() -> str:
    """Return an id of this boot of the machine, different for every boot."""
    known = Path("/proc/sys/kernel/random/boot_id")
    return known.read_text().strip() if known.exists() else str(round(psutil.boot_time()))


def start_mark(pid: int) -> str | None:
    """Return when a process began, in a form that no clock step changes; None for one that has ended.

    On Linux the 22nd field of `/proc/PID/stat`: ticks since boot (proc(5)).
    """
    try:
        if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return None
        stat = Path(f"/proc/{pid}/stat")
        if not stat.exists():
            return str(psutil.Process(pid).create_time())  # macOS
        return stat.read_text().rpartition(")")[2].split()[19]
    except (psutil.Error, OSError):
        return None


def is_ours(pid: int, runtime: Path, replica: str) -> bool:
    """Return whether a process of this user carries the tag of this daemon and this replica."""
    try:
        process = psutil.Process(pid)
        tags = process.environ()
        own = process.uids().real == os.getuid()
    except (psutil.Error, OSError):
        return False
    return own and tags.get(INSTANCE_VARIABLE) == str(runtime) and tags.get(REPLICA_VARIABLE) == replica

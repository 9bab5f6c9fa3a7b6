"""The service manager that runs this process: name, journal and limits."""

import contextlib
import resource
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from relayd.service.notify import watchdog_seconds

_NO_LAUNCHD_JOB = "0"


@dataclass(frozen=True, slots=True)
class Managed:
    """A process as its service manager sees it.

    Attributes:
        manager: `systemd` or `launchd`.
        name: Of the unit or job.
        journal: The command that shows its journal; empty where its log file is all there is.
        open_files: Most descriptors.
        tasks: Most processes and threads; None for no limit of its own.
        memory: Most bytes, replicas included; None for no limit of its own.
        watchdog_seconds: Silence after which it is started anew; None if it is not watched.
    """

    manager: str
    name: str
    journal: str
    open_files: int
    tasks: int | None = None
    memory: int | None = None
    watchdog_seconds: float | None = None


def managed(environ: Mapping[str, str], pid: int, root: Path = Path("/")) -> Managed | None:
    """Return the service manager of process `pid`, this one; None when it was started by hand.

    A shell of a desktop session inherits much of a service's environment: only a unit with a
    `NOTIFY_SOCKET` and a group named after a service counts.

    Args:
        environ: Variables of this process.
        pid: This process.
        root: The folder that holds `proc` and `sys`.
    """
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    job = environ.get("XPC_SERVICE_NAME", _NO_LAUNCHD_JOB)
    if job != _NO_LAUNCHD_JOB:
        return Managed("launchd", job, "", files)
    group = _group(root / "proc/self/cgroup")
    if not group.name.endswith(".service") or "NOTIFY_SOCKET" not in environ:
        return None
    scope = "--user " if any(part.startswith("user@") for part in group.parts[:-1]) else ""
    folder = root / "sys/fs/cgroup" / group.relative_to("/")
    return Managed(
        "systemd",
        group.name,
        f"journalctl {scope}-u {group.name}",
        files,
        tasks=_limit(folder / "pids.max"),
        memory=_limit(folder / "memory.max"),
        watchdog_seconds=watchdog_seconds(environ, pid),
    )


def _group(path: Path) -> Path:
    """Return the control group that systemd put us in, as a path from its root (cgroups(7))."""
    with contextlib.suppress(OSError):
        for line in path.read_text().splitlines():
            _, controllers, group = line.split(":", maxsplit=2)
            if controllers in ("", "name=systemd"):
                return Path(group)
    return Path("/")


def _limit(path: Path) -> int | None:
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None

"""Checks of folders: permissions, network file systems, free space."""

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from relayd.checkup.finding import Finding, Patient, Severity, tried
from relayd.config import Config
from relayd.folders import make_folders
from relayd.units import GIB, show_bytes

LITTLE_DISK = 5 * GIB

REMOTE = ("nfs", "cifs", "smb", "9p", "drvfs", "virtiofs", "vboxsf", "fuse.sshfs", "ceph", "glusterfs", "afs")
"""Linux's names of network file systems; those that a virtual machine mounts from its host are slow too."""


def check_folders(patient: Patient) -> Iterator[Finding]:
    """Yield whether folders can be used, how full their disks are, and what of models is slow or skipped."""
    paths = patient.paths
    well = f"state in {paths.state}, sockets in {paths.runtime}"
    found = tried("folders", lambda: make_folders(paths), well)
    open_ones = [folder for folder in (paths.state, paths.runtime) if _is_open(folder)]
    if found.level is Severity.PROBLEM and open_ones:
        found = replace(found, fix=partial(_close, open_ones))
    yield found
    mounts = _mounts(patient.root)
    if _file_system(paths.runtime, mounts).startswith("nfs"):
        remedy = "Set RELAYD_RUNTIME_DIR to a local folder: locks on NFS are not reliable."
        yield Finding("runtime folder", Severity.PROBLEM, f"{paths.runtime} is on NFS", remedy)
    yield from _room({"state": paths.state, "data": paths.data}, patient.models, patient.disk_free)
    for skipped in patient.skipped:
        yield Finding("models on disk", Severity.NOTE, skipped)
    if isinstance(patient.config, Config):
        for model in patient.config.model:
            kind = _file_system(Path(model.file), mounts)
            if kind.startswith(REMOTE):
                remedy = "Copy it to a local disk."
                detail = (
                    f"{model.name} is read over {kind}: it loads slowly, and stalls when the network does"
                )
                yield Finding("model files", Severity.NOTE, detail, remedy)


def _close(folders: list[Path]) -> None:
    for folder in folders:
        folder.chmod(0o700)


def _is_open(folder: Path) -> bool:
    """Return whether other users may enter a folder of this user."""
    try:
        status = folder.stat()
    except OSError:
        return False
    return status.st_uid == os.geteuid() and bool(stat.S_IMODE(status.st_mode) & 0o077)


def _room(
    own: dict[str, Path], models: tuple[Path, ...], disk_free: Callable[[Path], int]
) -> Iterator[Finding]:
    """Yield how much is free on every disk that relayd or a model may be written to, each disk once."""
    seen = set()
    for name, folder in (*own.items(), *(("models", folder) for folder in models)):
        place = next((one for one in (folder, *folder.parents) if one.exists()), None)
        if place is None or (disk := place.stat().st_dev) in seen:
            continue
        seen.add(disk)
        free = disk_free(place)
        level = Severity.NOTE if free < LITTLE_DISK else Severity.OK
        remedy = f"Free some space, or move {folder}." if level is Severity.NOTE else ""
        yield Finding(f"disk of {name}", level, f"{show_bytes(free)} free at {folder}", remedy)


def _mounts(root: Path) -> list[tuple[str, str]]:
    """Return where file systems are mounted and of which type they are; nothing where there is no /proc."""
    try:
        lines = (root / "proc/mounts").read_text().splitlines()
    except OSError:
        return []
    return [
        (fields[1].replace("\\040", " "), fields[2]) for fields in map(str.split, lines) if len(fields) > 2
    ]


def _file_system(path: Path, mounts: list[tuple[str, str]]) -> str:
    """Return the type of the file system a path is on, as Linux names it; empty elsewhere."""
    holders = [(len(place), kind) for place, kind in mounts if path.is_relative_to(place)]
    return max(holders, default=(0, ""))[1]

"""What on this machine would keep relayd from working well, and what helps?"""

import os
import resource
import shutil
import socket
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from relayd.config import Config, Paths, check_exposure, check_model_files, make_folders, parse_listen
from relayd.engine import Engine
from relayd.errors import RelaydError
from relayd.hardware import Machine
from relayd.units import GIB, MIB, show_bytes

_LITTLE_DISK = 5 * GIB
_FEW_DESCRIPTORS = 4096
_LITTLE_MEMLOCK = 64 * MIB
_OLDEST_BUILD = 9000
"""llama.cpp builds before this lack flags that relayd passes where they exist (`--log-jsonl`, `--fit`)."""


class Level(StrEnum):
    """How much a finding matters."""

    OK = "ok"
    NOTE = "note"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        subject: What was looked at.
        level: How it is.
        detail: What was found.
        remedy: What helps; empty when nothing needs help.
    """

    subject: str
    level: Level
    detail: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Patient:
    """What a check-up looks at.

    Attributes:
        config: What the operator wants, or why it cannot be read.
        engine: Finds the llama-server; raises `RelaydError` when there is none.
        machine: The hardware.
        paths: relayd's folders.
        running: Whether a daemon answers.
    """

    config: Config | RelaydError
    engine: Callable[[], Engine]
    machine: Machine
    paths: Paths
    running: bool


def check_up(patient: Patient) -> Iterator[Finding]:
    """Yield a finding for everything that has hurt people before."""
    yield from _configuration(patient)
    yield from _engine(patient)
    yield from _devices(patient.machine)
    yield from _folders(patient.paths)
    yield from _limits(patient.machine)
    yield from _surroundings()


def _configuration(patient: Patient) -> Iterator[Finding]:
    config = patient.config
    if isinstance(config, RelaydError):
        yield _problem("configuration", config)
        return
    checks: Iterable[tuple[str, Callable[[], object]]] = (
        ("model files", lambda: check_model_files(config)),
        ("exposure", lambda: check_exposure(config.server.listen, config.server.api_key)),
    )
    yield Finding("configuration", Level.OK, f"{len(config.model)} models")
    for subject, check in checks:
        yield _tried(subject, check, "as it should be")
    if not patient.running:
        yield _port(config)


def _port(config: Config) -> Finding:
    address = parse_listen(config.server.listen)
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address.host, address.port))
        except OSError as error:
            remedy = "stop what listens there, or set server.listen"
            return Finding("port", Level.PROBLEM, f"{address}: {error.strerror}", remedy)
    return Finding("port", Level.OK, f"{address} is free")


def _engine(patient: Patient) -> Iterator[Finding]:
    try:
        engine = patient.engine()
    except RelaydError as error:
        yield _problem("engine", error)
        return
    yield Finding("engine", Level.OK, f"llama.cpp {engine.version} at {engine.path}")
    if engine.build is not None and engine.build < _OLDEST_BUILD:
        remedy = "relayd engine update"
        yield Finding("engine age", Level.NOTE, f"build {engine.build} is old", remedy)
    missing = [
        flag
        for flag in ("--api-key-file", "--metrics", "--cache-ram", "--fit")
        if flag not in engine.features.flags
    ]
    if missing:
        yield Finding("engine features", Level.NOTE, f"it lacks {', '.join(missing)}", "relayd engine update")
    if not engine.features.unix_sockets:
        remedy = 'relayd engine update, or set [replicas] listen = "tcp"'
        yield Finding("engine sockets", Level.PROBLEM, "it cannot listen on unix sockets", remedy)


def _devices(machine: Machine) -> Iterator[Finding]:
    for device in machine.devices:
        free = f"{show_bytes(device.memory_free)} of {show_bytes(device.memory_total)} free"
        yield Finding(f"device {device.key}", Level.OK, f"{device.name}, {free}")
    for note in machine.notes:
        what, _, remedy = note.partition(": ")
        yield Finding("devices", Level.NOTE, what, remedy)


def _folders(paths: Paths) -> Iterator[Finding]:
    yield _tried(
        "folders", lambda: make_folders(paths), f"state in {paths.state}, sockets in {paths.runtime}"
    )
    for name, folder in (("data", paths.data), ("state", paths.state)):
        if folder.exists():
            free = shutil.disk_usage(folder).free
            level = Level.NOTE if free < _LITTLE_DISK else Level.OK
            remedy = f"free some space, or move {folder}" if level is Level.NOTE else ""
            yield Finding(f"disk of {name}", level, f"{show_bytes(free)} free", remedy)
    if _file_system(paths.runtime).startswith("nfs"):
        remedy = "set RELAYD_RUNTIME_DIR to a local folder: locks on NFS do not hold"
        yield Finding("runtime folder", Level.PROBLEM, f"{paths.runtime} is on NFS", remedy)


def _limits(machine: Machine) -> Iterator[Finding]:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < _FEW_DESCRIPTORS:
        remedy = "raise it: LimitNOFILE in the unit, or ulimit -Hn"
        yield Finding("descriptors", Level.NOTE, f"at most {hard} open files", remedy)
    else:
        yield Finding("descriptors", Level.OK, f"up to {'any number' if hard < 0 else hard}")
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if soft != resource.RLIM_INFINITY and soft < _LITTLE_MEMLOCK:
        remedy = "only --load-mode mlock needs more: LimitMEMLOCK=infinity, or ulimit -l unlimited"
        yield Finding("locked memory", Level.OK, f"at most {show_bytes(soft)}; {remedy}")
    limit = machine.memory.limit
    if limit is not None and limit.limit < machine.memory.total:
        detail = f"this process may use {show_bytes(limit.limit)} of {show_bytes(machine.memory.total)}"
        yield Finding("control group", Level.NOTE, detail, "raise the container's limit if models do not fit")


def _surroundings() -> Iterator[Finding]:
    system = Path("/etc/llama.cpp/config.ini")
    if system.exists():
        remedy = f"move {system} away; relayd cannot switch it off"
        yield Finding("engine configuration", Level.PROBLEM, "llama-server reads flags from it", remedy)
    if os.geteuid() == 0:
        yield Finding("user", Level.NOTE, "relayd would run as root", "run it as a user of its own")


def _tried(subject: str, check: Callable[[], object], well: str) -> Finding:
    try:
        check()
    except RelaydError as error:
        return _problem(subject, error)
    return Finding(subject, Level.OK, well)


def _problem(subject: str, error: RelaydError) -> Finding:
    return Finding(subject, Level.PROBLEM, error.message, error.remedy)


def _file_system(folder: Path) -> str:
    """Return the type of the file system a folder is on, as Linux names it; empty elsewhere."""
    try:
        mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return ""
    holders = [(len(mount[1]), mount[2]) for mount in mounts if folder.is_relative_to(mount[1])]
    return max(holders, default=(0, ""))[1]

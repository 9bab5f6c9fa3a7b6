"""Findings of a check-up, and what the checks look at."""

import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from relayd.config import Config
from relayd.engine import Engine
from relayd.engine.sandbox import why_unusable
from relayd.errors import RelaydError
from relayd.folders import Paths
from relayd.hardware import Machine
from relayd.planner.ledger import DeviceRow
from relayd.units import Bytes

NOTHING = Bytes(0)


class Severity(StrEnum):
    """How much a finding matters."""

    OK = "ok"
    NOTE = "note"
    PROBLEM = "problem"
    FIXED = "fixed"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        subject: What was looked at.
        level: How much it matters.
        detail: What was found.
        remedy: What helps, a sentence; empty when nothing is wrong.
        fix: Does what the remedy names, where that is harmless; None where a person has to.
    """

    subject: str
    level: Severity
    detail: str
    remedy: str = ""
    fix: Callable[[], object] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A download that ended early.

    Attributes:
        name: What it is called.
        bytes: How much of it has arrived.
        shown: The same for people, and of how much.
        again: What `relayd pull` resumes it by.
        remove: Takes it off the list.
    """

    name: str
    bytes: int
    shown: str
    again: str
    remove: Callable[[], object]


@dataclass(frozen=True, slots=True)
class Process:
    """A llama-server that runs on this machine.

    Attributes:
        pid: Its process id.
        memory: RAM that it holds, files it shares with others included.
        instance: The runtime folder of the relayd that started it; empty for one that none did, `?` where
            that cannot be read.
        user: Whose it is; "" where that cannot be read.
        port: Where it listens, as its command line has it; "" where that cannot be read.
        age_seconds: For how long it has run.
    """

    pid: int
    memory: Bytes
    instance: str
    user: str = ""
    port: str = ""
    age_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class PlanFacts:
    """What a check-up has to know of the plan.

    Attributes:
        ledger: The memory of each device.
        prompt_caches: What prompts of earlier requests may take of RAM.
        on_demand: Models that are loaded when a client asks for them.
        refused: Why models cannot be loaded on this machine, a sentence each, by model.
        offered: Models that are served where none is configured.
    """

    ledger: tuple[DeviceRow, ...] = ()
    prompt_caches: Bytes = NOTHING
    on_demand: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    offered: int = 0


def _disk_free(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def _may_open(file: Path) -> bool:
    return os.access(file, os.R_OK | os.W_OK)


@dataclass(frozen=True, slots=True)
class Patient:
    """What a check-up looks at.

    Attributes:
        config: What the operator wants, or why it cannot be read.
        engine: Finds the llama-server; raises `RelaydError` when there is none.
        machine: The hardware, as the engine sees it where there is one.
        paths: relayd's folders.
        running: Whether a daemon answers.
        environ: The environment of this process.
        sources: Files and variables the configuration came from.
        warnings: What reading it warned of.
        plan: Returns what is planned; raises `RelaydError` where nothing can be.
        skipped: Files in folders of models, and of the configuration, that cannot be served: a sentence each.
        models: Folders that models are fetched to; they need not exist.
        damaged: Why configured models cannot be served although their files are there, by name.
        unfinished: Downloads that ended early.
        secret_files: Files that hold keys; they need not exist.
        pending: What the configuration has changed since the running daemon read it.
        servers: Returns every llama-server that runs here.
        root: The folder that holds `proc`, `dev`, `etc` and `var`.
        disk_free: Returns the bytes that are free on the disk of a folder.
        may_open: Returns whether this user may read and write a file.
        no_sandbox: Returns why replicas cannot run in a sandbox; "" where they can.
    """

    config: Config | RelaydError
    engine: Callable[[], Engine]
    machine: Machine
    paths: Paths
    running: bool
    environ: Mapping[str, str]
    plan: Callable[[], PlanFacts]
    sources: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    models: tuple[Path, ...] = ()
    damaged: Mapping[str, str] = field(default_factory=dict)
    unfinished: tuple[Unfinished, ...] = ()
    secret_files: tuple[Path, ...] = ()
    pending: str = ""
    servers: Callable[[], Iterable[Process]] = tuple
    root: Path = Path("/")
    disk_free: Callable[[Path], int] = _disk_free
    may_open: Callable[[Path], bool] = _may_open
    no_sandbox: Callable[[], str] = why_unusable


def tried(subject: str, check: Callable[[], object], well: str) -> Finding:
    """Run a check that raises `RelaydError` where something is wrong, and return its result."""
    try:
        check()
    except RelaydError as error:
        return problem(subject, error)
    return Finding(subject, Severity.OK, well)


def problem(subject: str, error: RelaydError) -> Finding:
    """Return an error as a finding."""
    return Finding(subject, Severity.PROBLEM, error.message, error.remedy)

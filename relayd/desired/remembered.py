"""Where models were placed the last time, so that a restart places them there again (`plans.json`).

An entry holds as long as the line, the files, the engine and the machine are the ones that it was made for.
"""

import contextlib
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from relayd.config import Model
from relayd.config.schema import Allocation
from relayd.engine import Engine
from relayd.engine.commandline import draft_of, projector_of
from relayd.errors import ModelFileError, StateError
from relayd.files import write_atomic
from relayd.gguf import part_names
from relayd.gguf.companions import PART
from relayd.hardware import Machine
from relayd.planner.placement import DEFAULT_SLOTS
from relayd.planner.plan import Basis

FILE_NAME = "plans.json"
SCHEMA = 1
"""Counts breaking changes; a file of another number is planned anew."""

_MOST_BYTES = 4 << 20

_Some = Annotated[int, msgspec.Meta(ge=1, lt=1 << 31)]
_SomeOrNone = Annotated[int, msgspec.Meta(ge=0, lt=1 << 31)]
_Size = Annotated[int, msgspec.Meta(ge=0, lt=1 << 53)]
"""What each number may be: another is none that a plan has written."""


RESIDENCE = frozenset({"load", "idle_minutes", "pin", "home"})
"""Settings of a line that change no process: when its model is in memory."""


class RememberedReplica(msgspec.Struct, frozen=True, kw_only=True):
    """How one replica runs.

    Attributes:
        context: Tokens a slot holds.
        slots: Requests at once.
        threads: CPU threads; 0 lets the engine choose.
        cache_ram_mib: RAM for prompts of earlier requests, in MiB.
        placement: Where, all of it decided.
        needs: Device → bytes.
        basis: How these are known.
        reasons: Why it has no more.
        weights: What of its needs of RAM are weights.
    """

    context: _Some
    slots: _Some
    threads: _SomeOrNone
    cache_ram_mib: _SomeOrNone
    placement: Allocation
    needs: dict[str, _Size]
    basis: Basis
    reasons: tuple[str, ...] = ()
    weights: _Size = 0


class RememberedFit(msgspec.Struct, frozen=True, kw_only=True):
    """What relayd decides of a model that its engine fits.

    Attributes:
        cache_ram_mib: RAM for prompts of earlier requests, in MiB.
        threads: CPU threads; 0 lets the engine choose.
    """

    cache_ram_mib: _SomeOrNone
    threads: _SomeOrNone


class RememberedSizes(msgspec.Struct, frozen=True, kw_only=True):
    """In which sizes a model can be loaded on demand.

    Attributes:
        made_for: What they were chosen for beside the line, its files, the engine and the machine, hashed.
        sizes: The better ones first; empty where none fits.
        embeddings: Whether its file answers with vectors.
        pooling: How it makes one vector of an input, where its file does not decide it.
        refused: Why none fits; "" where one does.
        needs: Device → bytes that the least of it would take, where none fits.
        by_line: Whether its line has it on demand; else it found no place beside the others.
    """

    made_for: str
    sizes: tuple[RememberedReplica, ...] = ()
    embeddings: bool = False
    pooling: Literal["", "mean", "rank"] = ""
    refused: str = ""
    needs: dict[str, _Size] = msgspec.field(default_factory=dict)
    by_line: bool = True


class RememberedModel(msgspec.Struct, frozen=True, kw_only=True):
    """The plan of one line.

    Attributes:
        model: What clients ask for.
        key: What it was made for, hashed.
        replicas: How each replica runs, in their order.
        fitted: What relayd has decided of a model that its engine fits; None where relayd plans all of it.
        sizes: Those in which it is loaded on demand; None where it is started with the daemon.
    """

    model: str
    key: str
    replicas: tuple[RememberedReplica, ...]
    fitted: RememberedFit | None = None
    sizes: RememberedSizes | None = None


class _PlansFile(msgspec.Struct, frozen=True):
    plans: tuple[RememberedModel, ...]
    schema: int = SCHEMA


class _Numbered(msgspec.Struct, frozen=True):
    schema: int


def read_plans(state: Path) -> tuple[dict[str, RememberedModel], str]:
    """Return the remembered plans by model, and a warning where there are some that cannot be used."""
    path = state / FILE_NAME
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES)
        if (number := msgspec.json.decode(content, type=_Numbered).schema) != SCHEMA:
            return {}, f"{path} has the layout {number}, this relayd reads {SCHEMA}: models are planned anew"
        document = msgspec.json.decode(content, type=_PlansFile)
    except FileNotFoundError:
        return {}, ""
    except OSError as error:
        return {}, f"{path} cannot be read ({error.strerror}): models are planned anew"
    except (msgspec.MsgspecError, ValueError) as error:
        return {}, f"{path} is damaged ({error}): models are planned anew"
    return {entry.model: entry for entry in document.plans}, ""


def write_plans(state: Path, entries: Iterable[RememberedModel]) -> str:
    """Remember plans in place of those before; return a warning if that failed, "" if not."""
    try:
        write_atomic(state / FILE_NAME, msgspec.json.encode(_PlansFile(tuple(entries))))
    except StateError as error:
        return f"plans are not remembered: {error.message}"
    return ""


def key_of(model: Model, engine: Engine, machine: Machine) -> str:
    """Return what a plan of a line holds for: the line, its files, the engine and the machine, hashed.

    Aliases change no process, nor does when it is loaded, and another number of replicas changes none of
    those there are.
    """
    slots = model.slots or DEFAULT_SLOTS  # as lines without slots had before these were planned
    line = msgspec.to_builtins(msgspec.structs.replace(model, aliases=(), replicas=1, slots=slots))
    line = {name: value for name, value in line.items() if name not in RESIDENCE}
    files = [_identity(Path(name)) for name in _files(model)]
    devices = [
        (one.key, one.uuid, one.name, one.memory_total, one.engine_name) for one in machine.usable_devices
    ]
    build = (_identity(engine.path), engine.version, engine.build)
    what = (line, files, build, machine.os, machine.cpu_key(), machine.cpu.usable_cores, devices)
    return hashlib.sha256(repr(what).encode()).hexdigest()[:32]


def _files(model: Model) -> Iterable[str]:
    """Return every file of a line, all parts of a split model among them."""
    first = Path(model.file)
    part = PART.fullmatch(first.name)
    names = [first.name]
    if part:
        with contextlib.suppress(ModelFileError):  # the engine reports what is wrong
            names = [*part_names(first.name, int(part["count"]))]
    beside = (model.projector or projector_of(model.args), draft_of(model.args))
    files = (*(str(first.with_name(name)) for name in names), *beside, *(one.file for one in model.lora))
    return [file for file in files if file]


def _identity(path: Path) -> tuple[str, int, int, int] | None:
    """Return what identifies a file: path, size, time and inode; None without a file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return str(path), found.st_size, found.st_mtime_ns, found.st_ino

"""Which configured models have files that are not there, and what stands for them in a plan (away).

A disk that is not mounted yet, or a file that was moved, ends nothing but the model itself: the others are
served. What was planned for it stays remembered, and its replicas that run keep their memory.
"""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from relayd.config import Model, file_problem
from relayd.desired.lines import by_room, left_to_engine, line_spec, residence
from relayd.desired.remembered import RememberedModel, RememberedReplica
from relayd.engine import Engine
from relayd.engine.commandline import files_named
from relayd.errors import ModelFileError
from relayd.gguf import part_names
from relayd.gguf.companions import PART
from relayd.planner import Basis, Planned, ReplicaSpec
from relayd.planner.budget import Budget
from relayd.planner.placement import DEFAULT_SLOTS
from relayd.units import Bytes

REMEDY = (
    "Bring the file back, and the model is started within some seconds, or correct the line and run "
    "`relayd reload`."
)

FileStamps = tuple[tuple[int, int, int], ...]
"""Inode, bytes and time of the last change, in ns, of each file that a process opens as it starts."""


def away_models(models: Iterable[Model]) -> dict[str, str]:
    """Return why models cannot be served for want of a file, by name; those that can are left out. Blocks."""
    return {model.name: why for model in models if (why := why_away(line_spec(model, 0)))}


def check_files(spec: ReplicaSpec) -> None:
    """Make sure that the files a process opens as it starts are there. Blocks.

    Raises:
        ModelFileError: One is missing, unreadable or no GGUF.
    """
    if why := why_away(spec):
        raise ModelFileError(why, remedy=REMEDY)


def why_away(spec: ReplicaSpec) -> str:
    """Return why a process cannot open its files; "" where it can. Blocks."""
    return "; ".join(problem for one, gguf in _files_of(spec) if (problem := file_problem(one, gguf=gguf)))


def stamps_of(spec: ReplicaSpec) -> FileStamps:
    """Return what changes whenever a file of a process does; () where it cannot open one. Blocks."""
    if why_away(spec):
        return ()
    with contextlib.suppress(OSError):
        found = [one.stat() for one, _ in _files_of(spec)]
        return tuple((one.st_ino, one.st_size, one.st_mtime_ns) for one in found)
    return ()


def files_of(spec: ReplicaSpec) -> list[Path]:
    """Return the files that a process opens as it starts."""
    return [file for file, _ in _files_of(spec)]


def _files_of(spec: ReplicaSpec) -> list[tuple[Path, bool]]:
    """Return the files that a process opens as it starts, each with whether it is a GGUF."""
    ggufs, texts = files_named(spec.extra_args)
    asked = [(one, True) for one in (*_model_files(spec), *_absolute(ggufs))]
    return asked + [(one, False) for one in _absolute(texts)]


@dataclass(frozen=True, slots=True)
class Away:
    """A model whose files are not there.

    Attributes:
        model: Its line.
        why: What is wrong with its files.
        remembered: Where it was placed before.
        runs: Whether a replica of it runs all the same, with the files that it opened.
        engine_fits: Whether its line leaves its size to the engine.
        threads: CPU threads of a replica whose line gives none; 0 leaves them to the engine.
    """

    model: Model
    why: str
    remembered: RememberedModel | None
    runs: bool
    engine_fits: bool
    threads: int

    def __str__(self) -> str:
        """Return what that means, as a sentence."""
        if self.runs:
            return f"{self.model.name} runs on, and cannot be started again: {self.why}"
        return f"{self.model.name} is not served: {self.why}"

    def planned(self) -> Iterator[Planned]:
        """Yield its replicas: as they were placed before, else as the line asks for them."""
        before = self.remembered.replicas if self.remembered else ()
        for index in range(self.model.least_replicas):
            asked = line_spec(self.model, index)
            if self.engine_fits:
                asked = replace(asked, fit=True, threads=self.model.threads or self.threads)
            if index < len(before):
                one = before[index]
                needs = {device: Bytes(nbytes) for device, nbytes in one.needs.items()}
                found = Planned(_as_before(asked, one), needs, one.basis, asked, weights=Bytes(one.weights))
            else:
                found = Planned(self._unplanned(asked), {}, Basis.UNKNOWN, asked)
            yield replace(found, residence=residence(self.model, index))

    def left(self, room: Budget) -> Budget:
        """Return what its replicas leave of a machine: nothing is taken by those that do not run."""
        for one in self.planned() if self.runs else ():
            room = room.minus(by_room(one.needs), one.name)
        return room

    def _unplanned(self, asked: ReplicaSpec) -> ReplicaSpec:
        """Return a process of which nothing is planned: its engine fits it to what it finds."""
        fitted = self.remembered.fitted if self.remembered else None
        return replace(
            asked,
            fit=True,
            slots=asked.slots or DEFAULT_SLOTS,
            threads=asked.threads or (fitted.threads if fitted else 0),
            cache_ram_mib=fitted.cache_ram_mib if fitted else 0,
        )


def find_away(
    models: Iterable[Model],
    reasons: Mapping[str, str],
    remembered: Mapping[str, RememberedModel],
    running: Iterable[str],
    engine: Engine,
    room: Budget,
    threads: int,
) -> list[Away]:
    """Return the models of a configuration whose files are not there.

    Args:
        models: Those that are configured.
        reasons: What is wrong with the files of a model, by name.
        remembered: Where models were placed before, by name.
        running: Models of which a replica runs.
        engine: The engine.
        room: What models may take of the machine.
        threads: CPU threads of a replica whose line gives none.
    """
    return [
        Away(
            model,
            reasons[model.name],
            remembered.get(model.name),
            model.name in {*running},
            left_to_engine(model, engine, room),
            threads,
        )
        for model in models
        if model.name in reasons
    ]


def _as_before(asked: ReplicaSpec, one: RememberedReplica) -> ReplicaSpec:
    return replace(
        asked,
        context=one.context,
        slots=one.slots,
        threads=one.threads,
        cache_ram_mib=one.cache_ram_mib,
        placement=one.placement,
        fit=False,
    )


def _model_files(spec: ReplicaSpec) -> Iterator[Path]:
    """Yield the files of a model, all parts of a split one among them."""
    names: tuple[str, ...] = (spec.file.name,)
    if part := PART.fullmatch(spec.file.name):
        with contextlib.suppress(ModelFileError):  # the engine reports what is wrong
            names = part_names(spec.file.name, int(part["count"]))
    yield from (spec.file.with_name(name) for name in names)
    if spec.projector:
        yield spec.projector
    yield from (one.file for one in spec.loras)


def _absolute(names: Iterable[str]) -> Iterator[Path]:
    """Yield the paths that mean the same to relayd and to its engine, which runs in another folder."""
    yield from (path for path in map(Path, names) if path.is_absolute())

"""What was found for a question before, so that asking again costs no search.

An answer depends on the models, on what may be used of the machine, on the request, and on the program; all
four are in its key. What is kept is how each model that was found runs: files and facts come from the models.
"""

import contextlib
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import msgspec

from relayd.advice.files import File
from relayd.catalog import CatalogEntry
from relayd.errors import StateError
from relayd.files import private_folder, write_atomic
from relayd.planner.budget import Budget
from relayd.planner.placement import Form, Placement, PlannedRun
from relayd.planner.quality import Quality
from relayd.planner.rank import Request
from relayd.planner.recommend import Advice, Known, judged, recommend

KEPT = 200
"""Answers that are kept: of all uses on a dozen machines."""

CODE = ("advice", "memory", "planner")
"""Packages whose every change makes what was found before worthless."""


class _Winner(msgspec.Struct, frozen=True, array_like=True):
    """Which file of which model runs how, and what that was judged by."""

    name: str
    quantization: str
    nbytes: int
    run: PlannedRun
    quality: Quality
    pace: float
    spilled: float


@dataclass(frozen=True, slots=True)
class Winners:
    """The answers to earlier questions.

    Attributes:
        folder: Where they are kept.
        basis: Digest of what the models are made of: catalogue, files on disk, build of the engine.
    """

    folder: Path
    basis: str

    def recommend(
        self, models: Sequence[Known], budget: Budget, request: Request, count: int = 10
    ) -> tuple[Advice, ...]:
        """Return what `planner.recommend.recommend` returns, which is asked where nothing is kept."""
        file = self.folder / f"found-{self._key(models, budget, request, count)}.msgpack"
        with contextlib.suppress(OSError, msgspec.DecodeError, LookupError):
            kept = msgspec.msgpack.decode(file.read_bytes(), type=tuple[_Winner, ...])
            by_name = {known.name: known for known in models}
            return tuple(_advice(by_name[one.name], one, request) for one in kept)
        found = recommend(models, budget, request, count)
        choices = [_winner(one, one.outcome) for one in found if isinstance(one.outcome, Placement)]
        with contextlib.suppress(StateError):  # the search is repeated the next time
            private_folder(self.folder)
            write_atomic(file, msgspec.msgpack.encode(choices))
            self._forget()
        return found

    def _key(self, models: Iterable[Known], budget: Budget, request: Request, count: int) -> str:
        """Return a digest of all that an answer depends on."""
        files = [(one.name, one.unforeseen, [form.nbytes for form in one.forms]) for one in models]
        rooms = [
            (one.key, one.engine_name, one.usable, one.processor, one.known_speed, one.unified, one.alone)
            for one in budget.rooms
        ]
        asked = replace(request, licenses=None), sorted(request.licenses or ()), request.licenses is None
        parts = (self.basis, files, rooms, sorted(budget.repacked), asked, count, _code())
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]

    def _forget(self) -> None:
        """Delete the oldest answers beyond those that are kept."""
        kept = sorted(self.folder.glob("found-*.msgpack"), key=lambda file: -file.stat().st_mtime)
        for file in kept[KEPT:]:
            file.unlink(missing_ok=True)


def basis(entries: Sequence[CatalogEntry], files: Iterable[File], build: int | None) -> str:
    """Return the digest of what the models are made of."""
    stats = [(str(one.path), one.path.stat().st_mtime_ns) for one in files if one.path.exists()]
    return hashlib.sha256(msgspec.msgpack.encode((entries, stats, build))).hexdigest()


def _winner(one: Advice, placement: Placement) -> _Winner:
    candidate = one.ranked.candidate
    return _Winner(
        one.known.name,
        placement.form.quantization.name,
        placement.form.nbytes,
        PlannedRun(**_members(placement)),
        candidate.quality,
        candidate.paced,
        candidate.spilled,
    )


def _advice(known: Known, one: _Winner, request: Request) -> Advice:
    """Return an advice as it was found.

    Raises:
        LookupError: The model has no such file.
    """
    form = next((form for form in known.forms if _file(form) == (one.quantization, one.nbytes)), None)
    if form is None:
        raise LookupError(one.quantization)
    return judged(known, Placement(form=form, **_members(one.run)), one, request)


def _members(run: PlannedRun) -> dict[str, Any]:
    return {member.name: getattr(run, member.name) for member in fields(PlannedRun)}


def _file(form: Form) -> tuple[str, int]:
    return form.quantization.name, form.nbytes


def _code() -> list[tuple[str, int, int]]:
    """Return name, size and time of what searches and judges."""
    package = Path(__file__).parent.parent
    stats = ((file.name, file.stat()) for folder in CODE for file in sorted((package / folder).glob("*.py")))
    return [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]

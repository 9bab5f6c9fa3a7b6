"""Files in folders of models that are none to serve: what commands about all models say of them, once."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from relayd.errors import ModelFileError, RelaydError
from relayd.models.choice import base_name

NAMED, LISTED = 2, 10
"""How many files a warning names in its sentence, and how many `relayd models` lists without being asked."""

ALL = "relayd models --skipped"
"""What lists every one."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that is left out.

    Attributes:
        path: The file.
        reason: What it is, or what is wrong with it.
        remedy: What can be done with it, for who asks for it by name.
    """

    path: Path
    reason: str
    remedy: str = ""

    def __str__(self) -> str:
        """Return the reason, which begins with the file."""
        return self.reason if self.reason.startswith(str(self.path)) else f"{self.path}: {self.reason}"


def skipped_for(path: Path, error: RelaydError) -> Skipped:
    """Return a file that is left out because of an error."""
    return Skipped(path, error.message, error.remedy)


def passed_over(_: Skipped) -> None:
    """Say nothing of a file that is left out."""


def named_among(skipped: Iterable[Skipped], name: str) -> ModelFileError | None:
    """Return the error for who asks for a model by the name of a file that is left out; None for another."""
    wanted = name.strip().casefold()
    for one in skipped:
        if wanted in {one.path.name.casefold(), base_name(one.path.name).casefold()}:
            return ModelFileError(str(one), remedy=one.remedy)
    return None


def warning_of(skipped: Iterable[Skipped]) -> str:
    """Return the one sentence about all files that are left out; "" for none."""
    every = _each(skipped)
    if not every:
        return ""
    rest = len(every) - NAMED
    more = f"; and {rest} more: {ALL}" if rest > 0 else ""
    return f"{_count(every)}: {'; '.join(every[:NAMED])}{more}"


def lines_of(skipped: Iterable[Skipped], most: int) -> Iterator[str]:
    """Yield how many files are left out, and a line for each, at most so many; nothing where none is."""
    every = _each(skipped)
    if every:
        yield f"{_count(every)}:"
    yield from (f"  {one}" for one in every[:most])
    if len(every) > most:
        yield f"  and {len(every) - most} more: {ALL}"


def _each(skipped: Iterable[Skipped]) -> list[str]:
    """Return each file with its reason, once."""
    return [*{one.path: str(one) for one in skipped}.values()]


def _count(every: Sequence[str]) -> str:
    return "1 file is skipped" if len(every) == 1 else f"{len(every)} files are skipped"

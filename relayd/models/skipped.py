"""Files in folders of models that are none to serve: what commands about all models say of them, once."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from relayd.errors import ModelFileError, RelaydError
from relayd.models.choice import base_name

SHOWN = 20
"""How many files a warning names."""


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
    every = list({one.path: str(one) for one in skipped}.values())
    if not every:
        return ""
    more = f"; and {len(every) - SHOWN} more" if len(every) > SHOWN else ""
    count = "1 file is" if len(every) == 1 else f"{len(every)} files are"
    return f"{count} skipped: {'; '.join(every[:SHOWN])}{more}"

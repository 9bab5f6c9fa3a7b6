"""Verifying a model's bytes against their SHA-256."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from relayd.errors import ModelFileError
from relayd.models.ondisk import Found
from relayd.units import MIB

_CHUNK = 4 * MIB


@dataclass(frozen=True, slots=True)
class Verification:
    """What a check found.

    Attributes:
        name: The model.
        outcome: `unknown` when no SHA-256 is known for its bytes.
        problems: What is wrong, a line a file.
    """

    name: str
    outcome: Literal["ok", "damaged", "unknown"]
    problems: tuple[str, ...] = ()


def verify(found: Found, progress: Callable[[str, int, int | None], None]) -> Verification:
    """Read every file of a model whose digest is known, and compare.

    Args:
        found: The model.
        progress: Called with the file, the bytes read and the bytes in all.
    """
    problems = []
    for path, promised in found.digests:
        try:
            actual = digest_of(path, progress)
        except ModelFileError as error:
            problems.append(error.message)
            continue
        if actual != promised:
            problems.append(f"{path} has the SHA-256 {actual}, expected {promised}")
    if problems:
        return Verification(found.name, "damaged", tuple(problems))
    return Verification(found.name, "ok" if found.digests else "unknown")


def digest_of(path: Path, progress: Callable[[str, int, int | None], None] | None = None) -> str:
    """Return the SHA-256 of a file, in hexadecimal.

    Raises:
        ModelFileError: It cannot be read.
    """
    digest, done = hashlib.sha256(), 0
    try:
        with path.open("rb") as stream:
            total = path.stat().st_size
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
                done += len(chunk)
                if progress is not None:
                    progress(path.name, done, total)
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror}") from error
    return digest.hexdigest()

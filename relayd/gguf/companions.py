"""The files beside a model file that belong to it by their names: further parts, projectors, drafts.

Names follow the conventions of publishers; what files say of themselves is in `pairing`.
"""

import re
from collections.abc import Iterable

from relayd.errors import ModelFileError

DRAFT_PREFIXES = ("mtp-", "dspark-", "dflash-")
"""Beginnings of the names of draft models (llama.cpp common/preset.cpp `draft_prefixes`)."""

PROJECTOR_MARK = "mmproj"
"""Somewhere in the name of a multimodal projector (llama.cpp common/preset.cpp `is_mmproj_file`)."""

SUFFIX = ".gguf"

PART = re.compile(
    r"(?P<prefix>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})(?P<suffix>\.gguf)", re.IGNORECASE | re.ASCII
)

KINDS = frozenset({"mmproj", "mtp", "dspark", "dflash", "model"})
"""Words of a file name that mark its kind."""

PRECISION = re.compile(
    r"(?<![a-z0-9])(?:ud-)?(?:i?q\d+(?:_[a-z0-9]+)*|tq\d_0|b?f\d+|fp\d+|mxfp4(?:_moe)?|nvfp4)(?![a-z0-9])"
)
"""What `llama-quantize` and those who publish its files call a precision, in lower case."""


def is_gguf(name: str) -> bool:
    """Return whether a file is called like a GGUF, in any case."""
    return name.lower().endswith(SUFFIX)


def stem_of(name: str) -> str:
    """Return the name of a GGUF without its suffix."""
    return name[: -len(SUFFIX)] if is_gguf(name) else name


def part_names(name: str, count: int) -> tuple[str, ...]:
    """Return the names of all parts of a split model, given the first one's (llama.cpp `llama_split_path`).

    Raises:
        ModelFileError: `name` is not what the first of `count` parts is called.
    """
    found = PART.fullmatch(name)
    if not found or count < 1 or (int(found["number"]), int(found["count"])) != (1, count):
        raise ModelFileError(
            f"{name} is the first of {count} parts: expected a name ending with -00001-of-{count:05d}.gguf",
            remedy="Give the parts the names they were published with.",
        )
    if found["suffix"] != SUFFIX:
        raise ModelFileError(
            f"{name} is the first of {count} parts: expected names that end with {SUFFIX}",
            remedy=f"Rename the parts: llama-server finds only {SUFFIX}, in small letters.",
        )
    return tuple(f"{found['prefix']}-{number:05d}-of-{count:05d}.gguf" for number in range(1, count + 1))


def first_part_name(name: str) -> str:
    """Return how the first part of the split model is called that `name` is a part of; empty if of none."""
    found = PART.fullmatch(name)
    return f"{found['prefix']}-00001-of-{found['count']}.gguf" if found else ""


def is_companion(name: str) -> bool:
    """Return whether a file of this name serves a model and is none itself."""
    return is_projector(name) or is_draft(name)


def match_companions(model: str, names: Iterable[str]) -> list[str]:
    """Return those of `names` that are companions of `model`, the best first.

    A companion's name, without the words for its kind and precision, begins the model's name. One that
    names no model serves the only model of the folder. Of several, the one named closest to the model is
    best, then the one nearest to its precision.
    """
    ours = words_of(model)
    files = [name for name in names if is_gguf(name) and name != model]
    alone = all(words_of(name) == ours for name in files if not is_companion(name))
    fitting = [
        name
        for name in files
        if is_companion(name) and _begins(words := words_of(name), ours) and (words or alone)
    ]
    return nearest_first(model, fitting)


def nearest_first(model: str, names: Iterable[str]) -> list[str]:
    """Return companions of a model, those named closest to it first, then those nearest to its precision."""
    return sorted(names, key=lambda name: (-len(words_of(name)), abs(_bits(name) - _bits(model)), name))


def is_projector(name: str) -> bool:
    """Return whether a file of this name is a projector."""
    return is_gguf(name) and PROJECTOR_MARK in name.lower()


def is_draft(name: str) -> bool:
    """Return whether a file of this name drafts for another model."""
    return is_gguf(name) and name.lower().startswith(DRAFT_PREFIXES) and not is_projector(name)


def _begins(words: tuple[str, ...], whole: tuple[str, ...]) -> bool:
    return words == whole[: len(words)]


def words_of(name: str) -> tuple[str, ...]:
    """Return the words of a file name that say which model it is."""
    words = re.split(r"[-_. ]+", PRECISION.sub(" ", _stem(name)))
    return tuple(word for word in words if word and word not in KINDS)


def _bits(name: str) -> int:
    """Return the first number in the precision in a file name; 0 without one."""
    found = PRECISION.search(_stem(name))
    digits = found and re.search(r"\d+", found[0])
    return int(digits[0]) if digits else 0


def _stem(name: str) -> str:
    found = PART.fullmatch(name)
    return (found["prefix"] if found else stem_of(name)).lower()

"""The files of a repository that make up the requested model."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from relayd.catalog.entry import CatalogEntry, ModelFile
from relayd.catalog.spelling import QUANT
from relayd.errors import UsageError
from relayd.gguf.companions import PART, PROJECTOR_MARK, is_companion, match_companions, part_names

PREFERRED = ("Q4_K_M", "UD-Q4_K_XL", "Q4_K_XL", "MXFP4", "Q4_0", "Q5_K_M", "Q6_K", "Q8_0")
"""The default, the first there is: llama.cpp too begins with Q4_K_M."""

MODEL_SUFFIXES = (".gguf", ".llamafile")

IMATRIX = "imatrix"
"""In the names of files that were used to quantize, and are not models (llama.cpp common/download.cpp)."""

_SHOWN = 12


@dataclass(frozen=True, slots=True)
class ChosenFiles:
    """The files to have.

    Attributes:
        parts: The model, its first part first.
        quant: Its quantization, from its name; "" when it does not.
        projector: Its projector for images or audio; "" for none.
        draft: What drafts tokens for it; "" for none.
    """

    parts: tuple[str, ...]
    quant: str = ""
    projector: str = ""
    draft: str = ""


def choose(paths: Iterable[str], *, file: str = "", quant: str = "") -> ChosenFiles:
    """Return the model that is wanted of a repository's files, and what belongs to it.

    Args:
        paths: Every file of the repository.
        file: The one that is wanted; "" to go by quantization.
        quant: The one that is wanted; "" takes the first of `PREFERRED`.

    Raises:
        UsageError: There is no such file, or it is not clear which is meant; the message lists what is there.
        ModelFileError: Parts of it are missing.
    """
    every = sorted(paths)
    first = _named(every, file) if file else _quantized(every, quant)
    return ChosenFiles(_parts(every, first), quant_of(first), *companions_of(every, first))


def quant_of(path: str) -> str:
    """Return the quantization in a file name, in capitals; "" when there is none."""
    found = QUANT.findall(base_name(PurePosixPath(path).name))
    return str(found[-1]).upper() if found else ""


def base_name(name: str) -> str:
    """Return a file name without suffix and number of the part: `Qwen3-8B-Q4_K_M`."""
    found = PART.fullmatch(name)
    if found:
        return found["prefix"]
    small = name.lower()
    suffix = next((one for one in (".llamafile.exe", *MODEL_SUFFIXES) if small.endswith(one)), "")
    return name[: len(name) - len(suffix)]


def same_quant(one: str, other: str) -> bool:
    """Return whether two spellings mean one quantization: `mxfp4` is `MXFP4_MOE`."""
    return _plain_quant(one) == _plain_quant(other)


def preferred_file(entry: CatalogEntry) -> ModelFile | None:
    """Return the file to take of a model by default: one whose place is known before any other."""
    placed = [file for file in entry.files if file.url or (file.repo and file.file)]
    return min(placed or entry.files, key=lambda file: (_rank(file.quant), file.bytes), default=None)


def companions_of(every: Iterable[str], first: str) -> tuple[str, str]:
    """Return projector and draft of a model, "" for none, from its folder and those above it.

    Args:
        every: Paths of a repository.
        first: The model's own, of its first part.
    """
    every = [path for path in every if IMATRIX not in path.lower()]  # it would look like a second model
    folders = [str(folder) for folder in PurePosixPath(first).parents]
    near = {
        PurePosixPath(path).name: path
        for folder in reversed(folders)
        for path in every
        if str(PurePosixPath(path).parent) == folder
    }
    names = match_companions(PurePosixPath(first).name, near)
    projectors = [near[name] for name in names if PROJECTOR_MARK in name.lower()]
    drafts = [near[name] for name in names if PROJECTOR_MARK not in name.lower()]
    return next(iter(projectors), ""), next(iter(drafts), "")


def _named(every: Sequence[str], file: str) -> str:
    if file not in every:
        raise UsageError(f"there is no file {file}", remedy=f"There are: {_listed(_models(every))}.")
    found = PART.fullmatch(PurePosixPath(file).name)
    return file.replace(f"-{found['number']}-of-", "-00001-of-") if found else file


def _quantized(every: Sequence[str], quant: str) -> str:
    models = _models(every)
    if not models:
        raise UsageError(
            "there is no GGUF file", remedy="Names of repositories that have some often end with -GGUF."
        )
    wanted = [quant] if quant else sorted({quant_of(path) for path in models}, key=_rank)
    fitting = [path for path in models if same_quant(quant_of(path), wanted[0])]
    if not fitting:
        fitting = [path for path in models if same_quant(quant_of(path).removeprefix("UD-"), wanted[0])]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise UsageError(
            f"{len(fitting)} files could be meant: {_listed(fitting)}",
            remedy="Name one as hf:OWNER/NAME/FILE.",
        )
    quants = dict.fromkeys(filter(None, map(quant_of, models)))
    raise UsageError(f"there is no {quant}", remedy=f"There are: {_listed(quants)}.")


def _models(every: Iterable[str]) -> list[str]:
    """Return the files that are models, of a split one the first part."""
    return [path for path in every if _is_model(PurePosixPath(path).name)]


def _is_model(name: str) -> bool:
    part = PART.fullmatch(name)
    is_first = part is None or int(part["number"]) == 1
    return (
        name.lower().endswith(MODEL_SUFFIXES)
        and is_first
        and not is_companion(name)
        and IMATRIX not in name.lower()
    )


def _parts(every: Sequence[str], first: str) -> tuple[str, ...]:
    path = PurePosixPath(first)
    found = PART.fullmatch(path.name)
    if found is None:
        return (first,)
    names = part_names(path.name, int(found["count"]))
    parts = tuple(str(path.with_name(name)) for name in names)
    missing = [part for part in parts if part not in every]
    if missing:
        raise UsageError(f"{first} has {len(parts)} parts, and {missing[0]} is not there")
    return parts


def _rank(quant: str) -> int:
    for place, known in enumerate(PREFERRED):
        if same_quant(known, quant):
            return place
    return len(PREFERRED)


def _plain_quant(quant: str) -> str:
    return quant.casefold().removesuffix("_moe")


def _listed(names: Iterable[str]) -> str:
    every = list(names)
    more = f" and {len(every) - _SHOWN} more" if len(every) > _SHOWN else ""
    return ", ".join(every[:_SHOWN]) + more if every else "none"

"""Which projectors and drafts serve a model, by what their files state where names do not (pairing).

A projector turns images or sound into vectors of the width of one text model: llama-server refuses any other
(tools/mtmd/mtmd.cpp "mismatch between text model and mmproj"). Names decide among those that fit.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from relayd.gguf.companions import is_companion, is_draft, match_companions, nearest_first, words_of
from relayd.gguf.header import Header, Opening, read_header, read_opening
from relayd.gguf.kinds import Kind, kind_of

FAMILIES: Mapping[str, frozenset[str]] = {
    "gemma3": frozenset({"gemma3"}),
    "gemma3nv": frozenset({"gemma3n"}),
    "llama4": frozenset({"llama4"}),
    "qwen2vl_merger": frozenset({"qwen2vl"}),
    "qwen2.5vl_merger": frozenset({"qwen2vl"}),
}
"""`clip.projector_type` -> the architectures it is for, where only these have it."""

_JOINTS = ("mm.", "resampler.", "mm_projector.")
"""Beginnings of the names of the tensors that lead from a projector to its model."""


@dataclass(frozen=True, slots=True)
class Traits:
    """What decides whether two files belong together.

    Attributes:
        kind: What the file is for.
        architecture: Of a model.
        width: Elements of a model's embedding, or of the vectors that a projector makes; 0 while not known.
        family: Type of a projector.
    """

    kind: Kind
    architecture: str = ""
    width: int = 0
    family: str = ""

    def serves(self, model: "Traits") -> bool | None:
        """Return whether a projector is for a model; None where the files do not say."""
        if not self.width or not model.width:
            return None
        return self.width == model.width and model.architecture in FAMILIES.get(
            self.family, {model.architecture}
        )


@dataclass(frozen=True, slots=True)
class Pairing:
    """Names of the files that serve a model, the best first.

    Attributes:
        projectors: For images or sound.
        drafts: Those that are named for it.
        doubts: Projectors that may be meant, and why they are not taken, a sentence each.
    """

    projectors: tuple[str, ...] = ()
    drafts: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()


def traits_of(path: Path, opening: Opening | None = None) -> Traits:
    """Return what a file states of itself.

    Args:
        path: The file.
        opening: Its beginning, where that was read before.

    Raises:
        ModelFileError: It cannot be read, or is not a GGUF.
    """
    opening = opening or read_opening(path)
    kind = kind_of(opening.values, opening.n_tensors)
    if kind is not Kind.PROJECTOR:
        width = opening.size(f"{opening.architecture}.embedding_length")
        return Traits(kind, opening.architecture, width)
    return Traits(kind, "", projector_width(read_header(path)), _family(opening))


def projector_width(header: Header) -> int:
    """Return the elements of the vectors that a projector makes; 0 where its file does not show it.

    Converters write it as `projection_dim`; old ones wrote that of the vision tower's own head there.
    """
    joints = [tensor for tensor in header.tensors if tensor.name.startswith(_JOINTS)]
    sizes = {size for tensor in joints for size in tensor.shape}
    for side in ("vision", "audio"):
        said = header.values.get(f"clip.{side}.projection_dim")
        if isinstance(said, int) and said > 0 and (said in sizes or not joints):
            return said
    biases = sorted(
        (tensor.name, tensor.row)
        for tensor in joints
        if tensor.name.endswith(".bias") and len(tensor.shape) == 1
    )
    return biases[-1][1] if biases else 0


def pair(model: str, names: Iterable[str], traits: Callable[[str], Traits | None]) -> Pairing:
    """Return which files of a folder serve a model.

    A projector that cannot be read, or whose width is another, serves nothing. One that is named for the
    model does. Else one that fits this model, and by its contents no other of the folder, does so too.

    Args:
        model: File name of the model.
        names: Every file of the folder.
        traits: Returns what a file states of itself; None where it cannot be read.
    """
    every = sorted(names)
    ours = traits(model) or Traits(Kind.UNKNOWN)
    named = match_companions(model, every)
    drafts = tuple(name for name in named if is_draft(name) and traits(name))
    if by_name := tuple(name for name in named if _may_serve(_projector(name, traits), ours)):
        return Pairing(by_name, drafts)
    projectors = {name: found for name in every if (found := _projector(name, traits))}
    models = [name for name in every if not is_companion(name) and _is_model(traits(name))]
    sure = [
        name
        for name, found in projectors.items()
        if found.serves(ours) and not _named_for_another(name, model, models)
    ]
    doubts = []
    for name in sorted(sure):
        alike = _distinct(one for one in models if (found := traits(one)) and projectors[name].serves(found))
        if len(alike) > 1:
            doubts.append(f"{name} fits {_listed(alike)} alike: name it for one, like mmproj-{alike[0]}")
    if not doubts and len(_distinct(sure)) > 1:
        doubts.append(f"{_listed(sorted(sure))} fit {model} alike: keep one, or name it in the model's line")
    return (
        Pairing((), drafts, tuple(doubts)) if doubts else Pairing(tuple(nearest_first(model, sure)), drafts)
    )


def _projector(name: str, traits: Callable[[str], Traits | None]) -> Traits | None:
    found = traits(name)
    return found if found and found.kind is Kind.PROJECTOR else None


def _may_serve(projector: Traits | None, model: Traits) -> bool:
    return projector is not None and projector.serves(model) is not False


def _is_model(found: Traits | None) -> bool:
    return found is not None and found.kind in {Kind.MODEL, Kind.UNKNOWN}


def _named_for_another(name: str, model: str, models: Sequence[str]) -> bool:
    """Return whether a projector bears the name of another model of the folder."""
    return bool(words_of(name)) and any(
        words_of(other)[: len(words_of(name))] == words_of(name) for other in models if other != model
    )


def _distinct(names: Iterable[str]) -> list[str]:
    """Return one of each model or projector, whatever its quantizations."""
    return [*{words_of(name): name for name in names}.values()]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + " and " + names[-1]


def _family(opening: Opening) -> str:
    for key in ("clip.projector_type", "clip.vision.projector_type", "clip.audio.projector_type"):
        if isinstance(value := opening.values.get(key), str):
            return value
    return ""

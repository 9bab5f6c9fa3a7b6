"""The projectors and drafts in the folder of one model file."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from relayd.errors import ModelFileError
from relayd.gguf.companions import is_gguf
from relayd.gguf.pairing import Traits, pair, traits_of


@dataclass(frozen=True, slots=True)
class Companions:
    """Files that serve one model; the first of a kind fits best.

    Attributes:
        projectors: Multimodal projectors, for `--mmproj`.
        drafts: Models that draft tokens for it, for `--model-draft`.
        doubts: Projectors that may be meant and are not taken, a sentence each.
    """

    projectors: tuple[Path, ...] = ()
    drafts: tuple[Path, ...] = ()
    doubts: tuple[str, ...] = ()


def find_companions(model: Path) -> Companions:
    """Return the projectors and drafts in the folder of `model` that serve it.

    Raises:
        ModelFileError: The folder cannot be listed.
    """
    folder = model.parent
    try:
        names = [one.name for one in folder.iterdir() if is_gguf(one.name)]
    except OSError as error:
        raise ModelFileError(f"{folder} cannot be listed: {error.strerror}") from error

    @cache
    def traits(name: str) -> Traits | None:
        try:
            return traits_of(folder / name)
        except ModelFileError:
            return None

    found = pair(model.name, names, traits)
    return Companions(
        projectors=tuple(folder / name for name in found.projectors),
        drafts=tuple(folder / name for name in found.drafts),
        doubts=found.doubts,
    )

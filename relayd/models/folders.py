"""Models in one folder and those below it, with what is beside them; files that are none are named."""

import contextlib
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from relayd.errors import ModelFileError
from relayd.files import is_text, readable
from relayd.gguf.companions import (
    PART,
    first_part_name,
    is_companion,
    is_gguf,
    is_projector,
    part_names,
)
from relayd.gguf.pairing import Traits, pair
from relayd.gguf.reader import model_files
from relayd.models.choice import IMATRIX, base_name, quant_of
from relayd.models.embedded import SUFFIXES, find_embedded
from relayd.models.ondisk import Found, Store
from relayd.models.openings import Openings
from relayd.models.shelf import size_of
from relayd.models.skipped import Skipped, skipped_for

NOT_TEXT = "the name has bytes that are not UTF-8, or characters that steer a terminal"


@dataclass(frozen=True, slots=True)
class Scan:
    """One look at all stores.

    Attributes:
        skip: Called with each file that is left out.
        openings: What was read.
    """

    skip: Callable[[Skipped], None]
    openings: Openings

    def serves(self, path: Path) -> bool:
        """Return whether a file is a model to serve; reports where it is none."""
        try:
            self.openings.demand_model(path)
        except ModelFileError as error:
            self.skip(skipped_for(path, error))
            return False
        return True

    def begins(self, path: Path) -> bool:
        """Return whether a file begins as a GGUF; reports where it does not."""
        try:
            self.openings.of(path)
        except ModelFileError as error:
            self.skip(skipped_for(path, error))
            return False
        return True

    def traits_in(self, near: Mapping[str, Path], name: str) -> Traits | None:
        """Return what decides with which files a file belongs together; None where it cannot be read."""
        return self.openings.traits(near[name])


def in_folder(folder: Path, store: Store, depth: int, looked: Scan) -> Iterator[Found]:
    """Return the models in a folder with companions beside them, in a repository also above them."""
    paths = [*_model_files(folder, depth, looked, set())]
    served: set[Path] = set()
    doubts: dict[str, None] = {}
    for path in paths:
        found = _model(path, store, paths, looked)
        if found and not found.embedded:
            near = {one.name: one for one in paths if one.parent == path.parent}
            if store == "huggingface":
                near = {one.name: one for one in paths if one.parent in path.parents} | near
            mates = pair(path.name, near, partial(looked.traits_in, near))
            found = replace(
                found,
                projectors=tuple(near[name] for name in mates.projectors[:1]),
                drafts=tuple(near[name] for name in mates.drafts[:1]),
            )
            served |= {near[name] for name in mates.projectors}
            doubts |= dict.fromkeys(mates.doubts)
        if found:
            yield found
    for path in paths:
        if path not in served and is_projector(path.name):
            looked.serves(path)
    for doubt in doubts:
        looked.skip(Skipped(folder, doubt))


def _model_files(folder: Path, depth: int, looked: Scan, seen: set[tuple[int, int]]) -> Iterator[Path]:
    """Return files that could be models by their names, sorted; hidden folders are left out.

    Linked folders are followed; each folder is looked into once, so that a link to one above ends.
    """
    if not is_text(folder):
        looked.skip(Skipped(Path(readable(folder)), f"{NOT_TEXT}. Rename it"))
        return
    try:
        place = folder.stat()
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except PermissionError as error:
        looked.skip(Skipped(folder, f"cannot be listed: {error.strerror}"))
        return
    except OSError:
        return  # it is not there, or no longer
    if (place.st_dev, place.st_ino) in seen:
        return
    seen.add((place.st_dev, place.st_ino))
    for entry in entries:
        named = is_gguf(entry.name) or entry.name.lower().endswith(SUFFIXES)
        if entry.name.startswith(".") or not (named or (depth and _is_folder(entry))):
            continue
        if not entry.name.isprintable():  # names are shown on terminals, and are JSON and TOML
            looked.skip(Skipped(Path(readable(entry.path)), f"{NOT_TEXT}. Rename it"))
        elif named:
            yield Path(entry.path)
        else:
            yield from _model_files(Path(entry.path), depth - 1, looked, seen)


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _model(path: Path, store: Store, listed: Collection[Path], looked: Scan) -> Found | None:
    """Return the model whose first file this is; None if it is none, or not all there."""
    if path.name.lower().endswith(SUFFIXES):
        return _llamafile(path, store)
    if is_companion(path.name) or IMATRIX in path.name.lower():
        return None
    if not (part := PART.fullmatch(path.name)):
        return _whole(path, (path,), store, looked)
    if int(part["number"]) != 1:
        first = path.with_name(first_part_name(path.name))
        if first not in listed:
            looked.skip(
                Skipped(path, f"is part {int(part['number'])} of a model, and {first.name} is missing")
            )
        return None
    try:
        files = tuple(path.with_name(name) for name in part_names(path.name, int(part["count"])))
    except ModelFileError as error:
        looked.skip(skipped_for(path, error))
        return None
    if (missing := [file.name for file in files if file not in listed]) and not _is_joined(path):
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        looked.skip(Skipped(path, f"it is the first of {len(files)} parts, missing: {missing[0]}{more}"))
        return None
    return _whole(path, (path,) if missing else files, store, looked)


def _is_joined(path: Path) -> bool:
    """Return whether a file that is called like a first part is a whole model (`gguf-split --merge`)."""
    try:
        return len(model_files(path)) == 1
    except ModelFileError:
        return False


def _whole(path: Path, files: tuple[Path, ...], store: Store, looked: Scan) -> Found | None:
    """Return the model in these files, all of which begin as a GGUF; else None."""
    if not all(looked.begins(file) for file in files) or not looked.serves(path):
        return None
    stem = base_name(path.name)
    return Found(stem, files, sum(map(size_of, files)), store, quant=quant_of(stem))


def _llamafile(path: Path, store: Store) -> Found | None:
    with contextlib.suppress(ModelFileError):
        model = find_embedded(path)[0]
        name = base_name(path.name)
        quant = quant_of(name) or quant_of(model.name)
        return Found(name, (path,), model.bytes, store, quant=quant, embedded=True)
    return None

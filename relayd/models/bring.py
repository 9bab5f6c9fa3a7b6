"""Importing a file on this disk: a GGUF in place, or the model out of a llamafile."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec

from relayd.clock import Clock
from relayd.errors import ModelFileError, StateError, UsageError
from relayd.files import text_path
from relayd.gguf import find_companions, model_files, read_metadata, read_model
from relayd.models.choice import base_name, quant_of
from relayd.models.embedded import SUFFIXES, extract, find_embedded
from relayd.models.ondisk import Found
from relayd.models.shelf import ModelRecord, ModelShelf, StoredFile, size_of
from relayd.models.source import safe_file_name
from relayd.models.verify import digest_of

Progress = Callable[[str, int, int | None], None]
"""Called with a file's name, the bytes done and the bytes in all."""


def bring(
    file: Path,
    shelf: ModelShelf,
    clock: Clock,
    progress: Progress,
    *,
    name: str = "",
    tags: tuple[str, ...] = (),
) -> ModelRecord:
    """Make a file a model of relayd's, and return its record.

    A GGUF stays where it is. The model in a llamafile is taken out, once.

    Args:
        file: What is imported.
        shelf: Where its record is kept.
        clock: Dates the record.
        progress: Called as bytes are copied.
        name: What it is called; "" is its file's name, or what it is called already.
        tags: What it is for; nothing leaves them as they are.

    Raises:
        UsageError: Its name is taken, or is not UTF-8.
        ModelFileError: It is not a model, or parts of it are missing.
        NoSpaceError: The disk is too small for what is taken out.
        StateError: Our folder cannot be written.
    """
    file = text_path(
        file.absolute()
    )  # in the cache of a hub a link has the name, and what it leads to a digest
    if file.name.lower().endswith(SUFFIXES):
        record = _taken_out(file, shelf, progress)
    else:
        read_model(file)
        beside = find_companions(file)
        record = ModelRecord(
            name=base_name(file.name),
            source=os.path.realpath(file),
            kind="imported",
            parts=tuple(map(_as_it_lies, model_files(file))),
            companions=tuple(_as_it_lies(one) for one in beside.projectors[:1]),
            quant=quant_of(file.name),
        )
    _check_free(name, record, shelf)
    before = shelf.record_of(record.source) or record
    record = msgspec.structs.replace(
        record,
        at=clock.wall(),
        name=name or (before.name if before.named else record.name),
        named=bool(name) or before.named,
        tags=tags or before.tags,
    )
    shelf.write(record)
    return record


def _check_free(name: str, record: ModelRecord, shelf: ModelShelf) -> None:
    """Raise UsageError where another model has the name."""
    for other in shelf.records():
        if name.casefold() == other.name.casefold() and other.source != record.source:
            raise UsageError(
                f"{name!r} is the name of another model: {other.parts[0].path}", remedy="Choose another name."
            )


def servable(found: Found, shelf: ModelShelf, clock: Clock, progress: Progress) -> Path:
    """Return the file that llama-server opens for a model on disk, taken out of a llamafile if need be.

    Raises:
        RelaydError: As `bring` does.
    """
    if not found.embedded:
        return found.files[0]
    return Path(bring(found.files[0], shelf, clock, progress).parts[0].path)


def take_out(llamafile: Path, kept: StoredFile, progress: Progress) -> tuple[StoredFile, ...]:
    """Take the model, and a projector if there is one, out of a llamafile into our folder.

    Args:
        llamafile: The file around them.
        kept: The model as it will be; its folder exists.
        progress: Called as bytes are copied.

    Returns:
        What is there now, the model first, with sizes and digests.

    Raises:
        ModelFileError: There is no model inside, or it is damaged.
        NoSpaceError: The disk is too small.
        StateError: Our folder cannot be written.
    """
    model = Path(kept.data)
    taken = []
    for inside, name in zip(find_embedded(llamafile), (model.name, f"mmproj-{model.name}"), strict=False):
        staged, target = kept.arrival.with_name(name), model.with_name(name)
        extract(llamafile, inside, staged, partial(progress, name))
        try:
            read_metadata(staged)
        except ModelFileError:
            staged.unlink()
            raise
        settle(staged, target)
        size, digest = target.stat().st_size, digest_of(target)
        taken.append(StoredFile(path=str(target), data=str(target), bytes=size, sha256=digest))
    return tuple(taken)


def settle(staged: Path, target: Path) -> None:
    """Move a file that is whole to its place on the same disk.

    Raises:
        StateError: It cannot be moved.
    """
    try:
        staged.replace(target)
    except OSError as error:
        raise StateError(f"{target} cannot be made: {error.strerror}") from error


def _taken_out(file: Path, shelf: ModelShelf, progress: Progress) -> ModelRecord:
    name = base_name(file.name)
    target = shelf.root / safe_file_name(f"{name}.gguf")
    source = os.path.realpath(file)
    before = shelf.record_of(source)
    if before and before.whole:
        return before
    if target.exists():
        raise UsageError(f"{target} is there already and from elsewhere", remedy="Move it away first.")
    kept = StoredFile(path=str(target), data=str(target), arrives=str(shelf.incoming / target.name))
    parts = take_out(file, kept, progress)
    return ModelRecord(
        name=name,
        source=source,
        kind="extracted",
        parts=parts[:1],
        companions=parts[1:],
        quant=quant_of(name) or quant_of(target.name),
    )


def _as_it_lies(path: Path) -> StoredFile:
    return StoredFile(path=str(path), data=str(path), bytes=size_of(path), ours=False)

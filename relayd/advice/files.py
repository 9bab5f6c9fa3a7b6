"""Which model files are on disk, and what does the catalogue call them?"""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from relayd.catalog import CatalogEntry, identify
from relayd.errors import ModelFileError
from relayd.gguf import ModelMetadata, is_companion, read_model
from relayd.gguf.companions import PART
from relayd.gguf.quants import FILE_TYPES
from relayd.models.ondisk import Found
from relayd.models.skipped import Skipped, passed_over, skipped_for
from relayd.planner.demand import Demand
from relayd.planner.placement import Placement


@dataclass(frozen=True, slots=True)
class File:
    """A model file on disk.

    Attributes:
        path: The file, of a split model its first part.
        name: What it is called on disk where the catalogue does not know it.
        entry: What the catalogue calls it; None if it does not know it.
        quant: How it is quantized, as the catalogue or its header has it.
        metadata: Its header.
        projector: The file with which it takes images or sound; None if there is nothing.
    """

    path: Path
    name: str
    entry: CatalogEntry | None
    quant: str
    metadata: ModelMetadata
    projector: Path | None = None


def find_files(
    entries: Sequence[CatalogEntry],
    found: Iterable[Found],
    named: Iterable[Path],
    skip: Callable[[Skipped], None] = passed_over,
    build: int | None = None,
) -> list[File]:
    """Return the models on disk and the files that are named, each once, without those that cannot be judged.

    Args:
        entries: The catalogue.
        found: Models of any store, with what the catalogue calls them.
        named: Files of the configuration.
        skip: Called with each file that is left out.
        build: llama.cpp's build number of the engine; None while it is not known.
    """
    stores = {os.path.realpath(one.files[0]): one for one in found if not one.embedded}
    # Links keep their names: in the cache of the hub they lead to files that are called by their digest.
    paths = {os.path.realpath(path): path.absolute() for path in named if _is_model(path)}
    paths |= {real: one.files[0].absolute() for real, one in stores.items()}
    files = []
    for real, path in paths.items():
        try:
            metadata = read_model(path, build)
            Demand(metadata).check()
        except ModelFileError as error:
            skip(skipped_for(path, error))
        else:
            files.append(_file(path, entries, stores.get(real), metadata))
    return files


def _is_model(path: Path) -> bool:
    part = PART.fullmatch(path.name)
    return not is_companion(path.name) and not (part and int(part["number"]) > 1)


def _file(path: Path, entries: Sequence[CatalogEntry], found: Found | None, metadata: ModelMetadata) -> File:
    name, projector = (found.name, found.projector) if found else (path.stem, None)
    kind = metadata.values.get("general.file_type")
    said = FILE_TYPES.get(kind, "") if isinstance(kind, int) else ""
    if found and (known := next((entry for entry in entries if entry.name == found.model), None)):
        return File(path, name, known, found.quant or said, metadata, projector)
    for entry in entries:
        for listed in entry.files:
            if listed.file and Path(listed.file).name == path.name:
                return File(path, name, entry, listed.quant, metadata, projector)
    return File(path, name, identify(entries, metadata), said, metadata, projector)


def file_of(files: Iterable[File], name: str, placement: Placement) -> File | None:
    """Return the file of a placement on disk; None if it is not there."""
    quant = placement.form.quantization.name
    for file in files:
        called = file.entry.name if file.entry else file.name
        if (called, file.quant) == (name, quant):
            return file
    return None

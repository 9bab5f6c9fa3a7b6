"""Models on this disk in the stores of every program.

Every store is read and never written. A model is listed when all its parts are there and begin as a GGUF;
what is still being fetched has another name in every store.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from relayd.files import expanded
from relayd.gguf.companions import is_draft
from relayd.models.choice import base_name
from relayd.models.folders import Scan, in_folder
from relayd.models.hubcache import hub_caches
from relayd.models.lmstudio import lmstudio_folders
from relayd.models.ollama import ollama_folders, ollama_models
from relayd.models.ondisk import Found
from relayd.models.openings import Openings
from relayd.models.shelf import ModelRecord, ModelShelf
from relayd.models.skipped import Skipped, passed_over

DEPTH = 6
"""How many folders deep models are looked for; LM Studio needs two."""

MAGIC = b"GGUF"

SHA256_DIGITS = 64
"""Blobs of large files are called by their SHA-256, those of small ones by their git hash of 40."""


@dataclass(frozen=True, slots=True)
class StoreFolders:
    """Folders that may hold models; they need not exist.

    Attributes:
        own: relayd's folder of models.
        folders: Those the operator names.
        hubs: Caches of huggingface_hub and llama.cpp.
        lmstudio: Folders of LM Studio.
        ollama: Folders of Ollama, each with `manifests` and `blobs`.
        llama_cpp: Where llama.cpp kept downloads before it used the hub's cache; a flat folder.
    """

    own: Path
    folders: tuple[Path, ...] = ()
    hubs: tuple[Path, ...] = ()
    lmstudio: tuple[Path, ...] = ()
    ollama: tuple[Path, ...] = ()
    llama_cpp: tuple[Path, ...] = ()


def places_of(
    environ: Mapping[str, str], home: Path, data: Path, folders: Iterable[str] = ()
) -> StoreFolders:
    """Return the folders that may hold models for this user.

    Args:
        environ: Names the folders that other programs use.
        home: Home of the user.
        data: relayd's data folder.
        folders: Those the configuration names.
    """
    cache = Path(environ.get("XDG_CACHE_HOME") or home / ".cache")
    old = (cache / "llama.cpp", home / "Library/Caches/llama.cpp")
    given = [Path(environ["LLAMA_CACHE"])] if environ.get("LLAMA_CACHE") else []
    return StoreFolders(
        own=data / "models",
        folders=tuple(expanded(folder) for folder in folders),
        hubs=hub_caches(environ, home),
        lmstudio=lmstudio_folders(home),
        ollama=ollama_folders(environ, home),
        llama_cpp=(*given, *old),
    )


def scan(places: StoreFolders, skip: Callable[[Skipped], None] = passed_over) -> list[Found]:
    """Return every model, each once: relayd's own first, then by store and name.

    Args:
        places: Where to look.
        skip: Called with each file that is called like a model and is none to serve.
    """
    looked = Scan(skip, Openings())
    every = [
        *_recorded(ModelShelf(places.own)),
        *in_folder(places.own, "relayd", 0, looked),
        *(one for folder in places.folders for one in in_folder(folder, "folder", DEPTH, looked)),
        *(one for cache in places.hubs for one in _in_hub(cache, looked)),
        *(one for folder in places.lmstudio for one in in_folder(folder, "lmstudio", DEPTH, looked)),
        *(one for folder in places.ollama for one in ollama_models(folder)),
        *(one for folder in places.llama_cpp for one in in_folder(folder, "llama.cpp", 0, looked)),
    ]
    taken_out = {one.source for one in every}
    seen: dict[str, Found] = {}
    for one in every:
        real = os.path.realpath(one.files[0])
        if not (one.embedded and real in taken_out) and (one.embedded or looked.serves(one.files[0])):
            seen.setdefault(real, one)
    return list(seen.values())


def begins_as_gguf(path: Path) -> bool:
    """Return whether a file's first bytes are those of a GGUF."""
    try:
        with path.open("rb") as stream:
            return stream.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def _recorded(shelf: ModelShelf) -> Iterator[Found]:
    for record in shelf.records():
        if record.parts and record.whole and begins_as_gguf(Path(record.parts[0].path)):
            yield _from_record(record)


def _from_record(record: ModelRecord) -> Found:
    files = tuple(Path(kept.path) for kept in record.parts)
    companions = [Path(kept.path) for kept in record.companions]
    stem = base_name(files[0].name)
    repo = (
        "/".join(record.source.removeprefix("hf:").split("/")[:2]) if record.source.startswith("hf:") else ""
    )
    return Found(
        name=record.name,
        files=files,
        bytes=sum(kept.bytes for kept in record.parts),
        store="relayd",
        projectors=tuple(path for path in companions if not is_draft(path.name)),
        drafts=tuple(path for path in companions if is_draft(path.name)),
        repo=repo,
        quant=record.quant,
        model=record.model,
        aliases=() if stem == record.name else (stem,),
        digests=tuple((Path(kept.path), kept.sha256) for kept in record.files if kept.sha256),
        source=record.source,
        named=record.named,
    )


def _in_hub(cache: Path, looked: Scan) -> Iterator[Found]:
    """Return the models of a hub's cache; of a path that several commits have, the one of `refs/main`."""
    for folder in _listed(cache, "models--*--*"):
        repo = folder.name.removeprefix("models--").replace("--", "/", 1)
        seen: set[Path] = set()
        for snapshot in _newest_first(folder):
            for found in in_folder(snapshot, "huggingface", DEPTH, looked):
                path = found.files[0].relative_to(snapshot)
                if path not in seen:
                    seen.add(path)
                    yield replace(found, repo=repo, digests=_blob_names(found))


def _newest_first(folder: Path) -> list[Path]:
    try:
        main = (folder / "refs" / "main").read_text().strip()
    except (OSError, ValueError):
        main = ""
    return sorted(_listed(folder, "snapshots/*"), key=lambda one: (one.name != main, one.name))


def _listed(folder: Path, pattern: str) -> list[Path]:
    """Return what a folder has; nothing where it cannot be read, or goes away meanwhile."""
    try:
        return sorted(folder.glob(pattern))
    except OSError:
        return []


def _blob_names(found: Found) -> tuple[tuple[Path, str], ...]:
    """Return the digests by which a hub's cache calls the bytes of large files."""
    every = (*found.files, *found.projectors, *found.drafts)
    named = ((path, os.path.basename(os.path.realpath(path))) for path in every)  # noqa: PTH119 - a loop has no resolve()
    return tuple((path, name) for path, name in named if len(name) == SHA256_DIGITS)

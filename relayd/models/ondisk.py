"""Models on this disk by name, with their catalogue entries."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from itertools import count
from pathlib import Path
from typing import Literal

from relayd.catalog.entry import CatalogEntry
from relayd.errors import UsageError
from relayd.models.choice import base_name, quant_of, same_quant
from relayd.models.skipped import Skipped, named_among
from relayd.units import KIB, show_bytes

Store = Literal["relayd", "folder", "huggingface", "lmstudio", "ollama", "llama.cpp"]
"""The store that a model is in."""

STORES: Mapping[Store, str] = {
    "relayd": "relayd",
    "folder": "your folders",
    "huggingface": "Hugging Face cache",
    "lmstudio": "LM Studio",
    "ollama": "Ollama",
    "llama.cpp": "llama.cpp cache",
}
"""In the order in which they are preferred where two have the same model."""


SAMPLES, SAMPLE_BYTES = 8, 16 * KIB
"""Where, and how much of, two files of one name and size are compared."""


@dataclass(frozen=True, slots=True)
class Found:
    """A model on this disk.

    Attributes:
        name: Its name in its store.
        files: The model, its first part first: what llama-server opens, or the llamafile around it.
        bytes: Of all parts.
        store: Whose folder it is in.
        projectors: Its projectors for images or audio, the best first.
        drafts: Models that draft tokens for it, the best first.
        repo: `OWNER/NAME` on the hub, if that is known.
        quant: Its quantization, if its name has one.
        model: Name of its entry in the catalogue; "" when there is none.
        aliases: Other names it answers to.
        digests: Files with what they must hash to, as far as known.
        embedded: Whether it is inside a llamafile, and has to come out before it can be served.
        source: Where relayd has it from; "" when it is not relayd's.
        named: Whether a person chose its name.
    """

    name: str
    files: tuple[Path, ...]
    bytes: int
    store: Store
    projectors: tuple[Path, ...] = ()
    drafts: tuple[Path, ...] = ()
    repo: str = ""
    quant: str = ""
    model: str = ""
    aliases: tuple[str, ...] = ()
    digests: tuple[tuple[Path, str], ...] = ()
    embedded: bool = False
    source: str = ""
    named: bool = False

    @property
    def projector(self) -> Path | None:
        """Its best projector; None if there is nothing."""
        return next(iter(self.projectors), None)

    @property
    def names(self) -> tuple[str, ...]:
        """Every name it answers to, its own first."""
        return (self.name, *self.aliases)


def identified(found: Iterable[Found], entries: Sequence[CatalogEntry]) -> list[Found]:
    """Return models by the names that the catalogue has for them: `NAME:QUANT`, and `NAME` as an alias.

    A record of relayd, the repository and file, or the whole of a file's name identifies its entry. Of
    different files of one name the first has it; the others are called by their repository, their file, or
    their folder and file.
    """
    by_name = {entry.name: entry for entry in entries}
    by_file = {(file.repo, file.file): entry for entry in entries for file in entry.files if file.file}
    by_spelling = {_plain(name): entry for entry in entries for name in (*entry.names, entry.title)}

    def entry_of(one: Found) -> CatalogEntry | None:
        placed = (by_file.get((one.repo, path.name)) for path in one.files)
        spelled = by_spelling.get(_plain(_without_quant(one)))
        return by_name.get(one.model) or next(filter(None, placed), None) or spelled

    holders: dict[str, Found] = {}
    named = []
    for one in found:
        known = _known_as(one, entry) if (entry := entry_of(one)) else one
        for name in _possible_names(known, one):
            if _is_same_model(holders.setdefault(name.casefold(), known), known):
                break
        aliases = known.aliases
        if name != known.name:
            aliases = tuple(alias for alias in aliases if alias not in {name, known.name})
        named.append(replace(known, name=name, aliases=aliases))
    return named


def _possible_names(known: Found, one: Found) -> Iterator[str]:
    """Yield what a model can be called, the best first: without end, so that one of them is free."""
    yield known.name
    if one.repo and one.quant:
        yield f"{one.repo}:{one.quant}"
    yield one.name
    longer = one.name
    for folder in one.files[0].parents:
        if folder.name:
            longer = f"{folder.name}/{longer}"
            yield longer
    yield from (f"{one.name}-{number}" for number in count(2))


def _is_same_model(one: Found, other: Found) -> bool:
    """Return whether two models are copies: as large, and with the same bytes where they are looked at."""
    if one is other:
        return True
    return one.bytes == other.bytes and _sample(one.files[0]) == _sample(other.files[0])


def _sample(path: Path) -> list[bytes]:
    """Return some bytes of a file, which two models of one shape have not in common; none if it is gone."""
    try:
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            places = {size * share // SAMPLES for share in range(SAMPLES)} | {max(0, size - SAMPLE_BYTES)}
            return [os.pread(stream.fileno(), SAMPLE_BYTES, place) for place in sorted(places)]
    except OSError:
        return []


def find_on_disk(found: Sequence[Found], name: str, skipped: Iterable[Skipped] = ()) -> Found:
    """Return the model that a name means: exactly, by an alias, or by the beginning of one model's names.

    Case does not matter. Of equal files in several stores the first in the order of `STORES` is meant.

    Args:
        found: The models.
        name: What was typed.
        skipped: Files that are none.

    Raises:
        UsageError: No model is meant, or more than one; the candidates are listed.
        ModelFileError: A file of that name is not a model to serve.
    """
    wanted = name.strip().casefold()
    exact = [one for one in found if wanted == one.name.casefold()]
    known = [one for one in found if wanted in map(str.casefold, one.names)]
    begun = [one for one in found if wanted and any(n.casefold().startswith(wanted) for n in one.names)]
    if not exact + known and (error := named_among(skipped, name)):
        raise error
    for candidates in (exact, known, begun):
        if candidates:
            return _only(candidates, name)
    names = {alias.casefold(): one.name for one in found for alias in one.names}
    alike = [names[key] for key in names if wanted and wanted in key] or [
        names[key] for key in get_close_matches(wanted, names)
    ]
    hint = f"On disk: {', '.join(dict.fromkeys(alike))}." if alike else "See `relayd models`."
    raise UsageError(
        f"no model on this disk is called {name!r}", remedy=f"{hint} Get one with `relayd pull NAME`."
    )


def _only(candidates: Sequence[Found], name: str) -> Found:
    first = min(candidates, key=lambda one: list(STORES).index(one.store))
    if all((one.name.casefold(), one.bytes) == (first.name.casefold(), first.bytes) for one in candidates):
        return first
    lines = [
        f"{one.name}  {show_bytes(one.bytes)}  {STORES[one.store]}: {one.files[0]}" for one in candidates
    ]
    raise UsageError(
        f"{name!r} could be {len(candidates)} models",
        remedy="\n".join([*lines, "Write more of the name, or the path of the file."]),
    )


def _known_as(one: Found, entry: CatalogEntry) -> Found:
    names = [name for name in entry.names if name not in entry.quant_aliases]
    implied = [name for name, quant in entry.quant_aliases.items() if same_quant(quant, one.quant)]
    name, *aliases = [*(f"{name}:{one.quant}" for name in names if one.quant), *names, *implied]
    if one.named:
        name, aliases = one.name, [name, *aliases]
    kept = tuple(alias for alias in dict.fromkeys((*aliases, one.name, *one.aliases)) if alias != name)
    return replace(one, name=name, model=entry.name, aliases=kept)


def _without_quant(one: Found) -> str:
    """Return the name of the first file, or of the tag in Ollama's store, without its quantization."""
    stem = one.name.replace(":", "-") if one.store == "ollama" else base_name(one.files[0].name)
    quant = quant_of(stem)
    return re.sub(rf"[-_.:]?{re.escape(quant)}$", "", stem, flags=re.IGNORECASE) if quant else stem


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "", name.casefold())

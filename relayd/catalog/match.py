"""Finding the catalogue entry of a name or of a model file."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from relayd.catalog.entry import CatalogEntry, ModelFile
from relayd.catalog.spelling import QUANT, entries_like, spelling_of
from relayd.errors import UsageError
from relayd.gguf.metadata import ModelMetadata

SHOWN = 12
"""How many candidates an error lists."""


@dataclass(frozen=True, slots=True)
class Match:
    """The model that a name means.

    Attributes:
        entry: The model.
        quant: The quantization that was asked for, as the catalogue spells it; "" when none was.
    """

    entry: CatalogEntry
    quant: str = ""

    @property
    def file(self) -> ModelFile | None:
        """The file of the quantization that was asked for."""
        return self.entry.file(self.quant) if self.quant else None


def find_entry(entries: Sequence[CatalogEntry], text: str) -> Match:
    """Return the model that a name means; see `find_entries`.

    Raises:
        UsageError: No model is meant, or more than one, or the model has no such quantization.
    """
    found = find_entries(entries, text)
    if len(found) > 1:
        raise UsageError(
            f"{text.strip()!r} could be {len(found)} models of the catalogue",
            remedy=f"Write more of the name. They are: {_shown(one.entry.name for one in found)}.",
        )
    return found[0]


def find_entries(entries: Sequence[CatalogEntry], text: str) -> tuple[Match, ...]:
    """Return the models that a name may mean, at least one.

    A name is `NAME` or `NAME:QUANT` of the catalogue, an alias, `FAMILY:SIZE` as in Ollama, a family, the
    beginning of names, or some of their words; case and separators do not matter.

    Raises:
        UsageError: No model is meant, or the one that is has no such quantization.
    """
    name, _, quant = text.strip().partition(":")
    names = {known: entry for entry in entries for known in entry.names}
    typed = spelling_of(text)
    entry = names.get(name.casefold())
    if entry and (not quant or QUANT.fullmatch(quant) or not typed.tag):
        known = quant if quant and (typed.quant or typed.tag) else ""
        implied = entry.quant_aliases.get(name.casefold(), "")
        return (Match(entry, _known_quant(entry, known) if known else implied),)
    begun = _begun(names, text.strip() if not typed.quant else name)
    found = [*begun.values()] if len(begun) == 1 else entries_like(entries, typed) or [*begun.values()]
    if not found:
        raise _unknown(names, name if typed.quant else text.strip())
    if len(found) == 1 and typed.quant:
        return (Match(found[0], _known_quant(found[0], typed.quant)),)
    return tuple(Match(one, _listed_quant(one, typed.quant) if typed.quant else "") for one in found)


def identify(entries: Iterable[CatalogEntry], metadata: ModelMetadata) -> CatalogEntry | None:
    """Return the model that a file holds, or None if no entry of that shape has its name.

    Many fine-tunes share one shape, so the shape alone decides nothing.
    """
    spellings = _spellings(metadata)
    alike = (entry for entry in entries if _same_shape(entry, metadata))
    found = [entry for entry in alike if spellings & {_plain(name) for name in (*entry.names, entry.title)}]
    return found[0] if len(found) == 1 else None


def _begun(names: Mapping[str, CatalogEntry], text: str) -> dict[str, CatalogEntry]:
    """Return the models with names that begin like a text."""
    beginning = text.casefold().removesuffix(":latest")
    return {entry.name: entry for known, entry in names.items() if beginning and known.startswith(beginning)}


def _unknown(names: Mapping[str, CatalogEntry], name: str) -> UsageError:
    beginning = name.casefold()
    alike = [known for known in names if beginning and beginning in known]
    alike = alike or get_close_matches(beginning, list(names))
    hint = f"Names like it: {_shown(alike)}." if alike else "See all: relayd models --all"
    return UsageError(f"the catalogue has no model {name!r}", remedy=hint)


def _known_quant(entry: CatalogEntry, quant: str) -> str:
    if known := _listed_quant(entry, quant):
        return known
    listed = ", ".join(entry.quants) or "none"
    raise UsageError(f"the catalogue has no {quant} of {entry.name}", remedy=f"It lists: {listed}.")


def _listed_quant(entry: CatalogEntry, quant: str) -> str:
    """Return a quantization as the catalogue spells it, also without its `UD-` or `_MOE`; "" for none."""
    spellings = [quant.casefold(), f"ud-{quant}".casefold(), f"{quant}_moe".casefold()]
    known = {one.casefold(): one for one in entry.quants}
    return next((known[one] for one in spellings if one in known), "")


def _shown(names: Iterable[str]) -> str:
    every = sorted(names)
    more = f" and {len(every) - SHOWN} more" if len(every) > SHOWN else ""
    return ", ".join(every[:SHOWN]) + more


def _same_shape(entry: CatalogEntry, metadata: ModelMetadata) -> bool:
    shape = entry.dimensions
    if shape is None or shape.architecture != metadata.architecture:
        return False
    layers = {shape.n_layer, shape.n_layer + shape.mtp_layers}
    return metadata.number("block_count") in layers and metadata.number("embedding_length") == shape.n_embd


def _spellings(metadata: ModelMetadata) -> set[str]:
    """Return the names a header gives: whole, or put together of its parts as llama.cpp's converter does."""
    texts = {part: metadata.values.get(f"general.{part}") for part in ("name", "basename", "size_label")}
    texts |= {part: metadata.values.get(f"general.{part}") for part in ("finetune", "version")}
    basename, size = texts["basename"], texts["size_label"]
    joined = [
        "-".join(str(part) for part in parts if part)
        for parts in (
            (basename, size),
            (basename, size, texts["finetune"]),
            (basename, size, texts["finetune"], texts["version"]),
        )
    ]
    return {_plain(str(text)) for text in (texts["name"], *joined) if text}


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "", name.casefold())

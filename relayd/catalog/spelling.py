"""Names of models as people type them: `qwen3:8b` as in Ollama, a family, a name with other separators."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from relayd.catalog.entry import CatalogEntry

QUANT = re.compile(
    r"(?<![a-z0-9])(?:ud-)?(?:i?q\d+(?:_[a-z0-9]+)*|tq\d_0|bf16|f16|f32|mxfp4(?:_moe)?|nvfp4)(?![a-z0-9])",
    re.IGNORECASE,
)
"""A quantization, as uploaders spell it in names of files."""

LATEST = "latest"
"""The tag that Ollama has where none is typed."""

VARIANTS = frozenset({
    "base", "coder", "distill", "embed", "embedding", "math", "next", "reasoning", "reranker", "think",
    "thinking", "vl",
})  # fmt: skip
"""Words for a model of another purpose: one that has them is meant only where they were typed."""

SAME_SIZE = 0.08
"""By how much a size that was typed may differ from the parameters of a model whose name has none."""

_WORD = re.compile(
    r"[ae]?\d+(?:\.\d+)?[bm](?![a-z0-9])"  # a size: 8b, 0.6b, 270m, the active a3b, the effective e4b
    r"|\d+(?:\.\d+)?|[a-z]+"
)
_SIZE = re.compile(r"(\d+(?:\.\d+)?)([bm])")
_UNITS = {"b": 1e9, "m": 1e6}


@dataclass(frozen=True, slots=True)
class Spelling:
    """What was typed, in its parts.

    Attributes:
        family: The words before the colon.
        tag: Those behind it, without a quantization.
        quant: The quantization, as it was typed; "" when none was.
    """

    family: tuple[str, ...]
    tag: tuple[str, ...] = ()
    quant: str = ""

    @property
    def words(self) -> tuple[str, ...]:
        """All words."""
        return self.family + self.tag


def spelling_of(text: str) -> Spelling:
    """Return the parts of what was typed."""
    name, _, tag = text.strip().casefold().partition(":")
    tag = "" if tag == LATEST else re.sub(r"(?<![a-z0-9])fp(?=16|32)", "f", tag)
    found = QUANT.search(tag)
    quant = found[0] if found else ""
    rest = tag.replace(quant, " ", 1) if quant else tag
    return Spelling(_words(name), _words(rest), quant.upper())


def entries_like(entries: Sequence[CatalogEntry], typed: Spelling) -> list[CatalogEntry]:
    """Return the models that may be meant: by all words of a name, by their family, else by some words."""
    if not typed.words:
        return []
    for fits in (_is_name, _is_of_family):
        if found := [entry for entry in entries if fits(entry, typed)]:
            return _plain_ones(found, typed)
    return [entry for entry in entries if _is_part_of_name(entry, typed)]


def _is_name(entry: CatalogEntry, typed: Spelling) -> bool:
    return any(_words(name) == typed.words for name in entry.names)


def _is_of_family(entry: CatalogEntry, typed: Spelling) -> bool:
    if _words(entry.family) != typed.family:
        return False
    return any(_in_order(typed.tag, _words(name), entry) for name in entry.names)


def _is_part_of_name(entry: CatalogEntry, typed: Spelling) -> bool:
    return any(
        words[:1] == typed.words[:1] and _in_order(typed.words, words, entry)
        for words in map(_words, entry.names)
    )


def _in_order(wanted: Iterable[str], words: Sequence[str], entry: CatalogEntry) -> bool:
    """Return whether all wanted words are among words, in order; a size may be that of the parameters."""
    left = iter(words)
    sizes = [one for one in words if _SIZE.fullmatch(one)]
    return all(word in left or (not sizes and _is_size_of(entry, word)) for word in wanted)


def _is_size_of(entry: CatalogEntry, word: str) -> bool:
    found, parameters = _SIZE.fullmatch(word), entry.parameters or entry.published_parameters
    if not found or not parameters:
        return False
    return abs(parameters / (float(found[1]) * _UNITS[found[2]]) - 1) <= SAME_SIZE


def _plain_ones(found: list[CatalogEntry], typed: Spelling) -> list[CatalogEntry]:
    """Leave out models of another purpose that was not typed, if there are others."""
    unasked = VARIANTS - {*typed.words}
    plain = [entry for entry in found if not unasked & {*_words(entry.name)}]
    return plain or found


def _words(text: str) -> tuple[str, ...]:
    return tuple(_WORD.findall(text.casefold()))

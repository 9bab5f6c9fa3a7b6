"""Which models does a server list, in any of the shapes that servers have for it?

| server | shape of `GET /v1/models` |
|---|---|
| OpenAI, vLLM, SGLang, LM Studio, relayd | `{"object": "list", "data": [{"id": …}]}` |
| llama-server | the same, and `models` besides |
| Ollama | the same; `{"models": [{"name": …}]}` at `/api/tags` |
| Together | a bare list |
| RelayServe | `{"data": [{"id": …}]}` |
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from relayd.remote.source import WantedModel

_NAME = re.compile(r"\A(?=.{1,128}\Z)[A-Za-z0-9][A-Za-z0-9._:-]*(/[A-Za-z0-9][A-Za-z0-9._:-]*)*\Z")
"""What clients may call a model, as in [[model]]."""

_UNNAMEABLE = re.compile(r"[^A-Za-z0-9._:-]+")

_CONTEXTS = (
    "max_model_len",
    "context_length",
    "context_window",
    "max_context_length",
    "loaded_context_length",
)
"""Members in which servers state how many tokens a request can hold."""

_EMBEDDING = re.compile(r"embed|(\A|[/_-])(bge|e5|gte)-", re.IGNORECASE)


WRITES = ("completion", "tools")
"""What a model can do of which nothing is stated: whether it calls tools, only a request shows."""

EMBEDS = ("embedding",)
ABILITIES = frozenset({"completion", "tools", "insert", "thinking", "vision", "audio", "embedding", "rerank"})


@dataclass(frozen=True, slots=True)
class ListedModel:
    """A model that a server has.

    Attributes:
        name: What it is called there.
        owner: Who serves it, as the list states: `vllm`, `llamacpp`, `sglang`, `relayd`, ….
        context: Tokens that a request can hold; 0 where it is not stated.
        abilities: What it can do, as far as it is stated or its name shows it.
        slots: Requests that are worked on at once; 0 where it is not stated.
    """

    name: str
    owner: str = ""
    context: int = 0
    abilities: tuple[str, ...] = WRITES
    slots: int = 0


def read_list(payload: bytes) -> tuple[ListedModel, ...] | None:
    """Return the models of an answer; None where it lists none."""
    try:
        found = msgspec.json.decode(payload)
    except msgspec.DecodeError:
        return None
    if isinstance(found, dict):
        found = next((found[name] for name in ("data", "models") if isinstance(found.get(name), list)), None)
    if not isinstance(found, list):
        return None
    listed = (_model(one) for one in found)
    return tuple({one.name: one for one in listed if one is not None}.values())


def _model(entry: object) -> ListedModel | None:
    if isinstance(entry, str):
        return ListedModel(entry)
    if not isinstance(entry, dict):
        return None
    name = next((entry[key] for key in ("id", "name", "model") if isinstance(entry.get(key), str)), "")
    if not name:
        return None
    owner, kind = entry.get("owned_by"), entry.get("type")
    meta = entry.get("meta")
    slots, stated = entry.get("slots"), entry.get("capabilities")
    abilities = EMBEDS if kind in ("embedding", "embeddings") or _EMBEDDING.search(name) else WRITES
    if isinstance(stated, list) and (known := tuple(one for one in stated if one in ABILITIES)):
        abilities = known if owner == "relayd" else tuple(dict.fromkeys((*known, *abilities)))
    return ListedModel(
        name,
        owner if isinstance(owner, str) else "",
        _context(entry) or (_context(meta) if isinstance(meta, dict) else 0),
        abilities,
        slots if isinstance(slots, int) and 0 < slots <= 4096 else 0,
    )


def _context(entry: Mapping[str, Any]) -> int:
    values = (entry.get(name) for name in _CONTEXTS)
    return next((value for value in values if isinstance(value, int) and value > 0), 0)


@dataclass(frozen=True, slots=True)
class ChosenModel:
    """A model that is served: what clients call it, and what the server has."""

    ours: str
    listed: ListedModel


def chosen(wanted: Sequence[WantedModel], listed: Iterable[ListedModel] | None) -> tuple[ChosenModel, ...]:
    """Return what is served of a server.

    Args:
        wanted: What is configured; none for all that it has.
        listed: What it lists; None where it has no list, so that what is wanted by name is believed.
    """
    if listed is None:
        return tuple(
            ChosenModel(one.ours or one.theirs, ListedModel(one.theirs))
            for one in wanted
            if not one.is_pattern
        )
    found: dict[str, ListedModel] = {}
    models = tuple(listed)
    for one in wanted or (WantedModel("*"),):
        for model in models:
            if one.fits(model.name) or (not one.is_pattern and model.name == f"{one.theirs}:latest"):
                found.setdefault(one.ours or our_name(model.name if one.is_pattern else one.theirs), model)
    return tuple(ChosenModel(ours, model) for ours, model in found.items() if _NAME.fullmatch(ours))


def our_name(theirs: str) -> str:
    """Return what clients call a model: as its server does, or the name of its file where that is a path."""
    if _NAME.fullmatch(theirs):
        return theirs
    last = theirs.replace("\\", "/").rstrip("/").rpartition("/")[2]
    return _UNNAMEABLE.sub("-", last.removesuffix(".gguf")).strip("-._:")[:128]

"""Every hostile body, family by family."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from tests.attack import grammars, members, texts
from tests.attack.case import CHAT, EMBEDDINGS, TEXT, Case, Named, request

Shot = TypeVar("Shot")


def _schemas() -> Named:
    for name, schema in grammars.schemas():
        yield f"json_schema: {name}", {"json_schema": schema}
        yield (
            f"response_format: {name}",
            {"response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}},
        )
        yield (
            f"tools: {name}",
            {
                "tools": [{"type": "function", "function": {"name": "f", "parameters": schema}}],
                "tool_choice": "required",
            },
        )
    yield "response_format.schema", {"response_format": {"type": "json_object", "schema": {"$ref": "#"}}}


FAMILIES: Mapping[str, tuple[Callable[[], Named], tuple[str, ...]]] = {
    "grammars": (grammars.grammars, (CHAT, TEXT)),
    "triggers": (grammars.triggers, (CHAT, TEXT)),
    "parsers": (grammars.parsers, (CHAT, TEXT)),
    "schemas": (_schemas, (CHAT,)),
    "sizes": (members.sizes, (TEXT,)),
    "types": (members.types, (CHAT, TEXT, EMBEDDINGS)),
    "lengths": (members.lengths, (CHAT, TEXT, EMBEDDINGS)),
    "tools": (members.tools, (CHAT,)),
    "mistakes": (members.mistakes, (CHAT, TEXT, EMBEDDINGS)),
    "encodings": (texts.encodings, (CHAT,)),
    "forms": (texts.forms, (CHAT, EMBEDDINGS)),
    "duplicates": (texts.duplicates, (CHAT,)),
    "nesting": (texts.nesting, (CHAT, TEXT)),
    "structure": (texts.structure, (CHAT,)),
}
"""Family -> where its cases come from, and where they go."""

_OWN_MEMBERS = {CHAT: "prompt input", TEXT: "messages input", EMBEDDINGS: "messages prompt"}
"""What another path asks with: a case that only sets that proves nothing here."""


_PATIENT = ("lengths",)
"""Families whose requests are long work, which only the quick model does in seconds."""


def cases(
    families: tuple[str, ...] = (), models: tuple[str, ...] = ("slow", "tiny"), vectors: str = "vectors"
) -> Iterator[Case]:
    """Yield every case of some families, or of all.

    Args:
        families: Which; none are all.
        models: Asked one after the other, the quickest of them last.
        vectors: Asked for embeddings.
    """
    turn = itertools.cycle(models)
    for kind, (source, paths) in FAMILIES.items():
        for name, what in source() if not families or kind in families else ():
            for path in paths:
                if isinstance(what, bytes):
                    yield Case(kind, name, path, what)
                elif not set(what) & set(_OWN_MEMBERS[path].split()):
                    model = models[-1] if kind in _PATIENT else next(turn)
                    model = vectors if path == EMBEDDINGS else model
                    yield Case(kind, name, path, request(path, model, what))


def sampled(shots: Sequence[Shot], most: int) -> list[Shot]:
    """Return every n-th of an ordered list, at most so many.

    Members, values and paths come in an order that repeats; n is a prime that no such period has as a
    divisor, so that each member is there with some of the values, and each value with some of the members.
    """
    if not most or len(shots) <= most:
        return [*shots]
    return [*shots[:: next(step for step in _STEPS if step * most >= len(shots) or step == _STEPS[-1])]]


_STEPS = (5, 11, 17, 23, 29, 37, 53, 101, 499)

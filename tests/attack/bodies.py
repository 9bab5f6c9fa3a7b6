"""Every hostile body, family by family."""

import itertools
from collections.abc import Callable, Iterator, Mapping

from tests.attack import grammars, members, texts
from tests.attack.case import CHAT, EMBEDDINGS, TEXT, Case, Named, request


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


def cases(families: tuple[str, ...] = (), models: tuple[str, ...] = ("slow", "tiny")) -> Iterator[Case]:
    """Yield every case of some families, or of all, for one model after the other."""
    turn = itertools.cycle(models)
    for kind, (source, paths) in FAMILIES.items():
        for name, what in source() if not families or kind in families else ():
            for path in paths:
                if isinstance(what, bytes):
                    yield Case(kind, name, path, what)
                elif not set(what) & set(_OWN_MEMBERS[path].split()):
                    yield Case(kind, name, path, request(path, next(turn), what))

"""One hostile request: where it goes and what is sent."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

CHAT = "/v1/chat/completions"
TEXT = "/v1/completions"
EMBEDDINGS = "/v1/embeddings"

Members = Mapping[str, object]

Named = Iterator[tuple[str, Members | bytes]]
"""Names of cases, each with the members to set in an ordinary request, or with a whole body."""


@dataclass(frozen=True, slots=True)
class Verbatim:
    """JSON that is written as it is: what Python would refuse to write, or would write in another way."""

    text: str


@dataclass(frozen=True, slots=True)
class Case:
    """A body to post, the family of attacks it belongs to, and what is special in it."""

    kind: str
    name: str
    path: str
    body: bytes


def request(path: str, model: str, members: Members) -> bytes:
    """Return an ordinary short request with members added or replaced."""
    asked: dict[str, object] = {"prompt": "a"}
    if path == CHAT:
        asked = {"messages": [{"role": "user", "content": "a"}]}
    elif path == EMBEDDINGS:
        asked = {"input": "a"}
    return written({"model": model, "max_tokens": 4, "temperature": 0, **asked, **members})


def written(value: object) -> bytes:
    """Return JSON, lone surrogates and `Verbatim` included."""
    parts: list[str] = []

    def keep(part: object) -> str:
        assert isinstance(part, Verbatim)
        parts.append(part.text)
        return f"\uf8ff{len(parts) - 1}\uf8ff"

    text = json.dumps(value, default=keep)
    for number, part in enumerate(parts):
        text = text.replace(f'"\\uf8ff{number}\\uf8ff"', part)
    return text.encode("utf-8", "surrogatepass")

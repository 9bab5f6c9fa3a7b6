"""How are texts shortened to what a slot holds, where a client asks for that (`truncate`)?"""

import msgspec

from relayd.api.fleet import ModelView
from relayd.api.forwarding import Members
from relayd.router import Beside, Call

_LONGEST_TOKEN = 16
"""Bytes of a text that are read for each token that a slot holds; more would not change what fits."""

_texts = msgspec.json.Decoder(str | list[str] | None)


class _Tokens(msgspec.Struct):
    tokens: list[int] = []


_tokens = msgspec.json.Decoder(_Tokens)


async def fitted(name: str, members: Members, model: ModelView, beside: Beside) -> Members:
    """Return members in which each text of `name` fits into a slot, as token ids where it was shortened.

    Ollama's clients rely on it unless they send `truncate: false`. A text of fewer bytes than a slot holds
    tokens fits in any case. A model that is not in memory is not loaded for it: then the engine refuses what
    is too long.
    """
    most = model.window - 1  # the engine wants room for one more
    if most < 1 or bytes(members.get("truncate", b"")) == b"false" or len(members.get(name, b"")) <= most:
        return members
    try:
        given = _texts.decode(members[name])
    except msgspec.DecodeError:
        return members
    texts = [given] if isinstance(given, str) else given or []
    cut = [await _cut(text, most, model, beside) for text in texts]
    if all(one is text for one, text in zip(cut, texts, strict=True)):
        return members
    return {**members, name: msgspec.Raw(msgspec.json.encode(cut))}


async def _cut(text: str, most: int, model: ModelView, beside: Beside) -> str | list[int]:
    """Return a text that fits as it came, and otherwise the first of its tokens and its closing one."""
    if len(text.encode()) <= most:
        return text
    begins = text[: most * _LONGEST_TOKEN]
    while (tokens := await _tokenized(begins, model, beside)) is None:
        if len(begins) <= most:
            return text
        begins = begins[: len(begins) // 2]  # its tokens are more than can be read at once
    if len(tokens) <= most:
        return text
    closing = (await _tokenized("", model, beside) or [])[1:]
    return [*tokens[: most - len(closing)], *closing]


async def _tokenized(text: str, model: ModelView, beside: Beside) -> list[int] | None:
    body = msgspec.json.encode({"content": text, "add_special": True})
    found = await beside.ask(model.replicas_of, Call("/tokenize", body))
    if found is None or found[1].status != 200:
        return None
    try:
        return _tokens.decode(found[1].body).tokens
    except msgspec.DecodeError:
        return None

"""What does relayd need to know of a request's body, and what of it may not reach a replica?

One pass reads the top-level members; their values stay bytes. A member that is taken out leaves
every other member as the client wrote it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import NoReturn, TypeVar

import msgspec

from relayd.errors import RequestError
from relayd.units import KIB

_MOST_DEPTH = 64
_LONGEST_GRAMMAR = 64 * KIB
_INT32 = 2**31 - 1

_DROPPED = frozenset({"id_slot", "slot_id"})
"""A pinned slot that is busy corrupts the answer it is giving; which slot is the engine's business."""

_REFUSED = {"lora": "Adapters are set in relay.toml, for every request to the model."}

_RANGES = {
    "n": (1, 128),
    "n_cmpl": (1, 128),
    "n_predict": (-1, _INT32),
    "max_tokens": (-1, _INT32),
    "max_completion_tokens": (-1, _INT32),
    "n_keep": (-1, _INT32),
    "n_discard": (0, _INT32),
    "n_probs": (0, 1000),
    "top_logprobs": (0, 1000),
    "sse_ping_interval": (1, 30),
}
"""Numbers that size memory or answers in the engine; its comments are how relayd knows it lives."""

_PROMPTS = {"completion": ("prompt",), "embedding": ("input", "content")}

_Value = TypeVar("_Value")


class _Message(msgspec.Struct):
    content: msgspec.Raw = msgspec.Raw(b"null")


_MESSAGES = msgspec.json.Decoder(list[_Message])
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])
_TEXT = msgspec.json.Decoder(str)
_FLAG: msgspec.json.Decoder[bool | None] = msgspec.json.Decoder(bool | None)
_COUNT: msgspec.json.Decoder[int | None] = msgspec.json.Decoder(int | None)
_NUMBER: msgspec.json.Decoder[float | None] = msgspec.json.Decoder(int | float | None)
_KEY = re.compile(rb'\s*"[^"\\]*(?:\\.[^"\\]*)*"\s*:\s*', re.DOTALL)
_SEPARATOR = re.compile(rb"\s*([,}])")
_TOKEN_IDS = re.compile(rb"\[\s*[-0-9]")
_AS_SQUARE = bytes.maketrans(b"{}", b"[]")
_NO_STRUCTURE = bytes(sorted(set(range(256)) - set(b'"[]{}')))


class Kind(Enum):
    """Which API the body is for."""

    CHAT = "chat"
    COMPLETION = "completion"
    EMBEDDING = "embedding"


@dataclass(frozen=True, slots=True)
class Peek:
    """What routing needs to know of a body.

    Attributes:
        model: The name the client asks for, if it gives one.
        stream: The client wants events.
        width: Slots the request takes at the same time in a replica.
        body: What a replica gets.
    """

    model: str | None
    stream: bool
    width: int
    body: bytes


def peek(raw: bytes, kind: Kind) -> Peek:
    """Look into a JSON body: 5 µs for a short one, about 1 ms a MB, so large ones belong into a thread.

    Raises:
        RequestError: It is not a JSON object, is nested too deeply, names a member twice, or
            asks for what no client may have.
    """
    members = _parse(raw)
    written = _as_written(raw, members)
    _check(members)
    dropped = _DROPPED & members.keys()
    kept = (text for name, text in written.items() if name not in dropped)
    return Peek(
        model=_read(members, "model", _TEXT),
        stream=_read(members, "stream", _FLAG) is True,
        width=_width(members, kind),
        body=b"{%b}" % b",".join(kept) if dropped else raw,
    )


def _parse(raw: bytes) -> dict[str, msgspec.Raw]:
    try:
        if not raw.isascii():
            raw.decode()
        members = _MEMBERS.decode(raw)
    except msgspec.ValidationError as error:
        raise RequestError("The body is not a JSON object.") from error
    except msgspec.DecodeError as error:
        raise RequestError(f"The body is no JSON: {error}.") from error
    except UnicodeDecodeError as error:
        raise RequestError(f"The body is not UTF-8 (byte {error.start}).") from error
    except RecursionError:
        _refuse_depth()
    if _is_deeper_than(_MOST_DEPTH, raw):
        _refuse_depth()
    return members


def _refuse_depth() -> NoReturn:
    raise RequestError(f"The body is nested deeper than {_MOST_DEPTH} levels.")


def _is_deeper_than(levels: int, raw: bytes) -> bool:
    """Count nesting in valid JSON at memory speed: each round takes the innermost brackets away."""
    if raw.count(b"[") + raw.count(b"{") <= levels:
        return False
    unescaped = raw.replace(rb"\\", b"").replace(rb"\"", b"")
    brackets = b"".join(unescaped.translate(_AS_SQUARE, _NO_STRUCTURE).split(b'"')[::2])
    for _ in range(levels):
        brackets = brackets.replace(b"[]", b"")
    return bool(brackets)


def _as_written(raw: bytes, members: Mapping[str, msgspec.Raw]) -> dict[str, bytes]:
    """Return each member with its key, byte for byte.

    A walk of as many steps as there are names ends at the closing brace, unless a name comes
    twice.
    """
    written = {}
    position = raw.index(b"{") + 1
    for name, value in members.items():
        key, text = _KEY.match(raw, position), bytes(value)
        end = key.end() + len(text) if key else 0
        separator = _SEPARATOR.match(raw, end)
        if key is None or separator is None or not raw.startswith(text, key.end()):
            break
        written[name] = raw[position:end]
        position = separator.end()
    if members and raw[position - 1 : position] != b"}":
        raise RequestError(f"The body names a member twice (before byte {position}).")
    return written


def _read(
    members: Mapping[str, msgspec.Raw], name: str, decoder: msgspec.json.Decoder[_Value]
) -> _Value | None:
    """Return a member's value, or None if there is no such member."""
    try:
        return decoder.decode(members[name]) if name in members else None
    except msgspec.ValidationError as error:
        raise RequestError(f"{name}: {error}.", param=name) from error


def _check(members: Mapping[str, msgspec.Raw]) -> None:
    for name in members:
        if name in _REFUSED:
            raise RequestError(f"{name} is not accepted.", remedy=_REFUSED[name], param=name)
        if name in _RANGES:
            _check_range(members, name, *_RANGES[name])
    if "grammar" in members and len(bytes(members["grammar"])) > _LONGEST_GRAMMAR:
        raise RequestError("grammar is longer than 64 KiB.", param="grammar")
    if "messages" in members:
        _check_media(members["messages"])


def _check_range(members: Mapping[str, msgspec.Raw], name: str, low: int, high: int) -> None:
    number = _read(members, name, _NUMBER)
    if number is not None and not low <= number <= high:
        raise RequestError(f"{name} is {number}; it must be from {low} to {high}.", param=name)


def _check_media(messages: msgspec.Raw) -> None:
    """Refuse what the engine would fetch: files of the server, and addresses it can reach."""
    try:
        contents = [bytes(message.content) for message in _MESSAGES.decode(messages)]
    except msgspec.ValidationError as error:
        raise RequestError(f"messages: {error}.", param="messages") from error
    for part in (
        part for content in contents if content.startswith(b"[") for part in msgspec.json.decode(content)
    ):
        for name, value in part.items() if isinstance(part, dict) else ():
            url = value.get("url") if isinstance(value, dict) else value
            if name.endswith("_url") and not (isinstance(url, str) and url[:5].lower() == "data:"):
                raise RequestError(
                    f"{name} must be a data: URL.",
                    remedy="relayd fetches nothing for clients; send the bytes in the request.",
                    param="messages",
                )


def _width(members: Mapping[str, msgspec.Raw], kind: Kind) -> int:
    choices = _read(members, "n", _COUNT) or _read(members, "n_cmpl", _COUNT) or 1
    prompts = (members[name] for name in _PROMPTS.get(kind.value, ()) if name in members)
    return choices * _count(bytes(next(prompts, b"")))


def _count(prompts: bytes) -> int:
    """Count as the engine does: a list with numbers in it is one prompt, of token ids."""
    if not prompts.startswith(b"[") or _TOKEN_IDS.match(prompts):
        return 1
    items = _ITEMS.decode(prompts)
    if any(bytes(item)[0] in b"-0123456789" for item in items):
        return 1
    return max(1, len(items))

"""What does relayd need to know of a request's body, and what of it may not reach a replica?

One pass reads the top-level members; their values stay bytes. A member that is taken out leaves
every other member as the client wrote it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NoReturn, TypeVar

import msgspec

from relayd.errors import RequestError
from relayd.units import KIB

_MOST_DEPTH = 64
_LONGEST_GRAMMAR = 64 * KIB

DROPPED = frozenset({"id_slot", "slot_id"})
"""A pinned slot that is busy corrupts the answer it is giving; which slot is the engine's business."""

REFUSED = {"lora": "Adapters are set in relay.toml, for every request to the model."}
"""Members that no client may set, and what to do instead."""

_Value = TypeVar("_Value")


class _ChatMessage(msgspec.Struct):
    content: msgspec.Raw = msgspec.Raw(b"null")


_MESSAGES = msgspec.json.Decoder(list[_ChatMessage])
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


@dataclass(frozen=True, slots=True)
class BodyRules:
    """What the body for one path may hold.

    Attributes:
        ranges: Numbers that are checked: member to lowest and highest value.
        prompts: Members that hold what is asked, each able to hold several; the first one present counts.
        dropped: Members that never reach a replica.
        refused: Members that end the request, and what its client can do instead.
    """

    ranges: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    prompts: tuple[str, ...] = ()
    dropped: frozenset[str] = DROPPED
    refused: Mapping[str, str] = field(default_factory=lambda: REFUSED)


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


def peek(raw: bytes, rules: BodyRules) -> Peek:
    """Look into a JSON body: 5 µs for a short one, about 1 ms a MB, so large ones belong into a thread.

    Raises:
        RequestError: It is not a JSON object, is nested too deeply, names a member twice, or
            asks for what no client may have.
    """
    members = _parse(raw)
    written = _as_written(raw, members)
    _check(members, rules)
    dropped = rules.dropped & members.keys()
    kept = (text for name, text in written.items() if name not in dropped)
    return Peek(
        model=_read(members, "model", _TEXT),
        stream=_read(members, "stream", _FLAG) is True,
        width=_width(members, rules.prompts),
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
        raise RequestError(f"The body is not valid JSON: {error}.") from error
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


def _check(members: Mapping[str, msgspec.Raw], rules: BodyRules) -> None:
    for name in members:
        if name in rules.refused:
            raise RequestError(f"{name} is not accepted.", remedy=rules.refused[name], param=name)
        if name in rules.ranges:
            _check_range(members, name, *rules.ranges[name])
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
                    remedy="Send the bytes in the request; relayd fetches nothing for clients.",
                    param="messages",
                )


def _width(members: Mapping[str, msgspec.Raw], names: tuple[str, ...]) -> int:
    choices = _read(members, "n", _COUNT) or _read(members, "n_cmpl", _COUNT) or 1
    prompts = (members[name] for name in names if name in members)
    return choices * _count(bytes(next(prompts, b"")))


def _count(prompts: bytes) -> int:
    """Count as the engine does: a list with numbers in it is one prompt, of token ids."""
    if not prompts.startswith(b"[") or _TOKEN_IDS.match(prompts):
        return 1
    items = _ITEMS.decode(prompts)
    if any(bytes(item)[0] in b"-0123456789" for item in items):
        return 1
    return max(1, len(items))

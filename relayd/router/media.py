"""Would a server fetch something for a conversation: a file of its own, or an address it can reach?"""

import re
from collections.abc import Iterator
from typing import Annotated, NoReturn

import msgspec
from msgspec import Meta

from relayd.errors import RequestError

MOST_MESSAGES = 10_000
"""Messages of one conversation; 0.6 µs each to look at."""

_HOLDERS = frozenset({"input_audio", "input_video", "source"})
"""Members of a content part that hold an address or the bytes themselves, besides all that end in `_url`."""

_FETCHED = re.compile(r"http|[a-z][a-z0-9+.-]*:", re.IGNORECASE)
"""What llama-server fetches, or could some day: any other text it reads as base64 (`handle_media`)."""


class _ChatMessage(msgspec.Struct, gc=False):
    content: msgspec.Raw = msgspec.Raw(b"null")


class _InputItem(msgspec.Struct, gc=False):
    content: msgspec.Raw = msgspec.Raw(b"null")
    output: msgspec.Raw = msgspec.Raw(b"null")


_MESSAGES = msgspec.json.Decoder(Annotated[list[_ChatMessage], Meta(max_length=MOST_MESSAGES)] | None)
_INPUTS = msgspec.json.Decoder(Annotated[list[_InputItem], Meta(max_length=MOST_MESSAGES)] | str | None)
_PARTS = msgspec.json.Decoder(list[object])
_LIST = ord("[")


def check_conversation(raw: msgspec.Raw) -> None:
    """Refuse addresses in the content parts of messages.

    Raises:
        RequestError: A part names an address.
        msgspec.ValidationError: It is not a list of objects.
    """
    for message in _MESSAGES.decode(raw) or ():
        if memoryview(message.content)[0] == _LIST:
            _check_parts(_PARTS.decode(message.content))


def check_items(raw: msgspec.Raw) -> None:
    """Refuse addresses in the input of a response: a string, or a list of items; raises likewise."""
    items = _INPUTS.decode(raw)
    for item in items if isinstance(items, list) else ():
        for value in (item.content, item.output):
            if memoryview(value)[0] == _LIST:
                _check_parts(_PARTS.decode(value))


def check_inputs(raw: msgspec.Raw) -> None:
    """Refuse addresses in what is to be read, where that may be text, token ids, or objects with content."""
    content = bytes(raw)
    if content[:1] in (b"[", b"{") and b"{" in content:
        _check_parts(msgspec.json.decode(b"[%b]" % content))


def _check_parts(parts: list[object]) -> None:
    """Look at each part, and at those that are inside of a tool's result."""
    left = [parts]
    while left:
        for part in left.pop():
            if isinstance(part, list):
                left.append(part)
            elif isinstance(part, dict):
                for name, value in part.items():
                    if name.endswith("_url") or name in _HOLDERS:
                        _check_holder(name, value)
                    elif isinstance(value, list) and name in {"content", "output"}:
                        left.append(value)


def _check_holder(name: str, value: object) -> None:
    for address in _addresses(value):
        if address is not None and not isinstance(address, str):
            _refuse(name)
        if address and address[:5].lower() != "data:" and _FETCHED.match(address):
            _refuse(name)


def _addresses(value: object) -> Iterator[object]:
    if not isinstance(value, dict):
        yield value
        return
    yield value.get("url")
    if value.get("type") != "text":  # of a document, which is its own text
        yield value.get("data")


def _refuse(name: str) -> NoReturn:
    raise RequestError(
        f"{name[:64]} must be a data: URL or base64.",
        remedy="Send the bytes in the request; relayd fetches nothing for clients.",
    )

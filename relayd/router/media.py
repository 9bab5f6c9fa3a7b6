"""Would a server fetch something for a conversation: a file of its own, or an address it can reach?"""

import re
from collections.abc import Iterator, Sequence
from typing import Annotated, NoReturn

import msgspec
from msgspec import Meta

from relayd.errors import RequestError
from relayd.router.structure import count_items
from relayd.units import KIB

MOST_MESSAGES = 10_000
"""Messages of one conversation; 0.6 µs each to look at."""

_HOLDERS = frozenset({"input_audio", "input_video", "source"})
"""Members of a content part that hold an address or the bytes themselves, besides all that end in `_url`."""

_LISTS = frozenset({"content", "messages", "output"})
"""Members that hold further parts."""

_FETCHED = re.compile(r"http|[a-z][a-z0-9+.-]*:", re.IGNORECASE)
"""What llama-server fetches, or could some day: any other text it reads as base64 (`handle_media`)."""


MISSING = msgspec.Raw(b"")
"""Stands for a member that a message, or a body, does not have."""


class ChatMessage(msgspec.Struct, gc=False):
    """What a template writes of a message, as its client wrote it; empty where it has no such member."""

    role: msgspec.Raw = MISSING
    content: msgspec.Raw = MISSING
    reasoning_content: msgspec.Raw = MISSING
    tool_calls: msgspec.Raw = MISSING
    tool_call_id: msgspec.Raw = MISSING
    name: msgspec.Raw = MISSING


class _InputItem(msgspec.Struct, gc=False):
    content: msgspec.Raw = msgspec.Raw(b"null")
    output: msgspec.Raw = msgspec.Raw(b"null")


_MESSAGES = msgspec.json.Decoder(Annotated[list[ChatMessage], Meta(max_length=MOST_MESSAGES)] | None)
_INPUTS = msgspec.json.Decoder(Annotated[list[_InputItem], Meta(max_length=MOST_MESSAGES)] | str | None)
_IMAGES = msgspec.json.Decoder(Annotated[list[msgspec.Raw], Meta(max_length=1_000)] | None)
_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LIST, _OBJECT, _QUOTE = map(ord, '[{"')

_WHOLE = 32 * KIB
"""Bytes that are decoded at once, in 1 to 2 ms; a decoder holds the interpreter's lock, in a thread too."""

_MOST_PARTS = 10_000
"""Parts of one message's content, or items of a prompt that are looked at one by one."""

_BEGINNING = re.compile(rb'"(?:[^"\\]|\\u[0-9a-fA-F]{4}|\\[^u]){0,40}')


def check_conversation(raw: msgspec.Raw) -> Sequence[ChatMessage]:
    """Return messages, and refuse addresses in their content parts.

    Raises:
        RequestError: A part names an address.
        msgspec.ValidationError: It is not a list of objects.
    """
    messages = _MESSAGES.decode(raw) or ()
    for message in messages:
        content = message.content
        if content is not MISSING and memoryview(content)[0] == _LIST:
            _check_content(content)
    return messages


def check_items(raw: msgspec.Raw) -> None:
    """Refuse addresses in the input of a response: a string, or a list of items; raises likewise."""
    items = _INPUTS.decode(raw)
    for item in items if isinstance(items, list) else ():
        for value in (item.content, item.output):
            if memoryview(value)[0] == _LIST:
                _check_content(value)


def check_inputs(raw: msgspec.Raw) -> None:
    """Refuse addresses in what is to be read, where that may be text, token ids, or objects with content."""
    content = bytes(raw)
    if content[:1] in (b"[", b"{") and b"{" in content:
        if len(content) > _WHOLE and count_items(content, _MOST_PARTS) <= _MOST_PARTS:
            _check_content(raw)
        else:
            _check_parts(msgspec.json.decode(b"[%b]" % content))


def check_images(raw: msgspec.Raw) -> None:
    """Refuse addresses in a list of images.

    Raises:
        RequestError: One of them is an address.
        msgspec.ValidationError: It is not a list.
    """
    for image in _IMAGES.decode(raw) or ():
        _check_holder("images", _opened(image))


def _check_content(content: msgspec.Raw) -> None:
    """Look at content piece by piece, so that the decoder is never at work for long."""
    left = [content]
    while left:
        value = left.pop()
        first = memoryview(value)[0]
        if first not in (_LIST, _OBJECT):
            continue
        if len(memoryview(value)) <= _WHOLE:
            _check_parts([msgspec.json.decode(value)])
        elif first == _LIST:
            if count_items(bytes(value), _MOST_PARTS) > _MOST_PARTS:
                raise RequestError(f"A message has more than {_MOST_PARTS:,} parts of content.")
            left += _ITEMS.decode(value)
        else:
            for name, member in _MEMBERS.decode(value).items():
                if name.endswith("_url") or name in _HOLDERS:
                    _check_holder(name, _opened(member))
                elif name in _LISTS and memoryview(member)[0] == _LIST:
                    left.append(member)


def _opened(raw: msgspec.Raw) -> object:
    """Return a holder as `_check_holder` takes it; of a long string only how it begins."""
    if len(memoryview(raw)) <= _WHOLE:
        return msgspec.json.decode(raw)
    if memoryview(raw)[0] == _OBJECT:
        members = _MEMBERS.decode(raw)
        return {name: _opened(members[name]) for name in ("url", "data", "type") if name in members}
    return _begun(bytes(memoryview(raw)[:512])) if memoryview(raw)[0] == _QUOTE else []


def _begun(text: bytes) -> str:
    """Return the first characters of a string; its end may be within one, or between the halves of one."""
    found = _BEGINNING.match(text)
    for cut in range(4):
        try:
            return str(msgspec.json.decode((found[0] if found else b'"')[: -cut or None] + b'"'))
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
    return ""


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
                    elif isinstance(value, list) and name in _LISTS:
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

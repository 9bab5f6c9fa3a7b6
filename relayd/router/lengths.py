"""How much text must fit into one slot's context, at least, of what a body asks?

A text of many times the context takes the engine seconds and gigabytes before it refuses it.
"""

import re
from collections.abc import Callable, Mapping

import msgspec

from relayd.router.structure import count_items
from relayd.units import MIB

Members = Mapping[str, msgspec.Raw]
Measure = Callable[[Members], int]
"""Returns bytes of UTF-8 that one prompt has at least; 0 where that is not known."""


class _TextPart(msgspec.Struct, gc=False):
    text: msgspec.Raw = msgspec.Raw()


class _SaidMessage(msgspec.Struct, gc=False):
    content: msgspec.Raw = msgspec.Raw()


_MESSAGES = msgspec.json.Decoder(list[_SaidMessage])
_PARTS = msgspec.json.Decoder(list[_TextPart])
_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])
_TOKEN_IDS = re.compile(rb"\[\s*[-0-9]")
_MOST_PROMPTS = 2_048
"""Prompts of one body that are looked at; a list of more is refused, or one of token ids."""

_QUOTE, _LIST = ord('"'), ord("[")


def of_prompts(*names: str) -> Measure:
    """Measure the longest of several prompts, each of which has a context of its own."""

    def measure(members: Members) -> int:
        raw = next((members[name] for name in names if name in members), msgspec.Raw())
        if _begins(raw, _LIST):
            text = bytes(raw)
            if _TOKEN_IDS.match(text) or count_items(text, _MOST_PROMPTS) > _MOST_PROMPTS:
                return 0
            return max(map(_text_bytes, _ITEMS.decode(raw)), default=0)
        return _text_bytes(raw)

    return measure


def of_conversation(messages: str, *beside: str) -> Measure:
    """Measure the texts of all messages, and of what comes before them; media and tools do not count."""

    def measure(members: Members) -> int:
        conversation = members.get(messages, msgspec.Raw())
        before = sum(_content_bytes(members[name]) for name in beside if name in members)
        if not _begins(conversation, _LIST):
            return before + _text_bytes(conversation)
        try:
            return before + sum(_content_bytes(one.content) for one in _MESSAGES.decode(conversation))
        except msgspec.ValidationError:
            return 0

    return measure


def nothing(_members: Members) -> int:
    """Measure nothing: the engine shortens such a prompt itself, or makes none of it."""
    return 0


def _content_bytes(content: msgspec.Raw) -> int:
    if not _begins(content, _LIST):
        return _text_bytes(content)
    try:
        return sum(_text_bytes(part.text) for part in _PARTS.decode(content))
    except msgspec.ValidationError:
        return 0


def _text_bytes(raw: msgspec.Raw) -> int:
    """Return the least UTF-8 bytes of a JSON string: an escape of six characters may be one byte."""
    if not _begins(raw, _QUOTE):
        return 0
    view = memoryview(raw)
    total = len(view) - 2
    for start in range(0, len(view), MIB):
        piece = bytes(view[start : start + MIB])
        if escapes := piece.count(b"\\"):
            total -= escapes + 4 * piece.count(b"\\u")
    return max(0, total)


def _begins(raw: msgspec.Raw, first: int) -> bool:
    view = memoryview(raw)
    return len(view) > 0 and view[0] == first

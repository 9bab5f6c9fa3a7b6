"""Which fingerprints does a prompt have, as it is sent to a replica (prefix chain)?

A chain stands for what the engine reads: the arguments of its template, the tools, and all messages in their
order, or a plain prompt. Sampling is not in it. It is made of the bytes that are sent, after everything that
changes them, in blocks and to the end of every message, each fingerprint over the one before it; so two
bodies share as many fingerprints as they begin alike, however their JSON is spaced or their members are
ordered. A block has 512 bytes, or a quarter of what comes before it, as a power of two: 32 KiB are 22 blocks.
The low bits of each say how many bytes it stands for (`scheduler.prefixes`).

Fingerprints are Python's own hashes (SipHash with a key of this process), which no client can aim at; another
daemon's mean nothing here.
"""

from collections.abc import Mapping, Sequence

import msgspec

from relayd.router.media import MISSING, ChatMessage
from relayd.scheduler.prefixes import COVERED

BLOCK_BYTES = 512
"""The smallest block."""

_GROWING_BYTES = 4 * BLOCK_BYTES
"""How much of a prompt has blocks of that size."""

_MOST_BYTES = 2**20
"""Bytes of a prompt that are fingerprinted, from its beginning: what differs later is not told apart."""

_LONGEST_NAME = 130
"""Bytes of a session's name, its quotes included."""

_FRAME_BYTES = 16
"""What the template's own words and the frame of a message in JSON count for."""

_KEEP = ~COVERED & (1 << 63) - 1
"""Bits of a hash that are kept: a signed number of 64 bits crosses a hand-over in JSON."""


class _SentPrompt(msgspec.Struct, gc=False):
    """What of a body decides its prompt, and what names its conversation."""

    messages: Sequence[ChatMessage] = []
    chat_template_kwargs: msgspec.Raw = MISSING
    reasoning_effort: msgspec.Raw = MISSING
    thinking: msgspec.Raw = MISSING
    tools: msgspec.Raw = MISSING
    system: msgspec.Raw = MISSING
    input_extra: msgspec.Raw = MISSING
    input_prefix: msgspec.Raw = MISSING
    prompt: msgspec.Raw = MISSING
    prompt_cache_key: msgspec.Raw = MISSING
    user: msgspec.Raw = MISSING


_SENT = msgspec.json.Decoder(_SentPrompt)
_OTHERS = frozenset(_SentPrompt.__struct_fields__) - {"messages"}
"""Members besides the messages that decide the prompt, or name its conversation; most bodies have none."""


class Fingerprint(msgspec.Struct, frozen=True, gc=False):
    """What the choice of a replica is given of a body.

    Attributes:
        chain: Its fingerprints, the first block first; empty where the body has no prompt.
        session: The client's name for the conversation (`prompt_cache_key`, `user`); empty without one.
    """

    chain: tuple[int, ...]
    session: str = ""


NO_FINGERPRINT = Fingerprint(())

_NO_HEAD = _NO_OTHERS = (MISSING, MISSING, MISSING, MISSING)


def fingerprint(body: bytes) -> Fingerprint:
    """Return the fingerprints of a body that a replica gets."""
    try:
        return _fingerprint_of(_SENT.decode(body))
    except (msgspec.DecodeError, msgspec.ValidationError):  # the engine's own validation judges it
        return NO_FINGERPRINT


def fingerprint_of(members: Mapping[str, msgspec.Raw], messages: Sequence[ChatMessage]) -> Fingerprint:
    """Return the same for a body that was decoded already.

    Args:
        members: Of the body, as a replica gets them.
        messages: Its messages.
    """
    if _OTHERS.isdisjoint(members):
        chain: list[int] = []
        _add_messages(chain, 0, messages)
        return Fingerprint(tuple(chain))
    others = {name: members[name] for name in _OTHERS if name in members}
    return _fingerprint_of(_SentPrompt(messages, **others))


def _fingerprint_of(sent: _SentPrompt) -> Fingerprint:
    chain: list[int] = []
    head = (sent.chat_template_kwargs, sent.reasoning_effort, sent.thinking, sent.tools)
    before = _add(chain, 0, b"", b"\0".join(head)) if head != _NO_HEAD else 0
    if sent.system is not MISSING:
        before = _add(chain, before, b'"system"', bytes(sent.system))
    before = _add_messages(chain, before, sent.messages)
    for part in (sent.input_extra, sent.input_prefix, sent.prompt):
        if part is not MISSING:
            before = _add(chain, before, b"", bytes(part))
    return Fingerprint(tuple(chain), _named(sent.prompt_cache_key) or _named(sent.user))


def _add_messages(chain: list[int], before: int, messages: Sequence[ChatMessage]) -> int:
    """Add messages, and return the last fingerprint."""
    for message in messages:
        text = bytes(message.content)
        others = (message.tool_calls, message.tool_call_id, message.reasoning_content, message.name)
        if others != _NO_OTHERS:
            text = b"\0".join((text, *others))
        before = _add(chain, before, bytes(message.role), text)
    return before


def _named(part: msgspec.Raw) -> str:
    """Return a short string; empty for anything else."""
    text = bytes(part)
    if not 2 < len(text) <= _LONGEST_NAME or not text.startswith(b'"'):
        return ""
    return text[1:-1].decode("ascii", "replace")


def _add(chain: list[int], before: int, role: bytes, text: bytes) -> int:
    """Add the blocks of a part of the prompt, and return the last fingerprint."""
    covered, length = before & COVERED, len(text)
    if length <= BLOCK_BYTES:
        before = (hash((before, role, text)) & _KEEP) | (covered + length + _FRAME_BYTES)
        chain.append(before)
        return before
    covered += _FRAME_BYTES
    at, end = 0, min(length, _MOST_BYTES - covered)
    while at < end:
        size = BLOCK_BYTES if covered < _GROWING_BYTES else 1 << (covered.bit_length() - 3)
        block = text[at : at + size]  # a copy: the hash of a view is made of the whole text besides its own
        at += size
        covered += len(block)
        before = (hash((before, role, block)) & _KEEP) | covered
        chain.append(before)
    return before

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

import msgspec

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

_MISSING = msgspec.Raw(b"")
"""Stands for a member that a body does not have."""


class _PromptMessage(msgspec.Struct, gc=False):
    """What a template writes of a message."""

    role: str = ""
    content: msgspec.Raw = _MISSING
    reasoning_content: msgspec.Raw = _MISSING
    tool_calls: msgspec.Raw = _MISSING
    tool_call_id: msgspec.Raw = _MISSING
    name: msgspec.Raw = _MISSING


class _SentPrompt(msgspec.Struct, gc=False):
    """What of a body decides its prompt, and what names its conversation."""

    messages: list[_PromptMessage] = []
    chat_template_kwargs: msgspec.Raw = _MISSING
    reasoning_effort: msgspec.Raw = _MISSING
    thinking: msgspec.Raw = _MISSING
    tools: msgspec.Raw = _MISSING
    system: msgspec.Raw = _MISSING
    input_extra: msgspec.Raw = _MISSING
    input_prefix: msgspec.Raw = _MISSING
    prompt: msgspec.Raw = _MISSING
    prompt_cache_key: msgspec.Raw = _MISSING
    user: msgspec.Raw = _MISSING


_SENT = msgspec.json.Decoder(_SentPrompt)


class Fingerprint(msgspec.Struct, frozen=True, gc=False):
    """What the choice of a replica is given of a body.

    Attributes:
        chain: Its fingerprints, the first block first; empty where the body has no prompt.
        session: The client's name for the conversation (`prompt_cache_key`, `user`); empty without one.
    """

    chain: tuple[int, ...]
    session: str = ""


NO_FINGERPRINT = Fingerprint(())

_NO_HEAD = _NO_OTHERS = (_MISSING, _MISSING, _MISSING, _MISSING)


def fingerprint(body: bytes) -> Fingerprint:
    """Return the fingerprints of a body that a replica gets."""
    try:
        sent = _SENT.decode(body)
    except (msgspec.DecodeError, msgspec.ValidationError):  # the engine's own validation judges it
        return NO_FINGERPRINT
    chain: list[int] = []
    head = (sent.chat_template_kwargs, sent.reasoning_effort, sent.thinking, sent.tools)
    before = _add(chain, 0, "", b"\0".join(head)) if head != _NO_HEAD else 0
    if sent.system is not _MISSING:
        before = _add(chain, before, "system", bytes(sent.system))
    for message in sent.messages:
        text = bytes(message.content)
        others = (message.tool_calls, message.tool_call_id, message.reasoning_content, message.name)
        if others != _NO_OTHERS:
            text = b"\0".join((text, *others))
        before = _add(chain, before, message.role, text)
    for part in (sent.input_extra, sent.input_prefix, sent.prompt):
        if part is not _MISSING:
            before = _add(chain, before, "", bytes(part))
    return Fingerprint(tuple(chain), _named(sent.prompt_cache_key) or _named(sent.user))


def _named(part: msgspec.Raw) -> str:
    """Return a short string; empty for anything else."""
    text = bytes(part)
    if not 2 < len(text) <= _LONGEST_NAME or not text.startswith(b'"'):
        return ""
    return text[1:-1].decode("ascii", "replace")


def _add(chain: list[int], before: int, role: str, text: bytes) -> int:
    """Add the blocks of a part of the prompt, and return the last fingerprint."""
    covered, length = before & COVERED, len(text)
    if length <= BLOCK_BYTES:
        before = (hash((before, role, text)) & _KEEP) | (covered + length + _FRAME_BYTES)
        chain.append(before)
        return before
    covered += _FRAME_BYTES
    view = memoryview(text)
    at, end = 0, min(length, _MOST_BYTES - covered)
    while at < end:
        size = BLOCK_BYTES if covered < _GROWING_BYTES else 1 << (covered.bit_length() - 3)
        block = view[at : at + size]
        at += size
        covered += len(block)
        before = (hash((before, role, block)) & _KEEP) | covered
        chain.append(before)
    return before

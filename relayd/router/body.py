"""What does relayd need to know of a request's body, and what of it may not reach a replica?

One pass reads the top-level members; their values stay bytes. A member that is taken out leaves
every other member as the client wrote it.
"""

import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import cast

import msgspec

from relayd.errors import RequestError
from relayd.router.media import ChatMessage
from relayd.router.members import DROP, BodyRules, Unlisted, explain
from relayd.router.structure import (
    MOST_DEPTH,
    MOST_MEMBERS,
    Structure,
    check_members,
    check_utf8,
    count_items,
    refuse_members,
)
from relayd.units import KIB

_MARK = b"\xef\xbb\xbf"
"""A byte order mark: the engine skips it, and Windows editors write it."""

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])
_KEY = re.compile(rb'\s*"[^"\\]*(?:\\.[^"\\]*)*"\s*:\s*', re.DOTALL)
_SEPARATOR = re.compile(rb"\s*([,}])")
_TOKEN_IDS = re.compile(rb"\[\s*[-0-9]")
_QUICK_CONSTRAINT = 4 * KIB
"""Bytes of a schema or of tools that are judged at once, in 1 ms or less a KiB."""

_QUICK_GRAMMAR = 16
"""Bytes of a grammar that are judged at once: 40 of them can take 0.1 s to follow."""

_LONG = 64 * KIB
"""Bytes of which a decoder takes 1 to 8 ms, if they are nothing but structure."""

_SHORT_LIST = 16 * KIB
"""Bytes of a list whose items are counted by a decoder: 4,000 of them at most."""

_NUMBER = frozenset(b"-0123456789")
_NOTHING: frozenset[str] = frozenset()


class Peek(msgspec.Struct, frozen=True):
    """What routing needs to know of a body.

    Attributes:
        model: The name the client asks for, if it gives one.
        stream: The client wants events.
        width: Slots the request takes at the same time in a replica.
        body: What a replica gets.
        dropped: Members that were taken out of it.
        text_bytes: Bytes of text that one slot must hold, at least; 0 for a body of less than 64 KiB.
        messages: Of its conversation, values still bytes; empty where it has none.
    """

    model: str | None
    stream: bool
    width: int
    body: bytes
    dropped: frozenset[str] = _NOTHING
    text_bytes: int = 0
    messages: Sequence[ChatMessage] = ()


class OpenedBody(msgspec.Struct, frozen=True):
    """A body that is a valid JSON object, its members not yet judged.

    Attributes:
        raw: As it came, without a byte order mark.
        members: Its members; their values are still bytes.
        came: What it was before something was changed in it for the engine; None where nothing was.
    """

    raw: bytes
    members: Mapping[str, msgspec.Raw]
    came: "OpenedBody | None" = None

    def without(self, names: AbstractSet[str]) -> bytes:
        """Return the body without some members; every other one is there byte for byte."""
        written = _as_written(self.raw, self.members)
        return b"{%b}" % b",".join(text for name, text in written.items() if name not in names)

    def left(self, dropped: AbstractSet[str]) -> "OpenedBody":
        """Return it without some members, where its bytes are not looked at any more."""
        return OpenedBody(self.raw, {name: raw for name, raw in self.members.items() if name not in dropped})

    def takes_long(self, rules: BodyRules) -> bool:
        """Return whether judging it takes milliseconds, so that it belongs into a thread."""
        members = self.members
        return not rules.constrained.isdisjoint(members) and any(
            len(memoryview(members[name])) > (_QUICK_GRAMMAR if name == "grammar" else _QUICK_CONSTRAINT)
            for name in rules.constraints
            if name in members
        )


def open_body(raw: bytes) -> OpenedBody:
    """Read the members of a JSON body: 5 µs for a short one, about 1 ms a MB, so large ones need a thread.

    Raises:
        RequestError: It is not a JSON object, is nested too deeply, or names a member twice.
    """
    raw = raw.removeprefix(_MARK)
    members = _parse(raw)
    if len(members) > MOST_MEMBERS:
        refuse_members()
    # As long as its members without any space, so that none comes twice; every other body is walked through.
    if len(raw) != 1 + 4 * len(members) + sum(map(len, members)) + sum(map(len, members.values())):
        _as_written(raw, members)
    return OpenedBody(raw, members)


def judge(body: OpenedBody, rules: BodyRules, unlisted: Unlisted = DROP) -> Peek:
    """Return what routing needs to know, and what a server gets.

    Args:
        body: What the client sent.
        rules: What the server that gets it accepts.
        unlisted: What becomes of all other members.

    Raises:
        RequestError: It asks for what no client may have.
    """
    members, raw = body.members, body.raw
    values, others = _read(members, rules)
    dropped = unlisted.dropped(others, rules) if others else _NOTHING
    value = values.get
    model, stream, width = value("model"), value("stream"), 1
    if "n" in values or "n_cmpl" in values:
        choices = value("n") or value("n_cmpl") or 1
        width = int(choices if isinstance(choices, int | float) else 1)
    if rules.prompts:
        width *= _width(members, rules)
    return Peek(  # by position, as a name for each costs as much as the value
        model if isinstance(model, str) else None,
        stream is True or (stream is None and rules.streams),
        width,
        body.without(dropped) if dropped else raw,
        dropped,
        rules.length(members) if len(raw) > _LONG else 0,
        cast("Sequence[ChatMessage]", value("messages", ())),
    )


def peek(raw: bytes, rules: BodyRules, unlisted: Unlisted = DROP) -> Peek:
    """Open and judge a body at once; raises what both raise."""
    return judge(open_body(raw), rules, unlisted)


def _read(members: Mapping[str, msgspec.Raw], rules: BodyRules) -> tuple[dict[str, object], list[str]]:
    """Return the values of the members that pass, and the names of those that are not listed."""
    checks, values, others = rules.checks, {}, []
    name, value = "", msgspec.Raw()
    try:
        for name, value in members.items():
            if name in checks:
                values[name] = checks[name](value)
            else:
                others.append(name)
    except msgspec.DecodeError as error:
        raise explain(name, value, rules.members[name]) from error
    except RequestError as error:
        error.param = error.param or name
        raise
    return values, others


def _parse(raw: bytes) -> dict[str, msgspec.Raw]:
    if len(raw) > _LONG or _brackets(raw) > MOST_DEPTH:
        structure = Structure()
        structure.feed(raw)
        if len(raw) > _LONG:
            check_members(raw, structure)
    try:
        if not raw.isascii():
            check_utf8(raw)
        return _MEMBERS.decode(raw)
    except msgspec.ValidationError as error:
        raise RequestError("The body is not a JSON object.") from error
    except msgspec.DecodeError as error:
        raise RequestError(f"The body is not valid JSON: {error}.") from error
    except UnicodeDecodeError as error:
        raise RequestError(f"The body is not UTF-8 (byte {error.start}).") from error


def _brackets(raw: bytes) -> int:
    """Return how many brackets are opened; `replace` finds them in 1 µs where `count` reads 32 KiB in 11."""
    return 2 * len(raw) - len(raw.replace(b"[", b"")) - len(raw.replace(b"{", b""))


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


def _width(members: Mapping[str, msgspec.Raw], rules: BodyRules) -> int:
    """Return how many prompts, inputs or documents the body asks for."""
    for name in rules.prompts:
        if name in members:
            count = _count(bytes(members[name]), rules.most_prompts)
            if count > rules.most_prompts:
                raise RequestError(
                    f"{name} has more than {rules.most_prompts:,} items, which is the most.", param=name
                )
            return count
    return 1


def _count(prompts: bytes, most: int) -> int:
    """Count as the engine does: a list with numbers in it is one prompt, of token ids."""
    if not prompts.startswith(b"[") or _TOKEN_IDS.match(prompts):
        return 1
    if len(prompts) > _SHORT_LIST and (count := count_items(prompts, most)) > most:
        return count
    items = _ITEMS.decode(prompts)
    if any(memoryview(item)[0] in _NUMBER for item in items):
        return 1
    return max(1, len(items))

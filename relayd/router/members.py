"""Which members of a body may reach a server, and of which type and size (allow-list)?

A table is a value of the kind of server that gets the body; `router/llamaserver` holds the first one.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from relayd.errors import RequestError, ThreadUnsupportedError
from relayd.router.lengths import Measure, nothing
from relayd.router.structure import count_items
from relayd.units import KIB

Check = Callable[[msgspec.Raw], object]
"""Returns the value of a member; raises msgspec.ValidationError or RequestError when it is not accepted."""

_EVERYWHERE = frozenset({
    "documents", "input", "messages", "model", "n", "n_cmpl", "prompt", "stream", "system", "texts",
})  # fmt: skip
"""Members that say what is asked, of how much, and with which files: a range is every server's own matter."""

_PLAIN = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_MOST_NAMED = 16
_FLAG: Mapping[str, object] = {"type": "boolean"}
_KINDS = {ord('"'): "string", ord("["): "array", ord("{"): "object"}
"""What a JSON value is that begins with a byte."""
_LONGEST_NUMBER = 24

_LONG = 64 * KIB
"""Bytes of a value that is counted before it is decoded: 300,000 strings take a decoder 0.15 s at once."""

_MOST_COUNTED = 10_000


@dataclass(frozen=True, slots=True)
class MemberRule:
    """What one member of a body may be.

    Attributes:
        wants: What is accepted, in words that complete "it must be".
        check: Reads and judges a value.
        remedy: What to do instead of sending it at all, where nothing is accepted.
        schema: What a JSON schema can express of it.
    """

    wants: str
    check: Check
    remedy: str = ""
    schema: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BodyRules:
    """What the body of one path of a server may hold.

    Attributes:
        members: The members that pass.
        internal: Members that the server's own code sets; from a client they never pass, whatever the
            configuration allows besides.
        prompts: Members that hold what is asked, each able to hold several; the first one present counts.
        most_prompts: How many prompts, inputs or documents one body may hold.
        constraints: Members whose check takes time in proportion to their size.
        length: Measures the text that one slot must hold.
        streams: A body that does not state it asks for a stream.
    """

    members: Mapping[str, MemberRule]
    internal: frozenset[str] = frozenset()
    prompts: tuple[str, ...] = ()
    most_prompts: int = 1
    constraints: tuple[str, ...] = (
        "grammar", "json_schema", "output_config", "output_format", "response_format", "text", "tools",
    )  # fmt: skip
    length: Measure = nothing
    streams: bool = False
    checks: Mapping[str, Check] = field(init=False, repr=False, compare=False)
    constrained: frozenset[str] = field(init=False, repr=False, compare=False)

    def elsewhere(self) -> "BodyRules":
        """Return what holds for servers that relayd did not start: how much is asked for, and local files."""
        members = {name: rule for name, rule in self.members.items() if name in _EVERYWHERE}
        return replace(self, members=members, constraints=())

    def __post_init__(self) -> None:
        object.__setattr__(self, "checks", {name: member.check for name, member in self.members.items()})
        object.__setattr__(self, "constrained", frozenset(self.constraints))


@dataclass(frozen=True, slots=True)
class Unlisted:
    """What becomes of members that no table lists.

    Attributes:
        action: They are taken out of the body, or end the request.
        extra: Names that pass nevertheless: what a newer server accepts.
    """

    action: Literal["drop", "refuse"] = "drop"
    extra: frozenset[str] = frozenset()

    def dropped(self, names: Iterable[str], rules: BodyRules) -> frozenset[str]:
        """Return which of the members that are not listed are taken out.

        Raises:
            RequestError: One of them ends the request.
        """
        unknown = [name for name in names if name in rules.internal or name not in self.extra]
        if unknown and self.action == "refuse":
            raise RequestError(
                f"{', '.join(_named(unknown))} cannot be sent here.",
                remedy="Leave it out, or have an operator add it to server.extra_members.",
                param=unknown[0][:64],
            )
        return frozenset(unknown)


DROP = Unlisted()


def number(low: float, high: float) -> MemberRule:
    """Accept a number in a range; where the server counts, it truncates a fraction."""
    return _typed(f"a number from {_shown(low)} to {_shown(high)}", _ranged(low, high), _range(low, high))


def real() -> MemberRule:
    """Accept any number."""
    return _typed("a number", int | float, {"type": "number"})


def flag() -> MemberRule:
    """Accept true and false."""
    return _typed("true or false", bool, _FLAG)


def flag_or_number(low: float, high: float) -> MemberRule:
    """Accept a number in a range, or whether its default is meant."""
    wants = f"true, false or a number from {_shown(low)} to {_shown(high)}"
    return _typed(wants, bool | _ranged(low, high), _FLAG, _range(low, high))


def text(longest: int) -> MemberRule:
    """Accept a string of at most `longest` characters."""
    return _typed(f"a string of at most {longest:,} characters", _string(longest), _of_length(longest))


def texts(most: int, longest: int) -> MemberRule:
    """Accept a string or a list of strings."""
    strings = _listed(_string(longest), most)
    return _counted(
        f"a string of at most {longest:,} characters, or a list of at most {most:,} of them",
        _string(longest) | strings,
        most,
        _of_length(longest),
        {"type": "array", "items": _of_length(longest), "maxItems": most},
    )


def flag_or_text(longest: int) -> MemberRule:
    """Accept true, false, or a string."""
    wants = f"true, false or a string of at most {longest:,} characters"
    return _typed(wants, bool | _string(longest), _FLAG, _of_length(longest))


def biases(most: int, longest: int) -> MemberRule:
    """Accept a bias for each of several tokens, as pairs or as an object (`logit_bias`)."""
    token, bias = _string(longest) | int, int | float | bool | str
    pairs = _listed(_pair(token, bias), most)
    named = _named_values(_string(longest), bias, most)
    wants = f"an object, or a list of [token, bias] pairs, of at most {most:,}, each a number or false"
    return _counted(wants, pairs | named, most, {"type": "array"}, {"type": "object"})


def anything(most_bytes: int) -> MemberRule:
    """Accept any value that is not large: what a server ignores, or its template reads."""

    def check(raw: msgspec.Raw) -> msgspec.Raw:
        if len(memoryview(raw)) > most_bytes:
            raise msgspec.ValidationError
        return raw

    return MemberRule(f"at most {most_bytes:,} bytes of JSON", check)


def shaped(first: bytes, wants: str) -> MemberRule:
    """Accept what begins with one of these bytes, whatever its size; null too."""
    allowed = frozenset(first + b"n")

    def check(raw: msgspec.Raw) -> msgspec.Raw:
        if memoryview(raw)[0] not in allowed:
            raise msgspec.ValidationError
        return raw

    kinds = [_KINDS[byte] for byte in first]
    return MemberRule(wants, check, schema={"type": [*kinds, "null"]})


def refused(remedy: str, *, unless: bytes = b"null") -> MemberRule:
    """Accept nothing but null and what means the same."""
    nothing = {b"null", b"[]", b"{}", unless}

    def check(raw: msgspec.Raw) -> None:
        if len(memoryview(raw)) > 64 or bytes(raw).translate(None, b" \t\r\n") not in nothing:
            raise msgspec.ValidationError

    return MemberRule("null, or left out", check, remedy, {"type": "null"})


def check_thread(raw: msgspec.Raw) -> None:
    """Refuse a conversation that the server should remember.

    Raises:
        ThreadUnsupportedError: The client asks for that.
    """
    if bytes(raw) != b"null":
        raise ThreadUnsupportedError(
            "Message threads are not kept here.", remedy="Send the whole conversation with each request."
        )


def explain(name: str, raw: msgspec.Raw, member: MemberRule) -> RequestError:
    """Return the error of a value that is not accepted; it shows no text of the client's."""
    if member.remedy:
        return RequestError(f"{name} is not accepted.", remedy=member.remedy, param=name)
    return RequestError(f"{name} is {given(bytes(raw))}; it must be {member.wants}.", param=name)


def given(raw: bytes) -> str:
    """Return what a JSON value is, in a few words."""
    match raw[:1]:
        case b'"':
            return f"a string of {len(msgspec.json.decode(raw, type=str)):,} characters"
        case b"[":
            return f"a list of {_how_many(raw)} items"
        case b"{":
            return f"an object of {_how_many(raw)} members"
        case _ if len(raw) > _LONGEST_NUMBER:
            return f"a number of {len(raw)} characters"
        case _:
            return raw.decode()


def _how_many(raw: bytes) -> str:
    """Count items or members; a decoder of a long value would hold up every other request."""
    if len(raw) > _LONG:
        count = count_items(raw, _MOST_COUNTED)
        return f"more than {_MOST_COUNTED:,}" if count > _MOST_COUNTED else f"{count:,}"
    kind: Any = list[msgspec.Raw] if raw.startswith(b"[") else dict[str, msgspec.Raw]
    return f"{len(msgspec.json.decode(raw, type=kind)):,}"


def changed(dropped: Iterable[str]) -> str:
    """Return the value of `X-Relayd-Changed`: what the door took out of a body."""
    return f"dropped: {', '.join(_named(sorted(dropped)))}"


def _named(names: Iterable[str]) -> list[str]:
    """Return names that a header or a message can show, and how many more there are."""
    every = list(names)
    shown = [name for name in every if _PLAIN.fullmatch(name)][:_MOST_NAMED]
    rest = len(every) - len(shown)
    return [*shown, f"{rest} more" if shown else f"{rest} unknown members"] if rest else shown


def _typed(wants: str, kind: Any, *schemas: Mapping[str, object]) -> MemberRule:
    """Accept what msgspec decodes as `kind`, and null."""
    schema = {"anyOf": [*schemas, {"type": "null"}]}
    return MemberRule(wants, msgspec.json.Decoder(kind | None).decode, schema=schema)


def _counted(wants: str, kind: Any, most: int, *schemas: Mapping[str, object]) -> MemberRule:
    """Accept what msgspec decodes as `kind`, and null; a long list is counted first."""
    decode = msgspec.json.Decoder(kind | None).decode

    def check(raw: msgspec.Raw) -> object:
        if len(memoryview(raw)) > _LONG and count_items(bytes(raw), most) > most:
            raise msgspec.ValidationError
        return decode(raw)

    return MemberRule(wants, check, schema={"anyOf": [*schemas, {"type": "null"}]})


def _range(low: float, high: float) -> Mapping[str, object]:
    return {"type": "number", "minimum": low, "maximum": high}


def _of_length(longest: int) -> Mapping[str, object]:
    return {"type": "string", "maxLength": longest}


def _ranged(low: float, high: float) -> Any:
    return Annotated[int, Meta(ge=low, le=high)] | Annotated[float, Meta(ge=low, le=high)]


def _string(longest: int) -> Any:
    return Annotated[str, Meta(max_length=longest)]


def _listed(kind: Any, most: int) -> Any:
    return Annotated[list[kind], Meta(max_length=most)]


def _pair(one: Any, other: Any) -> Any:
    return tuple[one, other]


def _named_values(name: Any, value: Any, most: int) -> Any:
    return Annotated[dict[name, value], Meta(max_length=most)]


def _shown(number: float) -> str:
    return f"{number:,}"

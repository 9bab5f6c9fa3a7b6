"""How is the schema of a tool simplified that the engine cannot hold, as far as it has to be (looser)?

One `$ref` that leads nowhere fails a request on 59 of upstream's 71 templates, and so do a type of another
language, an empty `enum` or a fraction as a length (`common/json-schema.cpp`, b11434); servers of
tools (MCP) send them all. Each is taken out where it stands; what costs the engine too much loses its
patterns and lengths first, then its depth. A schema that can be held stays as it came, byte for byte.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache, partial
from typing import Any

import msgspec

from relayd.router.schema import LONGEST_PATTERN, LONGEST_REFERENCE, fault
from relayd.router.shapes import resolve
from relayd.units import KIB

_KEPT_BYTES = 256 * KIB
_KEPT = 32
"""Agents send the same tools with each request: what became of the last ones is kept, 8 MiB at most."""

_MOST_REPEATS = 2_000
_MOST_NAMED = 8
"""Tools that a header names."""

_TYPES = frozenset({"object", "array", "string", "integer", "number", "boolean", "null"})
_OTHER_TYPES = {
    "bool": "boolean", "dict": "object", "double": "number", "float": "number", "int": "integer",
    "list": "array", "long": "integer", "map": "object", "none": "null", "str": "string", "text": "string",
}  # fmt: skip
"""Types of other languages, and JSON's own."""

_COUNTS = (("minLength", "maxLength"), ("minItems", "maxItems"))
_COUNTED = frozenset(name for pair in _COUNTS for name in pair)
_LEFT_OUT = object()
_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
_BRANCHES = ("oneOf", "anyOf", "allOf")
_LISTS = (*_BRANCHES, "prefixItems")
_MAPS = ("properties", "$defs", "definitions")
_COSTLY = frozenset({
    "pattern", "format", "minLength", "maxLength", "minItems", "maxItems", *_BOUNDS,
})  # fmt: skip
"""What only narrows a value."""

_ONES = frozenset({"items", "additionalProperties"})

_BROKEN_PATTERN = (
    "missing ), unterminated subpattern", "unbalanced parenthesis", "unterminated character set",
    "nothing to repeat", "bad escape (end of pattern)",
)  # fmt: skip
"""What the engine calls invalid too; what it only cannot follow it leaves out by itself."""

_DEPTHS = (6, 4, 3, 2, 1)
_ANY_OBJECT: Mapping[str, object] = {"type": "object"}

Json = dict[str, Any]


class LooserTools:
    """Tools that were simplified.

    Attributes:
        raw: All tools of the request, as JSON.
        change: What the client should know.
    """

    __slots__ = ("change", "raw")

    def __init__(self, raw: msgspec.Raw, change: str) -> None:
        self.raw = raw
        self.change = change

    def __repr__(self) -> str:
        return f"<LooserTools {self.change}>"


def looser(tools: msgspec.Raw) -> LooserTools | None:
    """Return tools that the engine can hold; None where it holds them as they are."""
    text = bytes(tools)
    if not text.startswith(b"["):
        return None
    return _kept(text) if len(text) <= _KEPT_BYTES else _looser(text)


def bare(tools: msgspec.Raw) -> LooserTools | None:
    """Return tools with nothing in their schemas but names, types and descriptions; None where that is so."""
    return _changed_by(bytes(tools), lambda schema: _narrowed(schema, depth=3, typed=True))


def shapeless(tools: msgspec.Raw) -> LooserTools | None:
    """Return tools that take any object: for a template that cannot even write a list (Command R+)."""
    return _changed_by(bytes(tools), lambda _schema: dict(_ANY_OBJECT))


def _looser(text: bytes) -> LooserTools | None:
    return _changed_by(text, _of_parameters, whole=True)


_kept = lru_cache(_KEPT)(_looser)

Loosen = Callable[[object], object]


def _changed_by(text: bytes, loosen: Loosen, *, whole: bool = False) -> LooserTools | None:
    """Return tools whose schemas are changed; `whole` has all of them together cost no more than allowed."""
    tools = msgspec.json.decode(text)
    changed: dict[str, None] = {}
    for tool, holder, name in _holders(tools):
        before = holder[name]
        after = loosen(before)
        if after is not before:
            holder[name] = after
            changed[_name_of(tool)] = None
    if whole:
        for step in _steps():
            if not fault(*(holder[name] for _, holder, name in _holders(tools))):
                break
            for tool, holder, name in _holders(tools):
                holder[name] = step(holder[name])
                changed[_name_of(tool)] = None
    if not changed:
        return None
    names = [name for name in changed if name.isascii() and name.isprintable()][:_MOST_NAMED]
    more = f" and {len(changed) - len(names)} more" if len(changed) > len(names) else ""
    return LooserTools(
        msgspec.Raw(msgspec.json.encode(tools)), f"simplified: schemas of tools {', '.join(names)}{more}"
    )


def _holders(tools: object) -> Iterator[tuple[Json, Json, str]]:
    """Yield each tool, what its schema is in, and under which name; in any API's form."""
    left = [tools]
    while left:
        found = left.pop()
        for tool in found if isinstance(found, list) else ():
            if not isinstance(tool, dict):
                continue
            left.append(tool.get("tools"))
            for holder in (tool, tool.get("function")):
                if isinstance(holder, dict):
                    for name in ("parameters", "input_schema"):
                        if name in holder:
                            yield tool, holder, name


def _name_of(tool: Json) -> str:
    function = tool.get("function")
    name = tool.get("name") or (function.get("name") if isinstance(function, dict) else "")
    return name[:64] if isinstance(name, str) else ""


def _of_parameters(schema: object) -> object:
    """Return the schema of a tool's parameters that the engine can hold, by itself."""
    found = _held(schema, schema) if isinstance(schema, dict) else dict(_ANY_OBJECT)
    for step in _steps():
        if not fault(found):
            break
        found = step(found)
    return found


def _steps() -> Iterator[Loosen]:
    """Yield what simplifies a schema more and more."""
    yield lambda schema: _narrowed(schema, depth=64)
    for depth in _DEPTHS:
        yield partial(_narrowed, depth=depth)
    yield lambda _schema: dict(_ANY_OBJECT)


def _held(schema: object, root: object) -> object:
    """Return a schema without what the engine refuses; the same object where that is nothing."""
    if not isinstance(schema, dict):
        return {}
    fixed: Json = {}
    for name, value in schema.items():
        if (kept := _kept_value(name, value, root)) is not _LEFT_OUT:
            fixed[name] = kept
    _drop_empty_ranges(fixed)
    same = fixed.keys() == schema.keys() and all(fixed[name] is schema[name] for name in fixed)
    return schema if same else fixed


def _kept_value(name: str, value: object, root: object) -> object:
    """Return what the value of a keyword becomes; `_LEFT_OUT` where the keyword goes."""
    if name in _LISTS or name in _MAPS or name in _ONES:
        return _held_within(name, value, root)
    if (is_accepted := _ACCEPTED.get(name)) is not None:
        return value if is_accepted(value) else _LEFT_OUT
    if name == "type" or name in _COUNTED:
        found = _type(value) if name == "type" else _count(value)
        return _LEFT_OUT if found is None else found
    if name == "$ref":
        return value if _leads_somewhere(value, root) else _LEFT_OUT
    return value


def _held_within(name: str, value: object, root: object) -> object:
    """Return what holds further schemas, with those that the engine can hold."""
    if isinstance(value, list) and (name in _LISTS or name == "items"):
        return _same_list(value, [_held(one, root) for one in value]) if value else _LEFT_OUT
    if isinstance(value, dict) and name in _MAPS:
        return _same_map(value, {key: _held(one, root) for key, one in value.items()})
    if name == "items" or (name == "additionalProperties" and isinstance(value, dict)):
        return _held(value, root)
    return value if name == "additionalProperties" and isinstance(value, bool) else _LEFT_OUT


def _same_list(before: list[Any], after: list[Any]) -> list[Any]:
    return before if all(one is other for one, other in zip(before, after, strict=True)) else after


def _same_map(before: Json, after: Json) -> Json:
    return before if all(before[key] is one for key, one in after.items()) else after


def _leads_somewhere(reference: object, root: object) -> bool:
    if not isinstance(reference, str) or not reference.startswith("#/"):
        return False
    return len(reference) <= LONGEST_REFERENCE and isinstance(resolve(root, reference), dict)


def _type(value: object) -> object | None:
    if isinstance(value, str):
        folded = value.lower()
        return value if value in _TYPES else _OTHER_TYPES.get(folded, folded if folded in _TYPES else None)
    if isinstance(value, list):
        kinds = [kind for one in value if (kind := _type(one)) is not None]
        return value if kinds == value and kinds else kinds or None
    return None


def _count(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        return None
    if isinstance(value, int):
        return value if value <= _MOST_REPEATS else None
    return int(value) if value.is_integer() and value <= _MOST_REPEATS else None


def _is_read(pattern: str) -> bool:
    """Return whether the engine reads a pattern, or leaves it out by itself."""
    if len(pattern) > LONGEST_PATTERN:
        return False
    if len(pattern) < 2 or pattern[0] != "^" or pattern[-1] != "$":
        return True
    try:
        re.compile(pattern)
    except re.error as error:
        return not error.msg.startswith(_BROKEN_PATTERN)
    except (RecursionError, OverflowError):
        return False
    return True


_ACCEPTED: Mapping[str, Callable[[object], bool]] = {
    "enum": lambda value: isinstance(value, list) and bool(value),
    "format": lambda value: isinstance(value, str),
    "pattern": lambda value: isinstance(value, str) and _is_read(value),
    **{name: lambda value: isinstance(value, int | float) and value is not True for name in _BOUNDS},
}
"""Keywords of which the engine accepts some values only."""


def _drop_empty_ranges(schema: Json) -> None:
    for low, high in _COUNTS:
        if low in schema and high in schema and schema[low] > schema[high]:
            del schema[low], schema[high]


def _narrowed(schema: object, *, depth: int, typed: bool = False) -> object:
    """Return a schema of at most some levels, without what only narrows a value.

    Args:
        schema: What is simplified.
        depth: Levels that are kept; a deeper one may hold anything.
        typed: Whether every schema gets one type, and alternatives and references go.
    """
    if not isinstance(schema, dict):
        return {"type": "string"} if typed else {}
    if depth == 0:
        return {name: schema[name] for name in ("type", "description") if name in schema}
    found: Json = {}
    for name, value in schema.items():
        if name in _COSTLY:
            continue
        if name in _BRANCHES or name == "$ref" or name in ("$defs", "definitions"):
            if not typed and depth > 1:
                found[name] = _within(name, value, depth - 1)
        elif name == "properties" and isinstance(value, dict):
            found[name] = {key: _narrowed(one, depth=depth - 1, typed=typed) for key, one in value.items()}
        elif name in ("items", "additionalProperties", "prefixItems"):
            if isinstance(value, dict):
                found[name] = _narrowed(value, depth=depth - 1, typed=typed)
            elif isinstance(value, bool):
                found[name] = value
        else:
            found[name] = value
    if typed:
        _give_type(found)
    return found


def _within(name: str, value: object, depth: int) -> object:
    if name == "$ref":
        return value
    if isinstance(value, list):
        return [_narrowed(one, depth=depth) for one in value]
    if isinstance(value, dict):
        return {key: _narrowed(one, depth=depth) for key, one in value.items()}
    return value


def _give_type(schema: Json) -> None:
    """Give a schema one type: what templates read that write no other ones."""
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "string")
    if not isinstance(kind, str):
        kind = "object" if "properties" in schema else "array" if "items" in schema else "string"
    schema["type"] = kind

"""Do the ways to follow a JSON schema multiply with each value of an answer (ambiguous recursion)?

Two tuples that both begin with the schema itself have twice as many stacks in the engine after each bracket.
The grammar that llama-server makes of a schema (`json-schema-to-grammar.cpp`, b11434) is made here with one
character for each key, constant and kind of value, and followed as any grammar is.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import msgspec

from relayd.router.ambiguity import Symbol, multiplies

_MOST_CHOICES = 500
"""Nodes with alternatives from whose beginning answers are followed."""

_SYMBOLS = 600
"""How far: keys, values, commas and brackets."""

_STRINGS = (0x1000, 0x5FFFF)
_NUMBERS = (0x60000, 0x9FFFF)
_OTHERS = (0xA0000, 0xAFFFF)
"""Characters that stand for keys and constants; a value of any text or number accepts all of its kind."""

_ENCODE = msgspec.json.Encoder().encode


@dataclass(slots=True)
class OutlineSymbol:
    """One symbol of a sequence; see `ambiguity.Symbol`."""

    rule: int
    kind: str = ""
    text: str = ""
    optional: bool = False
    repeats: bool = False


Sequence = list[Symbol]


def _literal(text: str) -> OutlineSymbol:
    return OutlineSymbol(-1, "literal", text)


def _range(low: int, high: int) -> OutlineSymbol:
    return OutlineSymbol(-1, "set", f"\\U{low:08X}-\\U{high:08X}")


_COMMA, _BRACE, _END_BRACE, _BRACKET, _END_BRACKET = map(_literal, ",{}()")
_STRING, _NUMBER = _range(*_STRINGS), _range(*_NUMBERS)
_SIMPLE: Mapping[object, list[Sequence]] = {
    "string": [[_STRING]],
    "integer": [[_NUMBER]],
    "number": [[_NUMBER]],
    "boolean": [[_literal("t")], [_literal("f")]],
    "null": [[_literal("n")]],
}


class _Outline:
    """The rules of one schema, by number.

    Attributes:
        rules: Of each rule: its sequences.
        choices: The rules that can go on in several ways of the schema's own.
    """

    def __init__(self, root: object) -> None:
        self.rules: list[list[Sequence]] = []
        self.choices: list[int] = []
        self._root = root
        self._left: list[tuple[int, object]] = []
        self._targets: dict[str, int] = {}
        self._names: dict[bytes, str] = {}
        self._value = self._any_value()
        self.node(root)
        while self._left:
            number, schema = self._left.pop()
            self.rules[number] = self._sequences(number, schema)

    def __repr__(self) -> str:
        return f"<_Outline of {len(self.rules)} rules, {len(self.choices)} choices>"

    def node(self, schema: object) -> OutlineSymbol:
        """Return a reference to the rule of a schema, which is made later."""
        self._left.append((self._rule([]), schema))
        return OutlineSymbol(len(self.rules) - 1)

    def _rule(self, sequences: list[Sequence]) -> int:
        self.rules.append(sequences)
        return len(self.rules) - 1

    def _any_value(self) -> OutlineSymbol:
        number = self._rule([])
        value = OutlineSymbol(number)
        self._object = [_BRACE, *self._listed([_STRING, value], optional=True), _END_BRACE]
        self._array = [_BRACKET, *self._listed([value], optional=True), _END_BRACKET]
        simple = (sequence for kind in ("string", "number", "boolean", "null") for sequence in _SIMPLE[kind])
        self.rules[number] = [self._object, self._array, *simple]
        return value

    def _listed(self, item: Sequence, *, optional: bool) -> Sequence:
        """Return a list of items with commas between."""
        more = OutlineSymbol(self._rule([[_COMMA, *item]]), optional=True, repeats=True)
        return [OutlineSymbol(self._rule([[*item, more]]), optional=optional)]

    def _sequences(self, number: int, schema: object) -> list[Sequence]:
        """Return how a schema can be followed, its keywords in the engine's order."""
        if not isinstance(schema, Mapping):
            return [[]]
        if "$ref" in schema:
            return [[self._target(schema["$ref"])]]
        for alternatives in (schema.get("oneOf"), schema.get("anyOf")):
            if isinstance(alternatives, list):
                return self._choice(number, alternatives)
        kind = schema.get("type")
        if isinstance(kind, list):
            return self._choice(number, [{**schema, "type": one} for one in kind])
        if "const" in schema:
            return [[self._constant(schema["const"])]]
        if isinstance(values := schema.get("enum"), list):
            return [[self._constant(value)] for value in values]
        if kind in (None, "object") and (
            "properties" in schema or schema.get("additionalProperties", True) is not True
        ):
            return self._object_of(list(_properties(schema)), schema.get("additionalProperties", False))
        if kind in (None, "object", "string") and isinstance(parts := schema.get("allOf"), list):
            self.choices.append(number)
            return self._object_of(list(self._parts(parts)), False)
        if kind in (None, "array") and ("items" in schema or "prefixItems" in schema):
            return [self._array_of(schema)]
        if kind in ("object", "array"):
            return [self._object if kind == "object" else self._array]
        return _SIMPLE.get(kind if isinstance(kind, str) else None) or [[self._value]]

    def _choice(self, number: int, alternatives: Iterable[object]) -> list[Sequence]:
        self.choices.append(number)
        return [[self.node(one)] for one in alternatives]

    def _target(self, reference: object) -> OutlineSymbol:
        if not isinstance(reference, str):
            return self._value
        if reference not in self._targets:
            self._targets[reference] = self.node(resolve(self._root, reference)).rule
        return OutlineSymbol(self._targets[reference])

    def _constant(self, value: object) -> OutlineSymbol:
        span = _STRINGS if isinstance(value, str) else _OTHERS
        if isinstance(value, int | float) and not isinstance(value, bool):
            span = _NUMBERS
        return _literal(self._name(_ENCODE(value), span))

    def _name(self, value: bytes, span: tuple[int, int]) -> str:
        """Return the character that stands for a key or constant."""
        if value in (b"null", b"true", b"false"):
            return value[:1].decode()
        return self._names.setdefault(value, chr(span[0] + len(self._names)))

    def _object_of(self, members: list[tuple[str, object, bool]], more: object) -> list[Sequence]:
        """Return an object: what is required first, then each optional member or the next."""
        made = [
            (self._name(_ENCODE(name), _STRINGS), self.node(inner), needed) for name, inner, needed in members
        ]
        required = [[_literal(key), inner] for key, inner, needed in made if needed]
        optional = [[_literal(key), inner] for key, inner, needed in made if not needed]
        first = [
            place
            for member in required
            for place in (*([_COMMA] if member is not required[0] else []), *member)
        ]
        rest: Sequence = []
        if more is not False:
            value = self._value if more is True else self.node(more)
            others = [self._all_but([key for key, _, _ in made]), value]
            rest = [OutlineSymbol(self._rule([[_COMMA, *others]]), optional=True, repeats=True)]
            starts = [[*others, *rest]]
        else:
            starts = []
        for member in reversed(optional):
            starts.append([*member, *rest])
            rest = [
                OutlineSymbol(
                    self._rule([[OutlineSymbol(self._rule([[_COMMA, *member]]), optional=True), *rest]])
                )
            ]
        if required:
            return [[_BRACE, *first, *rest, _END_BRACE]]
        if not starts:
            return [[_BRACE, _END_BRACE]]
        return [[_BRACE, OutlineSymbol(self._rule(starts), optional=True), _END_BRACE]]

    def _all_but(self, keys: list[str]) -> OutlineSymbol:
        """Return the place of a key that is not named."""
        taken = sorted({_STRINGS[0] - 1, *map(ord, keys), _STRINGS[1] + 1})
        free = [(low + 1, high - 1) for low, high in pairwise(taken) if high - low > 1]
        return OutlineSymbol(-1, "set", "".join(_range(*span).text for span in free))

    def _array_of(self, schema: Mapping[str, object]) -> Sequence:
        items = schema["items"] if "items" in schema else schema["prefixItems"]
        if not isinstance(items, list):
            listed = self._listed([self.node(items)], optional=not schema.get("minItems"))
            return [_BRACKET, *listed, _END_BRACKET]
        made: Sequence = []
        for item in items:
            made += [*([_COMMA] if made else []), self.node(item)]
        return [_BRACKET, *made, _END_BRACKET]

    def _parts(self, parts: Iterable[object]) -> Iterator[tuple[str, object, bool]]:
        """Yield the members of all parts of an `allOf`, a key as often as it comes."""
        for part in parts:
            several = part.get("anyOf", part.get("oneOf")) if isinstance(part, Mapping) else None
            for one in several if isinstance(several, list) else [part]:
                found, seen = one, set[str]()
                while isinstance(found, Mapping) and isinstance(reference := found.get("$ref"), str):
                    found = None if reference in seen else resolve(self._root, reference)
                    seen.add(reference)
                if isinstance(found, Mapping):
                    yield from ((name, inner, several is None) for name, inner, _ in _properties(found))


def is_ambiguous(root: object) -> bool:
    """Return whether the ways to follow a schema multiply; its cost has been counted before."""
    outline = _Outline(root)
    return bool(outline.choices) and multiplies(outline.rules, outline.choices[:_MOST_CHOICES], _SYMBOLS)


def resolve(root: object, reference: str) -> object:
    """Return what a reference within the document names; None for what the engine refuses."""
    target = root
    for step in reference.split("/")[1:]:
        if isinstance(target, Mapping):
            target = target.get(step)
        elif isinstance(target, list) and step.isdigit() and int(step) < len(target):
            target = target[int(step)]
        else:
            return None
    return target


def _properties(schema: Mapping[str, object]) -> Iterator[tuple[str, object, bool]]:
    """Yield name, schema and whether it is required of each property."""
    properties, required = schema.get("properties"), schema.get("required")
    needed = {one for one in required if isinstance(one, str)} if isinstance(required, list) else set()
    if isinstance(properties, Mapping):
        yield from ((name, inner, name in needed) for name, inner in properties.items())

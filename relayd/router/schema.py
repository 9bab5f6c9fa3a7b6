"""What would the JSON schemas of one request cost the engine, which makes a grammar of them?

Followed is what llama-server follows (`json-schema.cpp`, b11434), each reference once, and nothing recurses.
A schema of 100 bytes can refer to itself until the engine's stack ends, or double at each level.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import ceil, floor, inf, isfinite

import msgspec

from relayd.router import gbnf
from relayd.router.characters import has_known_escapes
from relayd.router.shapes import is_ambiguous, resolve

MOST_NODES = 20_000
"""Schemas within all schemas of a request, as often as the engine visits them."""

MOST_WAYS = 100
"""Alternatives that compete at one place: each takes the engine 2 to 4 ms a token with a vocabulary of
150,000, for as long as a text fits it."""

MOST_VALUES = 500
"""Values of an `enum` that compete at one place: as much, but only for the first token of a value."""

MOST_OPTIONAL = 256
"""Optional properties of one object; the engine's work grows with the cube of their number."""

MOST_REFERENCES = 500
"""Different `$ref`; a chain of them is so many calls of the engine within each other."""

MOST_ELEMENTS = 4_000_000
"""Elements of the grammar that lengths, counts and patterns expand to."""

LONGEST_NAME = 256
"""Characters of a property's name; the engine's regular expressions use its stack for them."""

MOST_MEMBERS = 4_000
"""Members of any one object, also of one that nothing follows: the engine searches them one by one."""

MOST_TYPES = 16
"""Of a list of types; JSON has seven."""

LONGEST_VALUES = 64 * 1024
"""Bytes of a `const`, or of the values of an `enum`: a million of them take the engine 3 s."""

LONGEST_REFERENCE = 512
LONGEST_PATTERN = 2_048

_ENGINE_REPEATS = 2_000
"""`MAX_REPETITION_THRESHOLD`: a larger maximum means any number."""

_RULE_ELEMENTS = 20
"""What each optional repetition takes: a rule with a name."""

_ALTERNATIVES = ("oneOf", "anyOf", "allOf")
_PATTERN = re.compile(
    r"(?P<open>\((?:\?:)?)|(?P<special>[()|.])|(?P<set>\[(?:[^\]\\]|\\.)*\])|(?P<simple>[*+?])"
    r"|\{(?P<least>\d{0,9})(?P<comma>,)?(?P<most>\d{0,9})\}|(?P<other>\\.|[^\\])",
    re.DOTALL,
)


_AMBIGUOUS = (
    "can be followed in more and more ways with each value (ambiguous recursion); give alternatives that "
    "contain themselves a first key or item that tells them apart"
)


class _TooMuch(Exception):  # noqa: N818 - the reason is its message, and it never leaves this module
    """The schemas cost too much."""


@dataclass(slots=True)
class _Cost:
    """What the schemas of one request add up to."""

    nodes: int = 0
    elements: int = 0

    def visit(self, times: int) -> None:
        self.nodes += times
        if self.nodes > MOST_NODES:
            raise _TooMuch(f"has more than {MOST_NODES:,} schemas in it")

    def expand(self, elements: int, times: int) -> None:
        self.elements += elements * times
        if self.elements > MOST_ELEMENTS:
            raise _TooMuch(f"expands to more than {MOST_ELEMENTS:,} elements of a grammar")


@dataclass(slots=True)
class _References:
    """One schema with what it refers to.

    Attributes:
        root: References start here.
        values: Of each node: how many values and keys compete at its beginning.
        choices: Of each node: the nodes that it may be instead of itself.
        targets: The node of each reference.
    """

    root: object
    values: list[int] = field(default_factory=list)
    choices: list[list[int]] = field(default_factory=list)
    targets: dict[str, int] = field(default_factory=dict)

    def add(self) -> int:
        self.values.append(1)
        self.choices.append([])
        return len(self.values) - 1


def fault(*roots: object) -> str:
    """Return why schemas must not reach the engine, in words that follow their name; empty when they may."""
    cost = _Cost()
    try:
        for root in roots:
            _check_members(root)
            document = _References(root)
            _walk(document, cost)
            _check_ways(document)
            if is_ambiguous(root):
                raise _TooMuch(_AMBIGUOUS)
    except _TooMuch as reason:
        return str(reason)
    return ""


def _check_members(root: object) -> None:
    """Look at every object, followed or not: finding one member of n costs the engine n steps."""
    left = [root]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            if len(value) > MOST_MEMBERS:
                raise _TooMuch(
                    f"has an object of {len(value):,} members; at most {MOST_MEMBERS:,} are accepted"
                )
            left += value.values()
        elif isinstance(value, list):
            left += value


def _walk(document: _References, cost: _Cost) -> None:
    """Visit each schema as often as the engine does."""
    left: list[tuple[object, int, int]] = [(document.root, document.add(), 1)]
    while left:
        schema, number, times = left.pop()
        cost.visit(times)
        if not isinstance(schema, dict):
            continue
        if "$ref" in schema:
            target = _refer(document, number, schema["$ref"])
            if target is not None:
                left.append((*target, 1))
            continue
        document.values[number] = _own_values(schema)
        _expand(schema, times, cost)
        for child, chosen, again in _children(schema):
            inner = document.add()
            if chosen:
                document.choices[number].append(inner)
            left.append((child, inner, times * again))


def _refer(document: _References, number: int, reference: object) -> tuple[object, int] | None:
    """Note a reference; return its target the first time."""
    if not isinstance(reference, str):
        return None
    if len(reference) > LONGEST_REFERENCE:
        raise _TooMuch(f"has a $ref of more than {LONGEST_REFERENCE} characters")
    known = reference in document.targets
    if not known:
        if len(document.targets) >= MOST_REFERENCES:
            raise _TooMuch(f"has more than {MOST_REFERENCES} different $ref")
        document.targets[reference] = document.add()
    target = document.targets[reference]
    document.choices[number].append(target)
    return None if known else (resolve(document.root, reference), target)


def _own_values(schema: Mapping[str, object]) -> int:
    """Return how many values and keys a schema can begin with, without those of its alternatives."""
    values, properties = schema.get("enum"), schema.get("properties")
    for name in ("const", "enum"):
        if len(msgspec.json.encode(schema.get(name))) > LONGEST_VALUES:
            raise _TooMuch(f"has a {name} of more than {LONGEST_VALUES:,} bytes")
    count = len(values) if isinstance(values, list) else 1
    if count > MOST_VALUES:
        raise _TooMuch(f"has an enum of {count:,} values; at most {MOST_VALUES:,} are accepted")
    if not isinstance(properties, Mapping):
        return count
    if any(len(name) > LONGEST_NAME for name in properties):
        raise _TooMuch(f"has a property whose name is longer than {LONGEST_NAME} characters")
    required = schema.get("required")
    names = {name for name in required if isinstance(name, str)} if isinstance(required, list) else set()
    optional = sum(name not in names for name in properties)
    if optional > MOST_OPTIONAL:
        raise _TooMuch(
            f"has an object of {optional:,} optional properties; at most {MOST_OPTIONAL} are accepted"
        )
    return max(count, 1 + optional)


def _expand(schema: Mapping[str, object], times: int, cost: _Cost) -> None:
    """Count what lengths, counts and a pattern expand to."""
    for least, most in (("minLength", "maxLength"), ("minItems", "maxItems")):
        low, high = _count(schema.get(least)), _count(schema.get(most))
        if low > _ENGINE_REPEATS:
            raise _TooMuch(f"has a {least} of {low}; at most {_ENGINE_REPEATS:,} is accepted")
        if _is_count(schema.get(most)) and low > high:  # as in a grammar: without end
            raise _TooMuch(f"has a {least} of {low} and a {most} of {high}")
        optional = max(0, high - low) if high <= _ENGINE_REPEATS else 1
        cost.expand(low + optional * _RULE_ELEMENTS, times)
    _check_range(schema)
    pattern = schema.get("pattern")
    if isinstance(pattern, str):
        if len(pattern) > LONGEST_PATTERN:
            raise _TooMuch(f"has a pattern of more than {LONGEST_PATTERN:,} characters")
        elements, reason = gbnf.measure(_as_grammar(pattern))
        if reason:
            raise _TooMuch(f"has a pattern that {reason}")
        cost.expand(elements, times)


def _check_range(schema: Mapping[str, object]) -> None:
    """Refuse a number that no value fits: the engine finds that out after its first tokens."""
    kinds = schema.get("type")
    for kind in kinds if isinstance(kinds, list) else [kinds]:
        if kind in ("integer", "number") and _is_empty(schema, whole=kind == "integer"):
            raise _TooMuch(
                f"has {'an' if kind == 'integer' else 'a'} {kind} that no value fits: its range is empty"
            )


def _is_empty(schema: Mapping[str, object], *, whole: bool) -> bool:
    """Return whether a range of numbers has none in it."""
    low, high = _finite(schema.get("minimum")), _finite(schema.get("maximum"))
    above, below = _finite(schema.get("exclusiveMinimum")), _finite(schema.get("exclusiveMaximum"))
    if whole:
        least = max(-inf if low is None else ceil(low), -inf if above is None else floor(above) + 1)
        return least > min(inf if high is None else floor(high), inf if below is None else ceil(below) - 1)
    least, most = -inf if low is None else low, inf if high is None else high
    above, below = -inf if above is None else above, inf if below is None else below
    return least > most or above >= min(most, below) or least >= below


def _finite(value: object) -> float | None:
    """Return a number; None for anything else, which the engine refuses or ignores."""
    return (
        value if isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value) else None
    )


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _as_grammar(pattern: str) -> str:
    """Return a grammar of the same shape as an anchored pattern; empty for what matches any string."""
    if len(pattern) < 2 or pattern[0] != "^" or pattern[-1] != "$":
        return ""
    words = []
    for found in _PATTERN.finditer(pattern[1:-1]):
        if found["open"]:
            words.append("(")
        elif found["set"]:
            if not has_known_escapes(found["set"][1:-1]):
                return ""
            words.append(found["set"])
        elif found["other"]:
            words.append('"a"')
        elif found["least"] is not None:
            words.append(f"{{{found['least'] or 0}{found['comma'] or ''}{found['most']}}}")
        else:
            words.append(found[0])
    grammar = "root ::= " + " ".join(words)
    return grammar if gbnf.is_readable(grammar) else ""


def _children(schema: Mapping[str, object]) -> Iterator[tuple[object, bool, int]]:
    """Yield the schemas within one, whether it may be each of them instead, and how often each is visited."""
    for name in _ALTERNATIVES:
        alternatives = schema.get(name)
        if isinstance(alternatives, list):
            yield from ((one, True, 1) for one in alternatives)
    kinds = schema.get("type")
    if isinstance(kinds, list) and len(kinds) > MOST_TYPES:
        raise _TooMuch(f"has a list of {len(kinds):,} types; at most {MOST_TYPES} are accepted")
    times = max(1, sum(kind in ("object", "array") for kind in kinds)) if isinstance(kinds, list) else 1
    properties = schema.get("properties")
    if isinstance(properties, Mapping):
        yield from ((one, False, times) for one in properties.values())
    for name in ("additionalProperties", "items", "prefixItems"):
        inner = schema.get(name)
        if isinstance(inner, list):
            yield from ((one, False, times) for one in inner)
        elif isinstance(inner, Mapping):
            yield inner, False, times


def _check_ways(document: _References) -> None:
    """Add up the ways of alternatives and references, each node after those it may be."""
    total, values = [0] * len(document.values), document.values.copy()
    for start in range(len(total)):
        path = [(start, iter(document.choices[start]))] if not total[start] else []
        total[start] = total[start] or -1
        while path:
            number, left = path[-1]
            for choice in left:
                if total[choice] < 0:
                    raise _TooMuch("refers to itself with nothing between")
                if not total[choice]:
                    total[choice] = -1
                    path.append((choice, iter(document.choices[choice])))
                    break
            else:
                path.pop()
                total[number] = sum(total[choice] for choice in document.choices[number]) or 1
                values[number] += sum(values[choice] for choice in document.choices[number])
                if values[number] > MOST_WAYS + MOST_VALUES:
                    raise _TooMuch(f"has alternatives with more than {MOST_VALUES:,} values at one place")
                if total[number] > MOST_WAYS:
                    raise _TooMuch(f"has more than {MOST_WAYS:,} alternatives at one place")

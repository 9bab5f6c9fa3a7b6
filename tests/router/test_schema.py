"""Are schemas that cost the engine too much told from those that agents send?"""

import time
from collections.abc import Iterable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relayd.router.schema import fault

pytestmark = pytest.mark.pure

Schema = dict[str, object]


def thing(properties: dict[str, object], required: Iterable[str] = ()) -> Schema:
    return {"type": "object", "properties": properties, "required": list(required)}


def tool(size: int) -> Schema:
    names = {f"property_{n}": {"type": "string", "description": "what it is for"} for n in range(size)}
    return thing(names | {"kind": {"enum": [f"value {n}" for n in range(300)]}}, ["kind"])


def nested(levels: int, kinds: object) -> Schema:
    return {"type": kinds, "properties": {"a": nested(levels - 1, kinds)} if levels else {}}


def chain(levels: int, link: str = "$ref") -> Schema:
    ends = {f"d{levels}": {"type": "integer"}}
    step = (lambda to: {"$ref": to}) if link == "$ref" else (lambda to: {link: [{"$ref": to}, {"$ref": to}]})
    return {"$defs": {f"d{n}": step(f"#/$defs/d{n + 1}") for n in range(levels)} | ends, "$ref": "#/$defs/d0"}


TREE = {
    "$defs": {"n": thing({"kids": {"type": "array", "items": {"$ref": "#/$defs/n"}}})},
    "$ref": "#/$defs/n",
}

JSON_VALUE = {
    "$defs": {"v": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"$ref": "#/$defs/v"}}]}},
    "$ref": "#/$defs/v",
}

SELF: Schema = {"$ref": "#/$defs/a"}


def either(*alternatives: object, by: str = "anyOf") -> Schema:
    return {"$defs": {"a": {by: [*alternatives, {"type": "null"}]}}, "$ref": "#/$defs/a"}


def needing(**properties: object) -> Schema:
    return thing(properties, properties)


def tuples(*items: object) -> Schema:
    return {"prefixItems": list(items)}


def steps(levels: int) -> Schema:
    links = {
        f"d{n}": {"anyOf": [tuples({"$ref": f"#/$defs/d{n + 1}"}, {"const": last}) for last in (1, 2)]}
        for n in range(levels)
    }
    return {"$defs": {**links, f"d{levels}": {"type": "null"}}, "$ref": "#/$defs/d0"}


RECURSIVE: dict[str, Schema] = {
    "an expression": either(
        {"type": "number"},
        needing(op={"enum": ["+", "-"]}, left=SELF, right=SELF),
        needing(call={"type": "string"}, of={"type": "array", "items": SELF}),
    ),
    "kinds told apart by their first key": either(
        needing(kind={"const": "x"}, of=SELF), needing(kind={"const": "y"}, of=SELF)
    ),
    "a binary tree": either(thing({"left": SELF, "value": {"type": "string"}, "right": SELF}, ["value"])),
    "keys of any name": either(thing({"of": SELF}) | {"additionalProperties": SELF}),
    "the same first key with a text": either(thing({"n": {}, "a": SELF}), thing({"n": {}, "b": SELF})),
    "60 kinds": {
        "$defs": {f"d{n}": needing(kind={"const": f"k{n}"}) for n in range(60)},
        "anyOf": [{"$ref": f"#/$defs/d{n}"} for n in range(60)],
    },
    "texts that overlap": {"items": {"anyOf": [{"type": "string"}, {"pattern": "^a$"}, {"const": "x"}]}},
}

DOUBLING: dict[str, Schema] = {
    "two tuples": either(tuples(SELF, {"const": 1}), tuples(SELF, {"const": 2})),
    "two tuples, one of": either(tuples(SELF, {"const": 1}), tuples(SELF, {"const": 2}), by="oneOf"),
    "a list and a tuple": either({"items": SELF}, tuples(SELF, {"const": 2})),
    "lists of lists": either({"items": {"items": SELF}}, {"items": tuples(SELF, SELF)}),
    "two objects": either(needing(k=SELF, b={}), needing(k=SELF, c={})),
    "two objects of optional members": either(thing({"k": SELF, "b": {}}), thing({"k": SELF, "c": {}})),
    "two objects after 20 members": either(
        *(needing(**{f"p{n}": {"const": 1} for n in range(20)}, k=SELF, **{last: {}}) for last in ("b", "c"))
    ),
    "types": {"$defs": {"a": {"type": ["array", "array"], "items": SELF}}, **SELF},
    "a key twice by all of": {
        "$defs": {"a": {"allOf": [{"anyOf": [thing({"k": SELF}), thing({"k": SELF})]}]}},
        **SELF,
    },
    "step by step": steps(30),
    "alternatives of alternatives": {
        "anyOf": [tuples({"anyOf": [tuples({}, {"const": n}) for n in range(90)]}) for _ in range(90)]
    },
}


@pytest.mark.parametrize("name", RECURSIVE)
def test_recursion_whose_alternatives_are_told_apart_passes(name: str) -> None:
    assert "" == fault(RECURSIVE[name])


@pytest.mark.parametrize("name", DOUBLING)
def test_alternatives_that_begin_with_the_schema_itself_are_refused(name: str) -> None:
    begin = time.process_time()

    assert fault(DOUBLING[name])
    assert 1 > time.process_time() - begin


SENT: dict[str, list[object]] = {
    "100 tools of 20 properties and an enum of 300": [tool(20)] * 100,
    "200 optional properties": [thing({f"p{n}": {"type": "string"} for n in range(200)})],
    "3,000 required ones": [thing({f"p{n}": {} for n in range(3_000)}, [f"p{n}" for n in range(3_000)])],
    "a tree": [TREE],
    "any JSON": [JSON_VALUE],
    "null or an object, nested": [nested(20, ["object", "null"])],
    "long strings": [thing({f"p{n}": {"type": "string", "maxLength": 100_000} for n in range(200)})],
    "20 strings of some length": [thing({f"p{n}": {"minLength": 1, "maxLength": 2_000} for n in range(20)})],
    "patterns": [
        {"pattern": pattern}
        for pattern in (
            r"^\d{3}-\d{4}$", "^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$", "^#[0-9a-fA-F]{6}$", "^(?=x)a$",
            "(((", "^.{1,10000}$", r"^(https?://)?[\w.-]+$", "^[^@ ]+@[^@ ]+$", "",
        )
    ],
    "what the engine refuses": [None, True, 7, {"$ref": 7}, {"$ref": "#/none"}, {"enum": 3}, {"type": "x"}],
    "an empty one": [{}],
}  # fmt: skip


@pytest.mark.parametrize("name", SENT)
def test_what_agents_send_passes(name: str) -> None:
    assert "" == fault(*SENT[name])


BOMBS: dict[str, Schema] = {
    "an enum of 200,000": {"enum": list(range(200_000))},
    "alternatives of enums": {"anyOf": [{"enum": list(range(300))}] * 9},
    "2,000 optional properties": thing({f"p{n}": {} for n in range(2_000)}),
    "30,000 properties": thing({f"p{n}": {} for n in range(30_000)}, [f"p{n}" for n in range(30_000)]),
    "an object or an object, nested": nested(20, ["object", "object"]),
    "a reference to itself": {"$defs": {"a": {"$ref": "#/$defs/a"}}, "allOf": [{"$ref": "#/$defs/a"}]},
    "references to each other": {"anyOf": [{"$ref": "#/anyOf/1"}, {"$ref": "#/anyOf/0"}]},
    "alternatives that refer to each other": {
        "$defs": {f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{m}"} for m in range(15)]} for n in range(15)},
        "$ref": "#/$defs/d0",
    },
    "doubling alternatives": chain(30, "anyOf"),
    "doubling of one of": chain(30, "oneOf"),
    "doubling of all of": chain(30, "allOf"),
    "a chain of references": chain(3_000),
    "a regular expression that doubles": {"pattern": "^((a?){50}){50}$"},
    "a regular expression of parentheses": {"pattern": "^" + "(" * 900 + "a" + ")" * 900 + "$"},
    "a regular expression that repeats": {"pattern": "^" + "(a{1,2000}){1,2000}" * 80 + "$"},
    "a long regular expression": {"pattern": "^" + "a" * 50_000 + "$"},
    "lengths": thing({f"p{n}": {"maxLength": 2_000} for n in range(2_000)}, [f"p{n}" for n in range(2_000)]),
    "a least length": {"minLength": 2_000_000_000},
    "a least count": {"items": {}, "minItems": 1_000_000},
    "a most length below its least": {"type": "string", "minLength": 5, "maxLength": 2},
    "a most length of nothing": {"type": "string", "minLength": 1, "maxLength": 0},
    "a most count below its least": {"type": "array", "items": {}, "minItems": 5, "maxItems": 2},
    "a regular expression whose most is below its least": {"pattern": "^a{5,2}$"},
    "definitions that nothing names": {"$defs": {f"d{n}": {} for n in range(20_000)}},
    "an example of 20,000 members": {"examples": [{f"m{n}": 1 for n in range(20_000)}]},
    "2,000 types": {"type": ["string", "number"] * 1_000},
    "a constant of a million characters": {"const": "a" * 1_000_000},
    "an enum of long values": {"enum": [f"{n}" + "a" * 900 for n in range(900)]},
    "a long name": thing({" " * 100_000: {}}),
    "a long reference": {"$ref": "#/" + "%" * 100_000},
}


@pytest.mark.parametrize("name", BOMBS)
def test_what_costs_too_much_is_refused_at_once(name: str) -> None:
    begin = time.process_time()

    assert fault(BOMBS[name])
    assert 1 > time.process_time() - begin


NO_VALUE: list[Schema] = [
    {"type": "integer", "minimum": 5, "maximum": 1},
    {"type": "integer", "exclusiveMinimum": 5, "exclusiveMaximum": 6},
    {"type": "integer", "minimum": 5.2, "maximum": 5.8},
    {"type": "integer", "minimum": -1, "maximum": -5},
    {"type": "number", "minimum": 5, "maximum": 1},
    {"type": "number", "exclusiveMinimum": 5, "maximum": 5},
    {"type": ["null", "number"], "minimum": 5, "exclusiveMaximum": 5},
    {"type": "string", "pattern": "^[z-a]$"},
    {"type": "string", "pattern": "^x[9-0]*$"},
]


@pytest.mark.parametrize("schema", NO_VALUE)
def test_what_no_value_fits_is_refused(schema: Schema) -> None:
    assert fault(schema)
    assert fault(thing({"a": schema}))


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "integer", "minimum": 5, "maximum": 5},
        {"type": "integer", "minimum": 1e300},
        {"type": "number", "exclusiveMinimum": 5, "exclusiveMaximum": 6},
        {"type": "integer", "minimum": "5", "maximum": True},
        {"type": "string", "minimum": 5, "maximum": 1},
        {"type": "string", "pattern": r"^[\w.-]+$"},
    ],
)
def test_ranges_that_some_value_fits_pass(schema: Schema) -> None:
    assert "" == fault(schema)


def test_the_schemas_of_one_request_count_together() -> None:
    assert "" == fault(*[tool(20)] * 100)
    assert "schemas in it" in fault(*[tool(20)] * 1_000)


WORDS = st.sampled_from(
    [
        "$ref",
        "anyOf",
        "allOf",
        "type",
        "enum",
        "properties",
        "items",
        "pattern",
        "maxLength",
        "required",
        "$defs",
        "a",
    ]
)
ANY = st.recursive(
    st.none() | st.integers() | st.sampled_from(["#/a", "#/$defs/a", "^(a|b)*$", "object", "array", "#"]),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(WORDS, inner, max_size=5),
    max_leaves=40,
)


@given(schema=ANY)
@example(schema={"type": [[]]})
def test_any_schema_gets_a_verdict(schema: object) -> None:
    assert isinstance(fault(schema), str)

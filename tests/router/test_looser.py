"""Does a tool keep its schema, but for what the engine cannot hold?"""

import json
from typing import Any

import msgspec
import pytest

from relayd.router.looser import bare, looser, shapeless
from relayd.router.schema import fault

pytestmark = pytest.mark.pure


def tools(schema: Any, name: str = "t") -> msgspec.Raw:
    function = {"name": name, "parameters": schema}
    return msgspec.Raw(json.dumps([{"type": "function", "function": function}]).encode())


def held(schema: Any) -> Any:
    found = looser(tools(schema))
    return None if found is None else json.loads(bytes(found.raw))[0]["function"]["parameters"]


def of(value: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"a": value}}


@pytest.mark.parametrize(
    "value",
    [
        {"type": "string", "pattern": "^\\d{4}$"}, {"type": "string", "pattern": "^(?!x)[a-z]+$"},
        {"type": "string", "pattern": "^\\p{L}+$"}, {"type": "string", "format": "uri", "default": None},
        {"type": ["string", "null"]}, {"$ref": "#/$defs/b"}, {"anyOf": [{"type": "string"}, {}]},
        {"type": "array", "items": [{"type": "string"}]}, {"const": 1}, {"enum": ["a", None]}, {},
        {"type": "integer", "minimum": 1, "exclusiveMaximum": 9.5}, {"additionalProperties": False},
    ],
)  # fmt: skip
def test_what_the_engine_holds_stays_as_it_came(value: Any) -> None:
    assert held({**of(value), "$defs": {"b": {"type": "string"}}}) is None


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ({"$ref": "#/$defs/x", "description": "d"}, {"description": "d"}),
        ({"$ref": "https://json-schema.org/schema"}, {}), ({"$ref": "#"}, {}), ({"$ref": 1}, {}),
        ({"type": "strng"}, {}), ({"type": "any"}, {}), ({"type": "int"}, {"type": "integer"}),
        ({"type": "String"}, {"type": "string"}), ({"type": ["str", "foo"]}, {"type": ["string"]}),
        ({"type": []}, {}), ({"type": "string", "enum": []}, {"type": "string"}),
        ({"type": "string", "minLength": 1.0}, {"type": "string", "minLength": 1}),
        ({"type": "string", "minLength": -1}, {"type": "string"}),
        ({"type": "string", "minLength": 3000}, {"type": "string"}),
        ({"type": "string", "minLength": 3, "maxLength": 2}, {"type": "string"}),
        ({"type": "string", "pattern": "^(a$"}, {"type": "string"}),
        ({"type": "string", "pattern": 1}, {"type": "string"}), ({"format": 1}, {}),
        ({"type": "object", "properties": []}, {"type": "object"}),
        ({"additionalProperties": "x"}, {}), ({"anyOf": []}, {}), ({"oneOf": {}}, {}), (True, {}), (None, {}),
        ({"items": True}, {"items": {}}), ({"type": "integer", "minimum": "1"}, {"type": "integer"}),
        ({"type": "array", "items": {"type": "foo"}}, {"type": "array", "items": {}}),
    ],
)  # fmt: skip
def test_only_what_the_engine_refuses_is_taken_out(value: Any, kept: Any) -> None:
    assert of(kept) == held(of(value))


def test_what_costs_too_much_loses_its_lengths_and_then_its_depth() -> None:
    nested: Any = {"type": "string", "description": "deep"}
    for _ in range(30):
        nested = {"anyOf": [nested, {"type": "object", "properties": {"x": nested}}]}
        if len(json.dumps(nested)) > 50_000:
            break
    assert fault(of(nested))
    after = held(of(nested))
    assert not fault(after)
    assert "a" in after["properties"]


def test_every_form_of_a_tool_is_looked_into_and_each_changed_one_is_named() -> None:
    bad = of({"type": "any"})
    forms = [
        {"name": "anthropic", "input_schema": bad},
        {"type": "function", "name": "responses", "parameters": bad},
        {"type": "namespace", "name": "space", "tools": [{"name": "inner", "parameters": bad}]},
        {"type": "function", "function": {"name": "good", "parameters": of({})}},
    ]  # fmt: skip
    found = looser(msgspec.Raw(json.dumps(forms).encode()))
    assert found is not None
    assert b'"any"' not in bytes(found.raw)
    assert found.change == "simplified: schemas of tools anthropic, responses, inner"


def test_no_parameters_are_those_of_any_object_and_no_tools_are_left_alone() -> None:
    assert {"type": "object"} == held(None) == held(True)
    assert looser(msgspec.Raw(b"{}")) is None
    assert looser(msgspec.Raw(b'[1, {"function": 2}]')) is None


def test_bare_tools_have_one_type_everywhere() -> None:
    found = bare(tools(of({"anyOf": [{"type": "string"}], "pattern": "a", "description": "d"})))
    assert found is not None
    function = json.loads(bytes(found.raw))[0]["function"]
    assert of({"type": "string", "description": "d"}) == function["parameters"]


def test_shapeless_tools_take_any_object() -> None:
    found = shapeless(tools(of({"type": "array", "items": {"type": "string"}})))
    assert found is not None
    assert {"type": "object"} == json.loads(bytes(found.raw))[0]["function"]["parameters"]

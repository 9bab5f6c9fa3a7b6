"""Does a virtual model change of a request what it sets, and nothing else?"""

import json
from typing import Any

import pytest

from relayd.dialects.preset import Preset

pytestmark = pytest.mark.pure

CHAT = frozenset({"messages", "temperature", "top_k", "max_tokens", "n_predict", "chat_template_kwargs"})
ANTHROPIC = frozenset({"messages", "system", "temperature", "max_tokens"})


def _block(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


def applied(preset: Preset, body: dict[str, Any], accepted: frozenset[str] = CHAT) -> tuple[Any, str]:
    after, changes = preset.apply(json.dumps(body).encode(), accepted)
    return json.loads(after), changes


def test_a_fixed_member_holds_whatever_the_client_sends() -> None:
    after, changes = applied(Preset(fixed={"temperature": 0.2}), {"temperature": 1.5, "top_k": 3})

    assert {"temperature": 0.2, "top_k": 3} == after
    assert "set: temperature" == changes


@pytest.mark.parametrize("given", [{}, {"temperature": None}])
def test_a_default_holds_where_the_client_sets_nothing(given: dict[str, Any]) -> None:
    assert {"temperature": 0.5} == applied(Preset(defaults={"temperature": 0.5}), given)[0]


@pytest.mark.parametrize("name", ["max_tokens", "n_predict", "max_completion_tokens"])
def test_a_default_gives_way_to_the_same_setting_by_another_name(name: str) -> None:
    after, changes = applied(Preset(defaults={"max_tokens": 100}), {name: 7})

    assert ({name: 7}, "") == (after, changes)


def test_a_fixed_length_replaces_every_other_name_of_it() -> None:
    after, _ = applied(Preset(fixed={"max_tokens": 100}), {"n_predict": 7, "max_completion_tokens": 8})

    assert {"max_tokens": 100} == after


def test_what_is_stripped_is_gone_and_named() -> None:
    after, changes = applied(Preset(strip=frozenset({"top_k"})), {"top_k": 3, "temperature": 1})

    assert ({"temperature": 1}, "left out: top_k") == (after, changes)


def test_no_member_is_added_that_the_path_does_not_read() -> None:
    preset = Preset(fixed={"temperature": 0.2}, defaults={"top_k": 1}, system="Be brief.")

    assert ({"input": "a"}, "") == applied(preset, {"input": "a"}, frozenset({"input"}))


def test_a_fixed_object_keeps_what_the_client_gave_for_its_other_names() -> None:
    preset = Preset(fixed={"chat_template_kwargs": {"enable_thinking": False}})

    after, _ = applied(preset, {"chat_template_kwargs": {"enable_thinking": True, "x": 1}})

    assert {"chat_template_kwargs": {"enable_thinking": False, "x": 1}} == after


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([], [{"role": "system", "content": "S"}]),
        (
            [{"role": "user", "content": "u"}],
            [{"role": "system", "content": "S"}, {"role": "user", "content": "u"}],
        ),
        ([{"role": "system", "content": "t"}], [{"role": "system", "content": "S\n\nt"}]),
        ([{"role": "developer", "content": "t", "name": "n"}],
         [{"role": "developer", "content": "S\n\nt", "name": "n"}]),
        ([{"role": "system", "content": None}], [{"role": "system", "content": "S"}]),
        ([{"role": "system", "content": [{"type": "text", "text": "t"}]}],
         [{"role": "system", "content": [{"type": "text", "text": "S"}, {"type": "text", "text": "t"}]}]),
    ],
)  # fmt: skip
def test_the_system_prompt_begins_with_the_presets(messages: list[Any], expected: list[Any]) -> None:
    after, changes = applied(Preset(system="S"), {"messages": messages})

    assert ({"messages": expected}, "set: system") == (after, changes)


@pytest.mark.parametrize(
    ("system", "expected"),
    [
        ({}, "S"),
        ({"system": None}, "S"),
        ({"system": "t"}, "S\n\nt"),
        ({"system": [_block("t")]}, [_block("S"), _block("t")]),
    ],
)  # fmt: skip
def test_so_does_that_of_a_message_to_anthropics_api(system: dict[str, Any], expected: object) -> None:
    after, _ = applied(Preset(system="S"), {"messages": [], **system}, ANTHROPIC)

    assert expected == after["system"]
    assert [] == after["messages"]


def test_every_other_value_stays_as_it_was_written() -> None:
    body = b'{"temperature": 1.50,"seed":  12345678901234567890}'

    after, _ = Preset(defaults={"top_k": 1}).apply(body, CHAT)

    assert b'{"temperature":1.50,"seed":12345678901234567890,"top_k":1}' == after

"""Does the engine get the tools, and the word, that a request's tool_choice means?"""

import json

import msgspec
import pytest

from relayd.dialects.toolchoice import ToolChoice, followed, read_choice
from relayd.errors import RequestError

pytestmark = pytest.mark.pure

CHAT = [{"type": "function", "function": {"name": name, "parameters": {"x": 1.50}}} for name in "abc"]


def members(**values: object) -> dict[str, msgspec.Raw]:
    return {name: msgspec.Raw(json.dumps(value).encode()) for name, value in values.items()}


def sent(choice: object, tools: object = CHAT) -> dict[str, object] | None:
    changed = followed(members(messages=[], tools=tools, tool_choice=choice, parallel_tool_calls=True))
    return None if changed is None else {name: json.loads(bytes(raw)) for name, raw in changed.items()}


@pytest.mark.parametrize("choice", ["auto", "required", None])
def test_words_that_the_engine_follows_pass(choice: object) -> None:
    assert sent(choice) is None


def test_a_request_without_a_choice_passes() -> None:
    assert followed(members(messages=[], tools=CHAT)) is None


def test_none_takes_the_tools_out_of_the_prompt() -> None:
    assert {"messages": []} == sent("none") == sent({"type": "none"})


@pytest.mark.parametrize(
    "choice",
    [
        {"type": "function", "function": {"name": "b"}},
        {"type": "function", "name": "b"},
        {"type": "tool", "name": "b"},
        {"type": "custom", "custom": {"name": "b"}},
    ],
)
def test_a_named_tool_is_required_and_the_only_one(choice: object) -> None:
    assert {
        "messages": [], "tools": [CHAT[1]], "tool_choice": "required", "parallel_tool_calls": True,
    } == sent(choice)  # fmt: skip


@pytest.mark.parametrize("mode", ["auto", "required"])
@pytest.mark.parametrize("nested", [True, False])
def test_allowed_tools_are_the_only_ones(mode: str, nested: bool) -> None:
    named = [{"type": "function", "function": {"name": "c"}}, {"type": "function", "name": "a"}]
    allowed = {"mode": mode, "tools": named}
    choice = {"type": "allowed_tools", **({"allowed_tools": allowed} if nested else allowed)}

    changed = sent(choice)

    assert changed is not None
    assert ([CHAT[0], CHAT[2]], mode) == (changed["tools"], changed["tool_choice"])


@pytest.mark.parametrize(
    ("choice", "meant"),
    [
        ({"type": "any"}, ToolChoice("required")),
        ({"type": "auto", "disable_parallel_tool_use": True}, ToolChoice("auto", None, False)),
        (
            {"type": "tool", "name": "a", "disable_parallel_tool_use": False},
            ToolChoice("required", frozenset("a")),
        ),
        ("any", ToolChoice("required")),
    ],
)
def test_each_apis_words_mean_the_same(choice: object, meant: ToolChoice) -> None:
    assert meant == read_choice(json.dumps(choice).encode())


@pytest.mark.parametrize(
    ("choice", "tools", "part"),
    [
        ({"type": "function", "function": {"name": "z"}}, CHAT, "'z' is not among the tools"),
        ({"type": "function"}, CHAT, "must name a tool"),
        ({"type": "allowed_tools"}, CHAT, "needs a list"),
        ({"type": "file_search"}, CHAT, "'file_search' is not a choice"),
        ({"type": 7}, CHAT, "not a choice"),
        ("sometimes", CHAT, "'sometimes' is not a choice"),
        ({"type": "any"}, None, "offers none"),
        ({"type": "allowed_tools", "mode": "required", "tools": []}, CHAT, "offers none"),
        (7, CHAT, "must be a string or an object"),
    ],
)
def test_a_choice_that_cannot_be_followed_is_refused(choice: object, tools: object, part: str) -> None:
    with pytest.raises(RequestError, match="tool_choice") as found:
        sent(choice, tools)

    assert part in found.value.message
    assert found.value.param == "tool_choice"


def test_a_tool_that_is_no_object_has_no_name() -> None:
    assert sent({"type": "allowed_tools", "tools": []}, [7]) == {"messages": [], "parallel_tool_calls": True}


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "f"}}])
def test_a_call_that_must_be_made_has_no_format_of_a_text(choice: object) -> None:
    body = {
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "tool_choice": choice,
        "response_format": {"type": "json_object"},
    }
    members = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in body.items()}

    changed = followed(members)

    assert changed is not None
    assert "response_format" not in changed
    assert b'"required"' == bytes(changed["tool_choice"])


def test_a_call_that_may_be_made_leaves_the_format() -> None:
    members = {"tool_choice": msgspec.Raw(b'"auto"'), "response_format": msgspec.Raw(b"{}")}

    assert followed(members) is None

"""Does the engine's chat get all that a request to the responses API holds, or the client a reason?"""

import json
from typing import Any

import msgspec
import pytest

from relayd.dialects.responses_request import ChatRequest, as_chat
from relayd.dialects.responses_tools import OfferedFunction
from relayd.errors import RequestError

pytestmark = pytest.mark.pure

FUNCTION = {
    "type": "function",
    "name": "f",
    "description": "d",
    "parameters": {"type": "object"},
    "strict": True,
}
F = {"type": "function", "name": "f"}
HOSTED = {"type": "web_search"}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f", "arguments": "{}"}
CALLED = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
KEPT = {
    "msg_1": {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "kept"}]}
}


def asked(history: list[Any] | None = None, *, stream: bool = False, **members: object) -> ChatRequest:
    raw = {name: msgspec.Raw(json.dumps(value).encode()) for name, value in members.items()}
    return as_chat(raw, history or [], KEPT.get, stream=stream)


def sent(**members: Any) -> dict[str, Any]:
    return dict(json.loads(asked(**members).body))


def messages(*items: object, **members: object) -> Any:
    return sent(input=list(items), **members)["messages"]


def test_a_text_is_the_users_and_instructions_are_the_systems() -> None:
    assert {"messages": [{"role": "user", "content": "hi"}]} == sent(input="hi")
    assert [{"role": "user", "content": ""}] == sent(input="")["messages"]
    assert {"role": "system", "content": "Be brief"} == sent(input="hi", instructions="Be brief")["messages"][
        0
    ]


def test_members_of_the_engine_pass_and_others_stay_behind() -> None:
    made = sent(
        input="hi", model="m", temperature=0.5, top_k=3, store=True, metadata={"a": "b"}, include=[],
        truncation="auto", service_tier="flex", user="u", client_metadata={}, max_output_tokens=7,
        reasoning={"effort": "low", "summary": "auto"}, prompt_cache_key="k", text={"verbosity": "low"},
    )  # fmt: skip

    assert {
        "model": "m", "temperature": 0.5, "top_k": 3, "max_tokens": 7,
        "reasoning_effort": "low", "messages": [{"role": "user", "content": "hi"}],
    } == made  # fmt: skip


def test_a_stream_asks_for_its_usage() -> None:
    assert {"include_usage": True} == json.loads(asked(input="hi", stream=True).body)["stream_options"]


@pytest.mark.parametrize(
    ("wanted", "made"),
    [
        ({"type": "text"}, None),
        ({"type": "json_object"}, {"type": "json_object"}),
        (
            {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True},
            {
                "type": "json_schema",
                "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": True},
            },
        ),
    ],
)
def test_the_format_of_the_text_is_followed(wanted: object, made: object) -> None:
    assert made == sent(input="hi", text={"format": wanted}).get("response_format")


def test_a_format_of_another_kind_is_refused() -> None:
    with pytest.raises(RequestError, match=r"text\.format"):
        sent(input="hi", text={"format": {"type": "grammar"}})


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"role": "assistant", "content": "x"}, {"role": "assistant", "content": "x"}),
        (
            {"type": "message", "id": "m", "role": "assistant", "status": "completed",
             "content": [{"type": "output_text", "text": "x", "annotations": [], "logprobs": []}]},
            {"role": "assistant", "content": "x"},
        ),
        (
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
            {"role": "assistant", "content": "no"},
        ),
        (
            {"role": "developer", "content": [{"type": "input_text", "text": "x"}]},
            {"role": "developer", "content": "x"},
        ),
        (CALL, {"role": "assistant", "content": "", "tool_calls": [CALLED]}),
        (
            {"type": "function_call_output", "call_id": "c", "output": "x"},
            {"role": "tool", "tool_call_id": "c", "content": "x"},
        ),
        (
            {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "x"}]},
            {"role": "tool", "tool_call_id": "c", "content": "x"},
        ),
        (
            {"type": "function_call_output", "id": "i", "name": "goal", "namespace": "n", "output": "x"},
            {"role": "user", "content": "goal: x"},
        ),
        (
            {"type": "custom_tool_call", "call_id": "c", "name": "patch", "input": "x"},
            {"role": "assistant", "content": "", "tool_calls": [
                {"id": "c", "type": "function",
                 "function": {"name": "patch", "arguments": '{"input":"x"}'}}]},
        ),
        (
            {"type": "custom_tool_call_output", "call_id": "c", "output": "x"},
            {"role": "tool", "tool_call_id": "c", "content": "x"},
        ),
        (
            {"type": "local_shell_call", "call_id": "c", "action": {"type": "exec"}},
            {"role": "assistant", "content": "", "tool_calls": [
                {"id": "c", "type": "function",
                 "function": {"name": "local_shell", "arguments": '{"type":"exec"}'}}]},
        ),
        (
            {"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": "t"}],
             "encrypted_content": "abc"},
            {"role": "assistant", "content": "", "reasoning_content": "t"},
        ),
        (
            {"type": "reasoning", "id": "r", "summary": [],
             "content": [{"type": "reasoning_text", "text": "t"}]},
            {"role": "assistant", "content": "", "reasoning_content": "t"},
        ),
        ({"type": "item_reference", "id": "msg_1"}, {"role": "assistant", "content": "kept"}),
        (
            {"role": "user", "content": [
                {"type": "input_text", "text": "x"},
                {"type": "input_image", "image_url": "data:image/png;base64,aa", "detail": "low"}]},
            {"role": "user", "content": [
                {"type": "text", "text": "x"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,aa"}}]},
        ),
    ],
)  # fmt: skip
def test_an_item_becomes_a_message(item: object, message: object) -> None:
    before = {"role": "user", "content": "before"}

    assert [before, message] == messages(before, item)


@pytest.mark.parametrize(
    "item",
    [
        {"type": "web_search_call", "id": "ws_1", "status": "completed"},
        {"type": "compaction", "id": "cmp_1", "encrypted_content": "x"},
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"type": "reasoning", "id": "rs_1", "summary": [], "content": None, "encrypted_content": None},
        {"type": "mcp_list_tools", "id": "m"},
    ],
)
def test_an_item_that_cannot_be_shown_is_no_error(item: dict[str, Any]) -> None:
    made = asked(input=[{"role": "user", "content": "hi"}, item])

    assert [{"role": "user", "content": "hi"}] == json.loads(made.body)["messages"]
    assert (() if item["type"] == "reasoning" else (item["type"],)) == made.left_out


def test_what_the_assistant_did_in_one_turn_is_one_message() -> None:
    reasoning = {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "t"}]}
    other = {**CALL, "call_id": "call_2"}

    assert [
        {"role": "assistant", "content": "x", "reasoning_content": "t",
         "tool_calls": [CALLED, {**CALLED, "id": "call_2"}]},
        {"role": "tool", "tool_call_id": "call_1", "content": "r"},
        {"role": "assistant", "content": "y", "reasoning_content": "t"},
        {"role": "assistant", "content": "z"},
    ] == messages(
        reasoning, {"role": "assistant", "content": "x"}, CALL, other,
        {"type": "function_call_output", "call_id": "call_1", "output": "r"},
        reasoning, {"role": "assistant", "content": "y"}, {"role": "assistant", "content": "z"},
    )  # fmt: skip


def test_instructions_at_the_head_become_one_message() -> None:
    developer, user = {"role": "developer", "content": "b"}, {"role": "user", "content": "c"}

    assert [{"role": "system", "content": "a\n\nb"}, user, developer] == messages(
        developer, user, developer, instructions="a"
    )


@pytest.mark.parametrize(
    ("item", "part"),
    [
        ({"role": "user", "content": [{"type": "input_file", "file_data": "x"}]}, "'input_file'"),
        ({"role": "user", "content": [{"type": "input_image", "file_id": "x"}]}, "'input_image'"),
        ({"role": "user", "content": [{}]}, "a part without a type"),
        ({"role": "user", "content": 7}, "content that is not text"),
        ({"role": "other", "content": "x"}, "no role"),
        ({"type": "item_reference", "id": "gone"}, "not kept here"),
        (7, "not an object"),
    ],
)
def test_what_cannot_be_shown_is_refused_by_its_place(item: object, part: str) -> None:
    with pytest.raises(RequestError) as found:
        messages(item)

    assert part in found.value.message
    assert "input[0]" in found.value.message
    assert "input" == found.value.param


def test_a_conversation_that_is_continued_comes_first() -> None:
    made = asked([{"role": "user", "content": "before"}], input="now")

    assert ["before", "now"] == [one["content"] for one in json.loads(made.body)["messages"]]
    assert [{"role": "user", "content": text} for text in ("before", "now")] == made.items


def tools_of(**members: object) -> tuple[list[Any], Any]:
    made = sent(input="hi", **members)
    return [tool["function"] for tool in made.get("tools", [])], made.get("tool_choice")


def test_a_function_is_offered_as_it_is() -> None:
    described = {"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True}

    assert ([described], "auto") == tools_of(tools=[FUNCTION])


def test_tools_of_a_namespace_are_functions_and_are_named_back() -> None:
    tools = [FUNCTION, {"type": "namespace", "name": "n", "tools": [FUNCTION, {**FUNCTION, "name": "g"}]}]
    made = asked(input=[{**CALL, "namespace": "n"}], tools=tools)

    assert ["f", "n__f", "g"] == [tool["name"] for tool in tools_of(tools=tools)[0]]
    assert {
        "f": OfferedFunction("f"), "n__f": OfferedFunction("f", "n"), "g": OfferedFunction("g", "n"),
    } == made.tools.known  # fmt: skip
    assert "n__f" == json.loads(made.body)["messages"][0]["tool_calls"][0]["function"]["name"]


def test_a_custom_tool_is_a_function_of_one_text() -> None:
    made = asked(input="hi", tools=[{"type": "custom", "name": "patch", "description": "d"}])

    (function,) = (tool["function"] for tool in json.loads(made.body)["tools"])
    assert ("patch", ["input"]) == (function["name"], function["parameters"]["required"])
    assert made.tools.known["patch"].custom


def test_tools_that_only_openai_runs_are_left_out_and_named() -> None:
    made = asked(input="hi", tools=[{"type": "web_search"}, FUNCTION, {"type": "mcp", "server_url": "x"}])

    assert 1 == len(json.loads(made.body)["tools"])
    assert ("web_search", "mcp") == made.left_out
    assert ([], None) == tools_of(tools=[{"type": "web_search"}], parallel_tool_calls=True)


@pytest.mark.parametrize(
    ("choice", "names", "word"),
    [
        ("required", ["f", "g"], "required"),
        ({"type": "function", "name": "g"}, ["g"], "required"),
        ({"type": "allowed_tools", "mode": "auto", "tools": [F]}, ["f"], "auto"),
        ({"type": "allowed_tools", "mode": "required", "tools": [F, HOSTED]}, ["f"], "required"),
        ("none", [], None),
    ],
)  # fmt: skip
def test_a_tool_choice_is_followed(choice: object, names: list[str], word: str | None) -> None:
    functions, made = tools_of(tools=[FUNCTION, {**FUNCTION, "name": "g"}], tool_choice=choice)

    assert (names, word) == ([one["name"] for one in functions], made)


@pytest.mark.parametrize("members", [{}, {"input": []}, {"input": None}, {"instructions": ""}])
def test_a_request_without_any_message_is_refused(members: dict[str, object]) -> None:
    with pytest.raises(RequestError, match="nothing to answer") as found:
        sent(**members)

    assert "input" == found.value.param


@pytest.mark.parametrize("tools", [7, [7], [FUNCTION, FUNCTION]])
def test_tools_that_cannot_be_offered_are_refused(tools: object) -> None:
    with pytest.raises(RequestError) as found:
        asked(input="hi", tools=tools)
    assert "tools" == found.value.param


def test_a_response_repeats_its_request() -> None:
    echo = asked(input="hi", temperature=0.5, tools=[FUNCTION], metadata={"a": "b"}, store=False).echo

    assert (0.5, [FUNCTION], {"a": "b"}, False) == (
        echo["temperature"], echo["tools"], echo["metadata"], echo["store"],
    )  # fmt: skip
    assert (True, "auto", None) == (echo["parallel_tool_calls"], echo["tool_choice"], echo["instructions"])

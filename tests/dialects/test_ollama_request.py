"""What does llama-server get of a request to Ollama's API, member by member?"""

import json
from typing import Any

import msgspec
import pytest

from relayd.dialects.ollama_request import EngineRequest, chat, generate, is_empty, unloads
from relayd.errors import RequestError
from relayd.router import OLLAMA, OPTIONS, peek

pytestmark = pytest.mark.pure

USER = {"role": "user", "content": "Hi"}
CALL = {"function": {"name": "f", "arguments": {"a": 1}}}


def _members(body: object) -> dict[str, msgspec.Raw]:
    return msgspec.json.decode(json.dumps(body), type=dict[str, msgspec.Raw])


def _chat(stream: bool = False, **members: object) -> dict[str, Any]:
    body = {"messages": [USER], **members}
    return dict(chat(_members(body), OPTIONS, stream=stream).body)


def _generate(**members: object) -> EngineRequest:
    return generate(_members(members), OPTIONS, stream=False)


@pytest.mark.parametrize(
    ("members", "there"),
    [
        ({"options": {"num_predict": 5, "seed": 1, "top_k": 3}}, {"n_predict": 5, "seed": 1, "top_k": 3}),
        ({"options": {"num_predict": -2}}, {"n_predict": -1}),
        ({"options": {"num_ctx": 9, "numCtx": 9, "temperature": None}}, {}),
        ({"options": None}, {}),
        ({"format": "json"}, {"response_format": {"type": "json_object"}}),
        ({"format": ""}, {}),
        ({"tools": []}, {}),
        ({"think": False}, {"chat_template_kwargs": {"enable_thinking": False}}),
        (
            {"think": "low"},
            {
                "reasoning_effort": "low",
                "chat_template_kwargs": {"enable_thinking": True, "reasoning_effort": "low"},
            },
        ),
        ({"logprobs": True, "top_logprobs": 2}, {"logprobs": True, "top_logprobs": 2}),
        (
            {"stream": True},
            {"stream": True, "stream_options": {"include_usage": True}, "sse_ping_interval": 10},
        ),
        ({"keep_alive": "5m", "truncate": True}, {}),
    ],
)
def test_each_member_becomes_what_the_engine_reads(
    members: dict[str, object], there: dict[str, object]
) -> None:
    asked = _chat(stream=members.pop("stream", False) is True, **members)

    assert {"messages": [USER], **there} == asked


def test_a_schema_becomes_a_response_format() -> None:
    schema = {"type": "object"}

    assert schema == _chat(format=schema)["response_format"]["json_schema"]["schema"]


def test_results_of_tools_belong_to_the_calls_in_order() -> None:
    said = [USER, {"role": "assistant", "content": "", "tool_calls": [CALL, CALL]}]
    results = [{"role": "tool", "content": "1"}, {"role": "tool", "content": "2", "tool_name": "f"}]

    messages = _chat(messages=[*said, *results])["messages"]

    assert [call["id"] for call in messages[1]["tool_calls"]] == [one["tool_call_id"] for one in messages[2:]]
    assert '{"a":1}' == messages[1]["tool_calls"][0]["function"]["arguments"]


def test_a_result_is_matched_by_the_name_of_its_tool() -> None:
    calls = [CALL, {"function": {"name": "g", "arguments": {}}}]
    said = [
        USER,
        {"role": "assistant", "tool_calls": calls},
        {"role": "tool", "tool_name": "g", "content": "x"},
    ]

    messages = _chat(messages=said)["messages"]

    assert messages[1]["tool_calls"][1]["id"] == messages[2]["tool_call_id"]


def test_images_are_shown_and_never_fetched() -> None:
    (message,) = _chat(messages=[{**USER, "images": ["http://a/b", "iVBO"]}])["messages"]

    urls = [part["image_url"]["url"] for part in message["content"][1:]]
    assert ["data:image/png;base64,http://a/b", "data:image/png;base64,iVBO"] == urls


def test_no_images_leave_a_text() -> None:
    assert "Hi" == _chat(messages=[{**USER, "images": []}])["messages"][0]["content"]


def test_thinking_goes_back_to_the_model() -> None:
    said = {"role": "assistant", "content": "", "thinking": "hm"}

    assert "hm" == _chat(messages=[said])["messages"][0]["reasoning_content"]


def test_a_prompt_becomes_a_conversation() -> None:
    asked = _generate(prompt="Hi", system="Brief", suffix="", template="", context=None)

    assert "/v1/chat/completions" == asked.path
    assert [{"role": "system", "content": "Brief"}, USER] == asked.body["messages"]
    assert () == asked.left_out


def test_a_raw_prompt_is_sent_as_it_is() -> None:
    asked = _generate(prompt="Hi", raw=True, format={"type": "object"}, options={"stop": ["x"]})

    wanted = {"prompt": "Hi", "stream": False, "json_schema": {"type": "object"}, "stop": ["x"]}
    assert ("/completion", wanted) == (asked.path, asked.body)


def test_a_suffix_is_filled_in_before() -> None:
    asked = _generate(prompt="a", suffix="b")

    assert ("/infill", "a", "b") == (asked.path, asked.body["input_prefix"], asked.body["input_suffix"])


def test_what_changes_nothing_is_named() -> None:
    assert ("template", "context") == _generate(prompt="a", template="{{ .X }}", context=[1]).left_out


@pytest.mark.parametrize(
    ("kept", "is_over"),
    [(0, True), (0.0, True), ("0s", True), ("0", True), ("0m0s", True), ("5m", False), (-1, False),
     (None, False), ("", False), ("10m", False)],
)  # fmt: skip
def test_a_model_is_unloaded_by_a_keep_alive_of_nothing(kept: object, is_over: bool) -> None:
    assert is_over == unloads(_members({"keep_alive": kept}))


@pytest.mark.parametrize("messages", [None, []])
def test_a_request_without_messages_is_empty(messages: object) -> None:
    assert is_empty(_members({"messages": messages}), "messages")


@pytest.mark.parametrize(
    ("path", "member", "value", "param"),
    [
        ("/api/chat", "options", {"temperature": "hot"}, "options"),
        ("/api/chat", "options", {"repeat_last_n": 10**9}, "options"),
        ("/api/chat", "options", [], "options"),
        ("/api/chat", "format", "yaml", "format"),
        ("/api/chat", "format", 7, "format"),
        ("/api/chat", "think", 7, "think"),
        ("/api/generate", "prompt", 7, "prompt"),
        ("/api/generate", "raw", "yes", "raw"),
        ("/api/embed", "input", 7, "input"),
    ],
)
def test_a_value_of_another_type_is_refused(path: str, member: str, value: object, param: str) -> None:
    with pytest.raises(RequestError) as refused:
        peek(json.dumps({member: value}).encode(), OLLAMA[path])

    assert (refused.value.param or "").startswith(param)


def test_a_word_that_is_no_effort_is_refused() -> None:
    with pytest.raises(RequestError) as refused:
        _chat(think="hard")

    assert "think" == refused.value.param


@pytest.mark.parametrize("message", [{"content": 7}, {"images": "a"}, {"tool_calls": {}}, 7])
def test_a_message_of_other_types_is_refused(message: object) -> None:
    with pytest.raises(RequestError):
        _chat(messages=[message])


@pytest.mark.parametrize(("stream", "streams"), [(None, True), (True, True), (False, False)])
def test_a_stream_is_the_default(stream: object, streams: bool) -> None:
    assert streams == peek(json.dumps({"stream": stream}).encode(), OLLAMA["/api/chat"]).stream
    assert peek(b"{}", OLLAMA["/api/chat"]).stream

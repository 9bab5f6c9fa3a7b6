"""Does the engine get all that a request to Anthropic's API holds, or the client a reason?"""

import json
from typing import Any

import msgspec
import pytest

from relayd.dialects.anthropic_chat import as_chat
from relayd.dialects.anthropic_request import EngineMessages, for_engine, named
from relayd.errors import RequestError

pytestmark = pytest.mark.pure

TOOLS = [{"name": name, "input_schema": {"type": "object"}} for name in "ab"]
SEARCH = {"type": "web_search_20250305", "name": "web_search"}
HI = [{"role": "user", "content": "hi"}]
TEXT = {"type": "text", "text": "r"}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aa"}}
STAMP = "x-anthropic-billing-header: cc_version=2.1.197.a1b; cc_entrypoint=cli"


def asked(**members: object) -> EngineMessages:
    raw = {name: msgspec.Raw(json.dumps(value).encode()) for name, value in members.items()}
    return for_engine(raw)


def sent(**members: object) -> dict[str, Any]:
    return {name: json.loads(bytes(raw)) for name, raw in asked(**members).members.items()}


def shown(*blocks: object) -> Any:
    return sent(messages=[{"role": "user", "content": list(blocks)}])["messages"][0]["content"]


def test_what_the_engine_reads_passes_byte_for_byte() -> None:
    blocks = [
        {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aa"}},
        {"type": "tool_use", "id": "t", "name": "a", "input": {}},
        {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "x"}]},
        {"type": "tool_result", "tool_use_id": "t"},
        {"type": "thinking", "thinking": "hm", "signature": ""},
    ]
    raw = msgspec.Raw(
        b'[{"role":"user","content": %b}, {"role": "system","content":"x"}]' % json.dumps(blocks).encode()
    )

    assert raw is for_engine({"messages": raw}).members["messages"]


@pytest.mark.parametrize(
    ("block", "text"),
    [
        ({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "D"}}, "D"),
        (
            {"type": "document", "title": "T", "context": "C", "source": {"type": "text", "data": "D"}},
            "T\nC\nD",
        ),
        (
            {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "D"}]}},
            "D",
        ),
        ({"type": "document", "source": {"type": "content", "content": "D"}}, "D"),
        (
            {
                "type": "search_result",
                "title": "T",
                "source": "S",
                "content": [TEXT],
            },
            "T\nS\nr",
        ),
    ],
)
def test_what_is_text_is_shown_as_text(block: object, text: str) -> None:
    result = {"type": "tool_result", "tool_use_id": "t", "content": [block]}

    assert [{"type": "text", "text": text}] == shown(block)
    assert [{**result, "content": [{"type": "text", "text": text}]}] == shown(result)


def test_reasoning_that_only_anthropic_can_read_is_left_out() -> None:
    kept = {"type": "text", "text": "x"}

    assert [kept] == shown({"type": "redacted_thinking", "data": "aa"}, kept)


@pytest.mark.parametrize(
    ("block", "part"),
    [
        ({"type": "document", "source": {"type": "base64", "data": "aa"}}, "a document of source 'base64'"),
        ({"type": "document", "source": {"type": "url", "url": "data:,"}}, "a document of source 'url'"),
        ({"type": "document"}, "a document of source 'None'"),
        ({"type": "image", "source": {"type": "file", "file_id": "f"}}, "an image of source 'file'"),
        ({"type": "server_tool_use", "id": "t"}, "a block of type 'server_tool_use'"),
        ({"text": "x"}, "a block without a type"),
    ],
)
def test_what_cannot_be_shown_is_refused(block: dict[str, object], part: str) -> None:
    inside = {"type": "tool_result", "tool_use_id": "t", "content": [block]}
    for held in (block, inside) if block.get("type") else (block,):
        with pytest.raises(RequestError) as found:
            shown({"type": "text", "text": "x"}, held)
        assert part in found.value.message
        assert "messages[0]" in found.value.message
        assert "messages" == found.value.param


@pytest.mark.parametrize(
    ("system", "left"),
    [
        (
            [{"type": "text", "text": STAMP}, {"type": "text", "text": "You"}],
            [{"type": "text", "text": "You"}],
        ),
        (f"{STAMP}\nYou are", "You are"),
        (STAMP, ""),
        ("You", "You"),
        ([{"type": "text", "text": f"see {STAMP}"}], [{"type": "text", "text": f"see {STAMP}"}]),
    ],
)
def test_the_stamp_of_a_conversation_does_not_defeat_the_prompt_cache(system: object, left: object) -> None:
    assert left == sent(system=system, messages=HI)["system"]


@pytest.mark.parametrize(
    ("choice", "tools", "word"),
    [
        (None, TOOLS, None),
        ({"type": "auto", "disable_parallel_tool_use": True}, TOOLS, "auto"),
        ({"type": "any"}, TOOLS, "any"),
        ({"type": "tool", "name": "b"}, TOOLS[1:], "any"),
    ],
)
def test_a_tool_choice_is_followed(choice: object, tools: object, word: str | None) -> None:
    members = {"tools": TOOLS, "messages": HI} | ({"tool_choice": choice} if choice else {})

    made = sent(**members)

    assert (tools, word) == (made["tools"], made.get("tool_choice", {}).get("type"))


def test_none_takes_the_tools_out() -> None:
    assert {"messages": HI} == sent(tools=TOOLS, tool_choice={"type": "none"}, messages=HI)


def test_tools_of_anthropics_servers_are_left_out_and_named() -> None:
    made = asked(tools=[SEARCH, *TOOLS], messages=HI)

    assert TOOLS == json.loads(bytes(made.members["tools"]))
    assert ("web_search",) == made.left_out
    assert "left out: tools web_search" == named(made.left_out)
    assert {"messages": HI} == sent(tools=[SEARCH], messages=HI) == sent(tools=[], messages=HI)


def test_a_tool_that_is_left_out_cannot_be_forced() -> None:
    with pytest.raises(RequestError, match="web_search"):
        sent(tools=[SEARCH, *TOOLS], tool_choice={"type": "tool", "name": "web_search"}, messages=HI)


@pytest.mark.parametrize(
    ("members", "arguments"),
    [
        ({"thinking": {"type": "disabled"}}, {"enable_thinking": False}),
        ({"thinking": {"type": "enabled", "budget_tokens": 5}}, None),
        ({"thinking": {"type": "adaptive"}}, None),
        ({"output_config": {"effort": "low"}}, {"reasoning_effort": "low"}),
        ({"output_config": {"effort": "max"}}, {"reasoning_effort": "high"}),
        (
            {"output_config": {"effort": "low"}, "chat_template_kwargs": {"reasoning_effort": "x", "b": 1}},
            {"reasoning_effort": "x", "b": 1},
        ),
    ],
)
def test_thinking_and_effort_reach_the_template(members: dict[str, object], arguments: object) -> None:
    assert arguments == sent(messages=HI, **members).get("chat_template_kwargs")


@pytest.mark.parametrize("name", ["system", "messages", "tools", "output_config", "thinking"])
def test_a_member_of_another_type_is_refused_by_name(name: str) -> None:
    wrong: Any = [1] if name != "output_config" else {"effort": 1}
    if name == "system":
        assert [1] == sent(system=[1], messages=HI)["system"]
        return
    with pytest.raises(RequestError) as found:
        asked(**{"messages": HI, name: wrong})
    assert name == found.value.param
    assert "Expected" not in found.value.message


FORMAT = {"type": "json_schema", "schema": {"type": "object"}}


CONVERSATION = [
    {"role": "user", "content": "hi"},
    {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": ""},
            {"type": "text", "text": "x"},
            {"type": "tool_use", "id": "t", "name": "a", "input": {"c": 1}},
        ],
    },
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [TEXT]}, IMAGE]},
]
CHAT = [
    {"role": "system", "content": "Be brief"},
    {"role": "user", "content": "hi"},
    {
        "role": "assistant",
        "content": [{"type": "text", "text": "x"}],
        "tool_calls": [{"id": "t", "type": "function", "function": {"name": "a", "arguments": '{"c":1}'}}],
        "reasoning_content": "hm",
    },
    {"role": "tool", "tool_call_id": "t", "content": "r"},
    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,aa"}}]},
]


@pytest.mark.parametrize("wanted", [{"output_config": {"format": FORMAT}}, {"output_format": FORMAT}])
def test_an_answer_in_a_format_is_asked_of_the_chat(wanted: dict[str, object]) -> None:
    members = {
        "model": "m", "system": [{"type": "text", "text": "Be"}, {"type": "text", "text": " brief"}],
        "messages": CONVERSATION, "tools": TOOLS, "stop_sequences": ["z"], "max_tokens": 5,
        "tool_choice": {"type": "tool", "name": "a", "disable_parallel_tool_use": True},
        "temperature": 0.5, "stream": True, "thinking": {"type": "enabled", "budget_tokens": 9},
    }  # fmt: skip
    function = {"name": "a", "description": "", "parameters": {"type": "object"}}
    schema = {"name": "answer", "schema": {"type": "object"}, "strict": True}

    assert {
        "model": "m", "messages": CHAT, "tools": [{"type": "function", "function": function}],
        "tool_choice": "required", "parallel_tool_calls": False, "stop": ["z"], "max_tokens": 5,
        "temperature": 0.5, "stream": True, "stream_options": {"include_usage": True},
        "thinking_budget_tokens": 9,
    } == json.loads(as_chat(asked(**members, **wanted)))  # fmt: skip

    free = json.loads(as_chat(asked(**members | {"tool_choice": {"type": "auto"}}, **wanted)))
    assert {"type": "json_schema", "json_schema": schema} == free["response_format"]


def test_a_result_with_an_image_keeps_its_parts() -> None:
    result = {"type": "tool_result", "tool_use_id": "t", "content": [TEXT, IMAGE]}
    made = json.loads(as_chat(asked(messages=[{"role": "user", "content": [result]}], output_format=FORMAT)))

    assert [
        {
            "role": "tool",
            "tool_call_id": "t",
            "content": [
                {"type": "text", "text": "r"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,aa"}},
            ],
        }
    ] == made["messages"]


@pytest.mark.parametrize("wanted", [{"type": "text"}, {"type": "json_schema"}, {"schema": {}}])
def test_a_format_that_is_not_a_schema_is_refused(wanted: object) -> None:
    with pytest.raises(RequestError, match="not a JSON schema"):
        asked(messages=HI, output_config={"format": wanted})

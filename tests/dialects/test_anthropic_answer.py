"""Are the engine's answers what Anthropic's clients read: blocks one after another, ids of their kind?"""

import json
from typing import Any

import pytest

from relayd.dialects.anthropic_answer import MessageEvents, MessageNames, MessageWriter, tool_use_id
from relayd.dialects.anthropic_whole import MessageWhole, WholeMessageWriter
from relayd.dialects.chat_answer import ChatEvents, ChatWhole
from relayd.errors import UpstreamError
from tests.dialects.engine import CHAT_CALL, CHAT_THOUGHT, MESSAGE_CALL, MESSAGE_THOUGHT, chat_whole

pytestmark = pytest.mark.pure

NAMES = MessageNames("msg_1", "claude-x")


def events(raw: bytes) -> list[dict[str, Any]]:
    found = []
    for event in raw.decode().split("\n\n")[:-1]:
        name, data = event.split("\n")
        parsed = json.loads(data.removeprefix("data: "))
        assert name == f"event: {parsed['type']}"
        found.append(parsed)
    return found


def mended(raw: bytes, size: int = 10_000) -> list[dict[str, Any]]:
    subject = MessageEvents(NAMES)
    written = b"".join(subject.feed(raw[at : at + size]) for at in range(0, len(raw), size))
    return events(written + subject.end())


def from_chat(raw: bytes) -> list[dict[str, Any]]:
    subject = ChatEvents(MessageWriter(NAMES))
    return events(subject.feed(raw) + subject.end())


def shape(found: list[dict[str, Any]]) -> list[tuple[object, ...]]:
    """Return kind, index and what begins or is added, of each event."""
    return [
        (one["type"], one.get("index"), (one.get("content_block") or one.get("delta") or {}).get("type"))
        for one in found
    ]


THOUGHT = [
    ("message_start", None, None),
    ("content_block_start", 0, "thinking"),
    ("content_block_delta", 0, "thinking_delta"),
    ("content_block_delta", 0, "thinking_delta"),
    ("content_block_delta", 0, "signature_delta"),
    ("content_block_stop", 0, None),
    ("content_block_start", 1, "text"),
    ("content_block_delta", 1, "text_delta"),
    ("content_block_delta", 1, "text_delta"),
    ("content_block_stop", 1, None),
    ("message_delta", None, None),
    ("message_stop", None, None),
]


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_each_block_ends_before_the_next_begins(size: int) -> None:
    assert THOUGHT == shape(mended(MESSAGE_THOUGHT, size))


def test_a_chat_answer_becomes_the_same_events() -> None:
    assert THOUGHT == shape(from_chat(CHAT_THOUGHT))


@pytest.mark.parametrize("found", [mended(MESSAGE_THOUGHT), from_chat(CHAT_THOUGHT)])
def test_text_and_reasoning_are_complete(found: list[dict[str, Any]]) -> None:
    deltas = [one["delta"] for one in found if one["type"] == "content_block_delta"]

    assert "I am thinking" == "".join(one.get("thinking", "") for one in deltas)
    assert "All done" == "".join(one.get("text", "") for one in deltas)


def test_a_message_begins_with_its_own_id_and_the_name_that_was_asked_for() -> None:
    first = mended(MESSAGE_THOUGHT)[0]["message"]

    assert ("msg_1", "claude-x", [], "assistant") == (
        first["id"],
        first["model"],
        first["content"],
        first["role"],
    )
    assert {"cache_read_input_tokens": 0, "input_tokens": 26, "output_tokens": 0} == first["usage"]


@pytest.mark.parametrize("found", [mended(MESSAGE_CALL), from_chat(CHAT_CALL)])
def test_a_call_has_an_id_of_its_kind_and_its_arguments(found: list[dict[str, Any]]) -> None:
    (block,) = [one["content_block"] for one in found if one["type"] == "content_block_start"]
    pieces = [one["delta"]["partial_json"] for one in found if one["type"] == "content_block_delta"]

    assert {"type": "tool_use", "id": "toolu_5XmQ", "name": "get_weather", "input": {}} == block
    assert {"city": "Paris"} == json.loads("".join(pieces))
    assert "tool_use" == found[-2]["delta"]["stop_reason"]
    assert "toolu_5XmQ" == tool_use_id("toolu_5XmQ")


def end_of(delta: str) -> bytes:
    return MESSAGE_CALL.replace(b'{"stop_reason":"tool_use","stop_sequence":null}', delta.encode())


@pytest.mark.parametrize(
    ("delta", "reason"),
    [
        ('{"stop_reason":"end_turn","stop_sequence":"tiny"}', ("stop_sequence", "tiny")),
        ('{"stop_reason":"max_tokens","stop_sequence":null}', ("max_tokens", None)),
    ],
)
def test_the_reason_of_the_end_is_right(delta: str, reason: tuple[str, str | None]) -> None:
    last = mended(end_of(delta))[-2]["delta"]

    assert reason == (last["stop_reason"], last["stop_sequence"])


def test_a_stream_whose_beginning_is_missing_gets_one() -> None:
    """The engine writes `message_start` with the first token only, which may make no text."""
    raw = MESSAGE_THOUGHT[MESSAGE_THOUGHT.index(b"event: message_delta") :]

    assert ["message_start", "message_delta", "message_stop"] == [one["type"] for one in mended(raw)]


def test_comments_and_pings_pass() -> None:
    for subject in (MessageEvents(NAMES), ChatEvents(MessageWriter(NAMES))):
        assert b":\n\n" == subject.feed(b":\n\n")
    ping = b'event: ping\ndata: {"type":"ping"}\n\n'
    assert ping in MessageEvents(NAMES).feed(MESSAGE_THOUGHT[:400].partition(b"\n\n")[0] + b"\n\n" + ping)


def test_the_engines_own_error_inside_of_a_stream_keeps_its_message() -> None:
    """It is not within an `error`, as it is elsewhere."""
    mended = MessageEvents(NAMES)
    error = b'{"code":500,"message":"got exception: why","type":"server_error"}'

    out = mended.feed(MESSAGE_THOUGHT.partition(b"\n\n")[0] + b"\n\nevent: error\ndata: " + error + b"\n\n")

    last = events(out + mended.end())[-1]
    assert {"type": "error", "error": {"type": "api_error", "message": "got exception: why"}} == last


def test_an_error_inside_of_a_stream_ends_it_in_this_form() -> None:
    chat, message = ChatEvents(MessageWriter(NAMES)), MessageEvents(NAMES)
    error = b'{"error":{"code":500,"type":"server_error","message":"why"}}'
    written = [
        chat.feed(CHAT_THOUGHT.partition(b"\n\n")[0] + b"\n\ndata: " + error + b"\n\n"),
        message.feed(b"event: error\ndata: " + error + b"\n\n"),
    ]

    for one in written:
        assert {"type": "error", "error": {"type": "api_error", "message": "why"}} == events(one)[-1]
    assert b"" == chat.end() == message.end()


@pytest.mark.parametrize("subject", [MessageEvents(NAMES), ChatEvents(MessageWriter(NAMES))])
def test_a_stream_without_its_last_event_is_not_complete(subject: MessageEvents | ChatEvents) -> None:
    subject.feed(MESSAGE_THOUGHT[:500])

    with pytest.raises(UpstreamError, match="before its last event"):
        subject.end()


@pytest.mark.parametrize(
    ("subject", "data"),
    [
        (MessageEvents(NAMES), b"{"),
        (MessageEvents(NAMES), b'{"type":1}'),
        (ChatEvents(MessageWriter(NAMES)), b"{"),
        (ChatEvents(MessageWriter(NAMES)), b'{"choices":1}'),
    ],
)
def test_an_event_that_cannot_be_read_is_the_replicas_fault(
    subject: MessageEvents | ChatEvents, data: bytes
) -> None:
    with pytest.raises(UpstreamError, match="cannot be read"):
        subject.feed(b"data: %b\n\n" % data)


def test_a_whole_message_is_mended() -> None:
    subject = MessageWhole(NAMES)
    message: dict[str, Any] = {
        "id": "chatcmpl-1", "type": "message", "role": "assistant", "model": "m",
        "content": [{"type": "text", "text": "x"}, {"type": "tool_use", "id": "a", "name": "f", "input": {}}],
        "stop_reason": "end_turn", "stop_sequence": "tiny", "usage": {"input_tokens": 1, "output_tokens": 2},
    }  # fmt: skip

    assert b"" == subject.feed(json.dumps(message).encode()[:20])
    subject.feed(json.dumps(message).encode()[20:])

    assert message | {
        "id": "msg_1", "model": "claude-x", "stop_reason": "stop_sequence",
        "content": [message["content"][0], {"type": "tool_use", "id": "toolu_a", "name": "f", "input": {}}],
    } == json.loads(subject.end())  # fmt: skip


def test_a_whole_chat_answer_becomes_a_message() -> None:
    subject = ChatWhole(WholeMessageWriter(NAMES))
    subject.feed(chat_whole(reasoning="hm", text="x", arguments='{"a":1}', reason="tool_calls"))

    assert {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": ""},
            {"type": "text", "text": "x"},
            {"type": "tool_use", "id": "toolu_c1", "name": "f", "input": {"a": 1}},
        ],
        "stop_reason": "tool_use", "stop_sequence": None,
        "usage": {"input_tokens": 5, "cache_read_input_tokens": 2, "output_tokens": 3},
    } == json.loads(subject.end())  # fmt: skip


@pytest.mark.parametrize("subject", [MessageWhole(NAMES), ChatWhole(WholeMessageWriter(NAMES))])
def test_a_whole_answer_that_cannot_be_read_is_the_replicas_fault(subject: MessageWhole | ChatWhole) -> None:
    subject.feed(b"[]")

    with pytest.raises(UpstreamError):
        subject.end()


@pytest.mark.parametrize("text", ["plain", 'says "id":"x" and "model":"y"', "\\", 'a \\" b', "stop_sequence"])
@pytest.mark.parametrize("name", ["msg_1", 'odd "name" \\1 \\g<0>'])
def test_a_message_of_text_is_renamed_as_one_that_is_read_whole(text: str, name: str) -> None:
    message = {
        "id": "chatcmpl-1", "type": "message", "role": "assistant",
        "content": [{"type": "text", "text": text}],
        "model": 'qwen"', "stop_reason": "end_turn", "stop_sequence": None, "usage": {"input_tokens": 1},
    }  # fmt: skip
    answer = MessageWhole(MessageNames(name, name))
    answer.feed(json.dumps(message, separators=(",", ":")).encode())

    assert message | {"id": name, "model": name} == json.loads(answer.end())

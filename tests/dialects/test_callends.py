"""Are the arguments of every call JSON when they leave, whole or streamed?"""

import json
from typing import Any

import pytest

from relayd.dialects.anthropic_answer import MessageEvents, MessageNames, MessageWriter
from relayd.dialects.callends import CompletedCalls, CompletedCallsWhole
from relayd.dialects.chat_answer import ChatEvents
from relayd.dialects.onecall import OneCallEvents
from relayd.dialects.plaintext import answer_of, completion_of, rendering_of

pytestmark = pytest.mark.pure


def piece(arguments: str, index: int = 0, **more: Any) -> dict[str, Any]:
    return {"tool_calls": [{"index": index, "function": {"arguments": arguments}, **more}]}


def chunk(delta: dict[str, Any], reason: str | None = None) -> bytes:
    choice = {"finish_reason": reason, "index": 0, "delta": delta}
    return b"data: %b\n\n" % json.dumps({"choices": [choice], "id": "c"}, separators=(",", ":")).encode()


def stream(*arguments: str, reason: str = "length") -> bytes:
    begun = {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "t", "arguments": ""}}]}
    return b"".join((chunk(begun), *(chunk(piece(one)) for one in arguments), chunk({}, reason), DONE))


DONE = b"data: [DONE]\n\n"


def called(raw: bytes) -> str:
    deltas = [
        json.loads(one[6:])["choices"][0]["delta"] for one in raw.split(b"\n\n") if one.startswith(b"data: {")
    ]
    return "".join(
        call["function"].get("arguments", "") for delta in deltas for call in delta.get("tool_calls", ())
    )


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_a_cut_call_is_completed_before_the_event_that_ends_the_answer(size: int) -> None:
    raw, translation = stream('{"a": ', '"x'), CompletedCalls()
    shown = b"".join(translation.feed(raw[at : at + size]) for at in range(0, len(raw), size))
    assert '{"a": "x"}' == called(shown)
    assert shown.endswith(chunk({}, "length") + DONE)


def test_a_whole_call_passes_as_it_came() -> None:
    raw = stream('{"a": 1}', reason="tool_calls")
    assert raw == CompletedCalls().feed(raw) == CompletedCalls(OneCallEvents()).feed(raw)


def test_text_passes_as_it_came() -> None:
    raw = chunk({"content": "hi"}) + chunk({}, "stop") + DONE
    assert raw == CompletedCalls().feed(raw)


def test_a_stream_whose_end_cannot_be_read_ends_with_what_was_read() -> None:
    error = {"error": {"message": "The model produced output that does not match the expected x format"}}
    failure = b"data: %b\n\n" % json.dumps(error, separators=(",", ":")).encode()
    shown = CompletedCalls().feed(chunk({"role": "assistant"}) + chunk({"content": "hi"}) + failure)
    assert b"error" not in shown
    assert b'"finish_reason":"stop"' in shown
    assert shown.endswith(DONE)
    nothing = chunk({"role": "assistant"}) + failure
    assert nothing == CompletedCalls().feed(nothing)


def test_a_whole_answer_has_complete_calls() -> None:
    calls = [{"id": "a", "function": {"name": "t", "arguments": '{"a": [1'}}]
    answer = {"choices": [{"message": {"tool_calls": calls}, "finish_reason": "length"}]}
    translation = CompletedCallsWhole()
    translation.feed(json.dumps(answer).encode())
    shown = json.loads(translation.end())
    assert shown["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"] == '{"a": [1]}'


def inputs(raw: bytes) -> str:
    events = [json.loads(part.partition(b"data: ")[2]) for part in raw.split(b"\n\n") if part]
    return "".join(one.get("delta", {}).get("partial_json", "") for one in events)


def test_a_cut_call_is_completed_for_clients_of_anthropic() -> None:
    writer = MessageWriter(MessageNames("msg_1", "m"))
    shown = ChatEvents(writer).feed(stream('{"a": ', "tr"))
    assert '{"a": true}' == inputs(shown)
    assert shown.index(b'"partial_json":"ue}"') < shown.index(b"content_block_stop")


def test_a_cut_call_is_completed_in_the_engines_own_messages() -> None:
    def event(kind: str, **members: Any) -> bytes:
        data = json.dumps({"type": kind, **members}, separators=(",", ":"))
        return f"event: {kind}\ndata: {data}\n\n".encode()

    block = {"type": "tool_use", "id": "x", "name": "t"}
    argue = [{"type": "input_json_delta", "partial_json": one} for one in ('{"a"', ': "x')]
    raw = b"".join((
        event("message_start", message={"usage": {}}),
        event("content_block_start", index=0, content_block=block),
        *(event("content_block_delta", index=0, delta=one) for one in argue),
        event("content_block_stop", index=0),
        event("message_delta", delta={"stop_reason": "max_tokens", "stop_sequence": None}, usage={}),
        event("message_stop"),
    ))  # fmt: skip
    assert '{"a": "x"}' == inputs(MessageEvents(MessageNames("msg_1", "m")).feed(raw))


COMPLETED = json.dumps(
    {"content": "hi", "stop_type": "eos", "timings": {"cache_n": 1, "prompt_n": 2, "predicted_n": 3}}
).encode()


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
def test_a_text_becomes_an_answer_of_the_engine_in_each_form(path: str, stream: bool) -> None:
    raw = answer_of(path, "m", COMPLETED, 7, stream=stream)
    if path == "/v1/messages":
        shown = MessageEvents(MessageNames("msg_1", "m")).feed(raw) if stream else raw
        assert b'"text":"hi"' in shown
        assert b'"stop_reason":"end_turn"' in shown
        assert b'"cache_read_input_tokens":1' in shown
    else:
        assert b'"content":"hi"' in raw
        assert b'"cached_tokens":1' in raw
        assert stream is raw.endswith(DONE)


def test_the_prompt_of_a_chat_is_completed_with_its_own_sampling() -> None:
    chat = {"messages": [{"role": "user", "content": "x"}], "tools": [], "max_tokens": 5, "temperature": 0.1}
    body = json.dumps(chat).encode()
    rendering = rendering_of("/v1/chat/completions", body)
    assert rendering is not None
    assert json.loads(rendering) == {"messages": chat["messages"], "tools": []}
    completion = completion_of(body, b'{"prompt":"<x>"}')
    assert completion is not None
    expected = {"prompt": "<x>", "n_predict": 5, "temperature": 0.1, "stream": True}
    assert expected == json.loads(completion)


def test_pictures_are_not_made_text() -> None:
    body = b'{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:,"}}]}]}'
    assert rendering_of("/v1/chat/completions", body) is None

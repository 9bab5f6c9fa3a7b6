"""Is a second tool call left out where a request allows one, and nothing else?"""

import json
from typing import Any

import pytest

from relayd.dialects.anthropic_answer import MessageEvents, MessageNames
from relayd.dialects.anthropic_whole import MessageWhole, WholeMessageWriter
from relayd.dialects.chat_answer import AnswerCost
from relayd.dialects.onecall import OneCallEvents, OneCallWhole

pytestmark = pytest.mark.pure

ONE = MessageNames("msg_1", "qwen", one_call=True)


def _chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
    return (
        b"data: " + json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}).encode()
    )


def _piece(index: int, arguments: str) -> dict[str, Any]:
    return {"tool_calls": [{"index": index, "function": {"arguments": arguments}}]}


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_a_stream_keeps_the_first_call_and_every_other_event(size: int) -> None:
    kept = [_chunk({"content": "a"}), _chunk(_piece(0, "{")), _chunk(_piece(0, "}"))]
    last = [_chunk({}, "tool_calls"), b"data: [DONE]"]
    stream = b"".join(one + b"\n\n" for one in [*kept, _chunk(_piece(1, "{}")), _chunk(_piece(2, "")), *last])
    answer = OneCallEvents()

    written = (
        b"".join(answer.feed(stream[at : at + size]) for at in range(0, len(stream), size)) + answer.end()
    )

    assert b"".join(one + b"\n\n" for one in [*kept, *last]) == written


def test_a_chunk_of_two_calls_keeps_the_first() -> None:
    both = {"tool_calls": [_piece(0, "{}")["tool_calls"][0], _piece(1, "{}")["tool_calls"][0]]}

    written = OneCallEvents().feed(_chunk(both, "tool_calls") + b"\n\n")

    assert _piece(0, "{}") == json.loads(written[6:])["choices"][0]["delta"]


def test_the_last_usage_stays_although_its_call_goes() -> None:
    choice = b'{"index":0,"delta":{"tool_calls":[{"index":1}]}}'
    event = b'data: {"choices":[%b],"usage":{"prompt_tokens":1}}\n\n' % choice

    assert b'"prompt_tokens":1' in OneCallEvents().feed(event)


@pytest.mark.parametrize("calls", [[], [{"id": "a"}], [{"id": "a"}, {"id": "b"}, {"id": "c"}]])
def test_a_whole_answer_keeps_the_first_call_of_each_choice(calls: list[dict[str, str]]) -> None:
    body = {"choices": [{"message": {"tool_calls": calls}}, {"message": {"content": "x"}}]}
    answer = OneCallWhole()
    answer.feed(json.dumps(body).encode())

    choices = json.loads(answer.end())["choices"]

    assert calls[:1] == choices[0]["message"].get("tool_calls", [])
    assert {"content": "x"} == choices[1]["message"]


def _event(kind: str, **members: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **members})}\n\n".encode()


def test_a_stream_of_messages_keeps_the_first_tool() -> None:
    def tool(index: int) -> bytes:
        block = {"type": "tool_use", "id": f"t{index}", "name": "f", "input": {}}
        delta = {"type": "input_json_delta", "partial_json": f'{{"n":{index}}}'}
        return (
            _event("content_block_start", index=index, content_block=block)
            + _event("content_block_delta", index=index, delta=delta)
            + _event("content_block_stop", index=index)
        )

    end = _event("message_delta", delta={"stop_reason": "tool_use", "stop_sequence": None}, usage={})
    answer = MessageEvents(ONE)

    written = answer.feed(_event("message_start", message={"usage": {}}) + tool(0) + tool(1) + tool(2) + end)

    assert 1 == written.count(b'"content_block_start"')
    assert (1, 0) == (written.count(rb"{\"n\":0}"), written.count(rb"{\"n\":1}"))
    assert 1 == written.count(b'"content_block_stop"')


def test_so_does_a_whole_message() -> None:
    content = [{"type": "text", "text": "x"}, *({"type": "tool_use", "id": name} for name in "ab")]
    answer = MessageWhole(ONE)
    answer.feed(json.dumps({"content": content}).encode())

    assert ["text", "tool_use"] == [block["type"] for block in json.loads(answer.end())["content"]]


def test_so_does_a_message_made_of_a_chat() -> None:
    writer = WholeMessageWriter(ONE)
    for name in ("f", "g"):
        writer.call(name, name)
        writer.argue(json.dumps({"of": name}))
    writer.finish("tool_calls", AnswerCost())

    (block,) = json.loads(writer.take())["content"]

    assert ("f", {"of": "f"}) == (block["name"], block["input"])

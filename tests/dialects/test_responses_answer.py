"""Can a typed client follow a response: numbers, indices and complete items, one after another?"""

import json
from typing import Any

import pytest

from relayd.dialects.chat_answer import ChatEvents, ChatWhole
from relayd.dialects.responses_answer import ResponseHead, ResponseWriter
from relayd.dialects.responses_request import ECHOED
from relayd.dialects.responses_tools import OfferedFunction
from tests.dialects.engine import CHAT_THOUGHT, chat_call, chat_text, chat_whole

pytestmark = pytest.mark.pure

CALLS = chat_call(
    ("call_a", "f", ("{", "}")), ("b", "n__g", ('{"x":1}',)), ("c", "patch", ('{"input":', '"+x"}'))
)
KNOWN = {
    "f": OfferedFunction("f"), "n__g": OfferedFunction("g", "n"),
    "patch": OfferedFunction("patch", custom=True),
}  # fmt: skip


def head(**values: Any) -> ResponseHead:
    echo = {**ECHOED, **values.pop("echo", {})}
    return ResponseHead("resp_ab", 7, "m", echo, KNOWN, **values)


def events(raw: bytes, **values: Any) -> list[dict[str, Any]]:
    subject = ChatEvents(ResponseWriter(head(**values), stream=True))
    return parsed(subject.feed(raw) + subject.end())


def parsed(written: bytes) -> list[dict[str, Any]]:
    found = []
    for event in written.decode().split("\n\n")[:-1]:
        name, data = event.split("\n")
        found.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {found[-1]['type']}"
    return found


def kinds(found: list[dict[str, Any]]) -> list[str]:
    return [one["type"].removeprefix("response.") for one in found]


TEXT = [
    "output_item.added", "content_part.added", "output_text.delta", "output_text.delta", "output_text.done",
    "content_part.done", "output_item.done",
]  # fmt: skip
REASONING = [
    "output_item.added", "content_part.added", "reasoning_text.delta", "reasoning_text.delta",
    "reasoning_text.done", "content_part.done", "output_item.done",
]  # fmt: skip
SUMMARY = [
    "output_item.added", "reasoning_summary_part.added", "reasoning_summary_text.delta",
    "reasoning_summary_text.delta", "reasoning_summary_text.done", "reasoning_summary_part.done",
    "output_item.done",
]  # fmt: skip


@pytest.mark.parametrize(("summarizes", "reasoning"), [(False, REASONING), (True, SUMMARY)])
def test_an_item_is_complete_before_the_next_begins(summarizes: bool, reasoning: list[str]) -> None:
    found = events(CHAT_THOUGHT, summarizes=summarizes)

    assert ["created", "in_progress", *reasoning, *TEXT, "completed"] == kinds(found)


@pytest.mark.parametrize("raw", [CHAT_THOUGHT, CALLS, chat_text("a", "b")])
def test_every_event_has_its_number_and_its_indices(raw: bytes) -> None:
    found = events(raw)

    assert list(range(len(found))) == [one["sequence_number"] for one in found]
    for one in found[2:-1]:
        assert isinstance(one["output_index"], int)
        if one["type"] not in ("response.output_item.added", "response.output_item.done"):
            item = next(
                x["item"] for x in found if x.get("output_index") == one["output_index"] and "item" in x
            )
            assert item["id"] == one["item_id"]
        if "content_part" in one["type"] or "_text" in one["type"]:
            assert 0 == one["content_index"]


@pytest.mark.parametrize("raw", [CHAT_THOUGHT, CALLS, chat_text("a", "b")])
def test_the_events_build_the_response_that_ends_them(raw: bytes) -> None:
    found = events(raw)

    assert [one["item"] for one in found if one["type"] == "response.output_item.done"] == found[-1][
        "response"
    ]["output"]
    for one in found:
        if one["type"] == "response.output_text.done":
            deltas = [x for x in found if x["type"] == "response.output_text.delta"]
            assert one["text"] == "".join(x["delta"] for x in deltas)


def test_the_response_is_whole_from_its_first_event_on() -> None:
    first, last = events(CHAT_THOUGHT)[0]["response"], events(CHAT_THOUGHT)[-1]["response"]

    assert {*ECHOED, "id"} <= first.keys() == last.keys()
    assert ("response", 7, "m", "in_progress", []) == tuple(
        first[name] for name in ("object", "created_at", "model", "status", "output")
    )
    assert ("completed", None, None) == (last["status"], last["error"], last["incomplete_details"])
    assert {
        "input_tokens": 26, "input_tokens_details": {"cached_tokens": 7}, "output_tokens": 8,
        "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 34,
    } == last["usage"]  # fmt: skip


def test_calls_are_named_as_the_client_knows_them() -> None:
    found = events(CALLS)
    output = found[-1]["response"]["output"]

    assert [
        {"id": "fc_ab00", "type": "function_call", "status": "completed", "call_id": "call_a", "name": "f",
         "arguments": "{}"},
        {"id": "fc_ab01", "type": "function_call", "status": "completed", "call_id": "call_b", "name": "g",
         "namespace": "n", "arguments": '{"x":1}'},
        {"id": "ctc_ab02", "type": "custom_tool_call", "status": "completed", "call_id": "call_c",
         "name": "patch", "input": "+x"},
    ] == output  # fmt: skip
    assert [
        "output_item.added", "function_call_arguments.delta", "function_call_arguments.delta",
        "function_call_arguments.done", "output_item.done",
    ] == kinds(found)[2:7]  # fmt: skip
    done = [one for one in found if one["type"] == "response.function_call_arguments.done"]
    assert [("f", "{}"), ("g", '{"x":1}')] == [(one["name"], one["arguments"]) for one in done]
    assert {"custom_tool_call_input.delta", "custom_tool_call_input.done"} <= set(kinds(found))


def test_a_second_call_is_left_out_where_only_one_is_read() -> None:
    output = events(CALLS, echo={"parallel_tool_calls": False})[-1]["response"]["output"]

    assert ["call_a"] == [one["call_id"] for one in output]


def test_an_answer_that_was_cut_is_incomplete() -> None:
    last = events(chat_text("a", reason="length"))[-1]

    assert "response.incomplete" == last["type"]
    assert ("incomplete", {"reason": "max_output_tokens"}, "incomplete") == (
        last["response"]["status"], last["response"]["incomplete_details"],
        last["response"]["output"][0]["status"],
    )  # fmt: skip


def test_an_error_within_a_stream_is_a_failed_response() -> None:
    writer = ResponseWriter(head(), stream=True)
    subject = ChatEvents(writer)
    begun = parsed(subject.feed(chat_text("a").partition(b"data: [DONE]")[0][:-400]))
    writer.fail("upstream_failed", "why")
    last = parsed(writer.take())[-1]

    assert len(begun) < last["sequence_number"] + 1
    assert ("response.failed", "failed") == (last["type"], last["response"]["status"])
    assert {"code": "upstream_failed", "message": "why"} == last["response"]["error"]


def test_an_error_before_any_event_is_preceded_by_the_first() -> None:
    writer = ResponseWriter(head(), stream=True)

    writer.fail("", "why")

    assert ["created", "in_progress", "failed"] == kinds(parsed(writer.take()))


def test_reasoning_that_a_client_keeps_has_the_member_it_looks_for() -> None:
    reasoning = events(CHAT_THOUGHT, encrypted=True)[-1]["response"]["output"][0]

    assert ("", "reasoning") == (reasoning["encrypted_content"], reasoning["type"])
    assert "encrypted_content" not in events(CHAT_THOUGHT)[-1]["response"]["output"][0]


def test_a_whole_answer_is_the_object_alone() -> None:
    ended: list[dict[str, Any]] = []
    subject = ChatWhole(ResponseWriter(head(on_end=ended.append), stream=False))
    subject.feed(chat_whole(reasoning="hm", text="x", arguments="{}", reason="tool_calls"))

    response = json.loads(subject.end())

    assert ["reasoning", "message", "function_call"] == [one["type"] for one in response["output"]]
    assert "x" == response["output"][1]["content"][0]["text"]
    assert ("completed", 10) == (response["status"], response["usage"]["total_tokens"])
    assert [response] == ended


def test_arguments_of_a_custom_tool_that_are_cut_hold_what_came_of_its_input() -> None:
    output = events(chat_call(("c", "patch", ('{"input": "*** Beg',)), cut=True))[-1]["response"]["output"]

    assert "*** Beg" == output[0]["input"]


def test_a_response_has_the_time_of_its_end_once_it_is_complete() -> None:
    found = events(chat_text("a"), now=lambda: 9.5)

    assert (None, 9) == (found[0]["response"]["completed_at"], found[-1]["response"]["completed_at"])
    assert events(chat_text("a", reason="length"), now=lambda: 9.5)[-1]["response"]["completed_at"] is None


def test_a_client_that_asks_for_them_gets_the_figures_of_the_engine() -> None:
    writer = ResponseWriter(head(), stream=True)
    subject = ChatEvents(writer, writer.measure)
    progress, timings = {"total": 9, "processed": 4}, {"predicted_per_second": 2.5}
    raw = b"".join(
        b"data: %b\n\n" % json.dumps(one).encode()
        for one in (
            {"choices": [{"delta": {"role": "assistant"}}], "prompt_progress": progress},
            {"choices": [{"delta": {"content": "a"}}], "timings": timings},
            {"choices": [{"delta": {}, "finish_reason": "stop"}], "timings": timings},
        )
    )

    found = parsed(subject.feed(raw + b"data: [DONE]\n\n") + subject.end())

    assert list(range(len(found))) == [one["sequence_number"] for one in found]
    assert [("response.in_progress", progress)] == [
        (one["type"], one["prompt_progress"]) for one in found if "prompt_progress" in one
    ]
    assert ["response.output_text.delta", "response.completed"] == [
        one["type"] for one in found if one.get("timings") == timings
    ]

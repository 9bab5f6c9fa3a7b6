"""Is a plain answer that comes together from a stream the one that the engine would have given?

`test_collected_with_engine.py` compares both with the real engine; here the stream comes in every piece.
"""

import json
from collections.abc import Callable
from typing import Any

import pytest

from relayd.errors import UpstreamError
from relayd.router.collect import Collector, FailureCollector, begins_with_failure
from relayd.router.collectors import ChatCollector, NativeCollector, TextCollector
from relayd.router.message_collector import MessageCollector
from tests.dialects.engine import CHAT_THOUGHT, MESSAGE_CALL, MESSAGE_THOUGHT, chat_call, chat_text
from tests.fakes.replica import chunk

pytestmark = pytest.mark.pure

TEXT = "Grüße, 世界 😀"
PROGRESS = {"total": 900, "cache": 0, "processed": 512, "time_ms": 70}


def events(*data: dict[str, Any], end: bytes = b"") -> bytes:
    lines = (f"data: {json.dumps(one, ensure_ascii=False, separators=(',', ':'))}\n\n" for one in data)
    return "".join(lines).encode() + end


def text_event(text: str, reason: str | None = None, **more: object) -> dict[str, Any]:
    choice = {"text": text, "index": 0, "logprobs": None, "finish_reason": reason}
    return {"choices": [choice], "created": 1, "id": "c", "model": "m", "system_fingerprint": "b", **more}


DONE = b"data: [DONE]\n\n"
TEXT_STREAM = events(
    *map(text_event, TEXT),
    text_event("", "length", usage={"total_tokens": 9}, timings={"prompt_n": 2}),
    end=DONE,
)
NATIVE_STREAM = events(
    {"content": "", "tokens": [0], "stop": False, "prompt_progress": PROGRESS},
    *({"content": letter, "tokens": [7], "stop": False} for letter in TEXT),
    {
        "content": "", "tokens": [], "stop": True, "tokens_predicted": 12, "timings": {"prompt_n": 2},
        "generation_settings": {"grammar": '"stream":true', "stream": True},
    },
)  # fmt: skip
STREAMS: dict[str, tuple[Callable[[], Collector], bytes]] = {
    "chat": (ChatCollector, chat_text(*TEXT, reason="length")),
    "chat with reasoning": (ChatCollector, CHAT_THOUGHT),
    "chat with calls": (ChatCollector, chat_call(("a", "f", ("{", "}")), ("b", "g", ("{}",)))),
    "text": (TextCollector, TEXT_STREAM),
    "native": (NativeCollector, NATIVE_STREAM),
    "message with reasoning": (MessageCollector, MESSAGE_THOUGHT),
    "message with a call": (MessageCollector, MESSAGE_CALL),
}
EACH = pytest.mark.parametrize(("make", "stream"), STREAMS.values(), ids=STREAMS)


def collected(collector: Collector, *pieces: bytes) -> dict[str, Any]:
    for piece in pieces:
        collector.feed(piece)
    answer: dict[str, Any] = json.loads(collector.finish())
    return answer


@EACH
def test_an_answer_does_not_depend_on_how_its_stream_is_cut(
    make: Callable[[], Collector], stream: bytes
) -> None:
    expected = collected(make(), stream)

    for at in range(1, len(stream)):
        assert expected == collected(make(), stream[:at], stream[at:])
    assert expected == collected(make(), *(stream[at : at + 1] for at in range(len(stream))))


@EACH
def test_an_answer_does_not_depend_on_when_its_events_are_read(
    make: Callable[[], Collector], stream: bytes
) -> None:
    collector = make()
    for at in range(len(stream)):
        collector.feed(stream[at : at + 1])
        collector.fold()

    assert collected(make(), stream) == json.loads(collector.finish())


@EACH
def test_an_answer_whose_stream_lacks_its_end_is_refused(
    make: Callable[[], Collector], stream: bytes
) -> None:
    for at in range(len(stream) - 1):
        collector = make()
        collector.feed(stream[:at])
        with pytest.raises(UpstreamError, match="before its last event"):
            collector.finish()


@EACH
def test_comments_between_events_change_nothing(make: Callable[[], Collector], stream: bytes) -> None:
    commented = b":\n\n" + stream.replace(b"\n\n", b"\n\n:\n\n")

    assert collected(make(), stream) == collected(make(), commented)


@EACH
def test_an_answer_goes_on_in_a_second_stream_behind_what_came_of_the_first(
    make: Callable[[], Collector], stream: bytes
) -> None:
    whole, collector = collected(make(), stream), make()
    end = stream.index(b"\n\n", len(stream) // 2) + 2

    collector.feed(stream[:end] + stream[end : end + 20])
    collector.cut()
    collector.feed(stream[end:])

    assert whole == json.loads(collector.finish())


def test_what_was_collected_is_known_before_the_end() -> None:
    collector = ChatCollector()
    collector.feed(CHAT_THOUGHT[: CHAT_THOUGHT.index(b" done")])
    collector.cut()
    calling = ChatCollector()
    calling.feed(chat_call(("a", "f", ("{", "}")))[:600])
    calling.fold()
    native = NativeCollector()
    native.feed(NATIVE_STREAM)
    native.fold()

    assert ("I am thinking", "All") == (collector.reasoning, collector.text)
    assert (False, True) == (collector.has_called, calling.has_called)
    assert (TEXT, (7,) * len(TEXT)) == (native.text, native.tokens)


def test_a_chat_has_the_members_of_a_plain_one_in_their_order() -> None:
    answer = collected(ChatCollector(), chat_call(("a", "f", ("{", "}")), ("", "g", ("",))))
    message = answer["choices"][0]["message"]

    assert [
        "choices", "created", "model", "system_fingerprint", "object", "usage", "id", "timings",
    ] == list(answer)  # fmt: skip
    assert ["role", "content", "tool_calls"] == list(message)
    assert "chat.completion" == answer["object"]
    assert [
        {"type": "function", "function": {"name": "f", "arguments": "{}"}, "id": "a"},
        {"type": "function", "function": {"name": "g", "arguments": ""}},
    ] == message["tool_calls"]


@pytest.mark.parametrize("form", ["chat", "text"])
def test_what_a_verbose_engine_adds_is_as_in_a_plain_answer(form: str) -> None:
    make, stream = STREAMS[form]
    added = b'data: {"__verbose":{"content":"","generation_settings":{"stream":true},"prompt":"<s> hi"},'

    answer = collected(make(), stream.replace(b"data: {", added))

    assert ["usage", "id", "__verbose", "timings"] == list(answer)[-4:]
    assert {"content": TEXT, "generation_settings": {"stream": False}, "prompt": "<s> hi"} == answer[
        "__verbose"
    ]


def test_a_text_is_whole_and_has_its_usage() -> None:
    answer = collected(TextCollector(), TEXT_STREAM)

    assert [text_event(TEXT, "length")["choices"][0]] == answer["choices"]
    assert ({"total_tokens": 9}, {"prompt_n": 2}) == (answer["usage"], answer["timings"])


def test_a_native_answer_is_its_last_event_with_all_of_the_text_and_says_that_it_was_plain() -> None:
    answer = collected(NativeCollector(), NATIVE_STREAM)

    assert (TEXT, [], 12) == (answer["content"], answer["tokens"], answer["tokens_predicted"])
    assert {"grammar": '"stream":true', "stream": False} == answer["generation_settings"]


def test_a_message_has_its_blocks_and_the_usage_of_its_beginning_and_its_end() -> None:
    thought, call = (collected(MessageCollector(), one) for one in (MESSAGE_THOUGHT, MESSAGE_CALL))

    assert [
        {"type": "thinking", "thinking": "I am thinking", "signature": ""},
        {"type": "text", "text": "All done"},
    ] == thought["content"]
    assert {"cache_read_input_tokens": 0, "input_tokens": 26, "output_tokens": 9} == thought["usage"]
    assert [{"type": "tool_use", "id": "5XmQ", "name": "get_weather", "input": {"city": "Paris"}}] == call[
        "content"
    ]


def test_a_message_whose_call_was_cut_off_has_no_input_as_a_plain_one() -> None:
    cut = MESSAGE_CALL.replace(b' \\"Paris\\"}', b' \\"Par')

    assert [{}] == [block["input"] for block in collected(MessageCollector(), cut)["content"]]


FAILURE = {"code": 500, "message": "got exception: std::bad_alloc", "type": "server_error"}
FAILURES: dict[str, tuple[Callable[[], Collector], bytes, bytes]] = {
    "chat": (ChatCollector, chat_text("a", "b"), events({"error": FAILURE})),
    "text": (TextCollector, TEXT_STREAM, events({"error": FAILURE})),
    "native": (NativeCollector, NATIVE_STREAM, events({"error": FAILURE})),
    "message": (MessageCollector, MESSAGE_THOUGHT, b"event: error\n" + events(FAILURE)),
}


@pytest.mark.parametrize(("make", "stream", "failure"), FAILURES.values(), ids=FAILURES)
def test_an_error_in_the_stream_is_the_problem_that_the_plain_request_would_have_had(
    make: Callable[[], Collector], stream: bytes, failure: bytes
) -> None:
    collector = make()
    collector.feed(stream[: stream.index(b"\n\n") + 2] + failure)
    collector.fold()

    at_once = FailureCollector()
    at_once.feed(failure)
    at_once.fold()
    assert collector.problem == at_once.problem
    assert collector.problem is not None
    assert (500, FAILURE["message"]) == (collector.problem.status, collector.problem.message)
    assert [True, False] == [begins_with_failure(chunk(one)) for one in (failure, stream)]


def test_an_event_that_is_no_json_or_of_another_shape_is_an_error_of_the_replica() -> None:
    for wrong in (b"data: {\n\n", b'data: {"choices":7}\n\n', b'data: {"error":7}\n\n'):
        collector = ChatCollector()
        collector.feed(wrong)
        with pytest.raises(UpstreamError, match="cannot be read"):
            collector.finish()


def test_an_event_as_long_as_its_prompt_is_joined_a_few_times_and_not_at_every_piece() -> None:
    """Reading it anew with each 64 KiB would take a second for 16 MiB."""
    collector, piece = NativeCollector(), b"x" * 65_536
    collector.feed(b'data: {"content":"a","stop":true,"prompt":"')
    folded = 0
    for _ in range(64):
        before = len(collector._kept)
        collector.feed(piece)
        folded += len(collector._kept) <= before

    collector.feed(b'"}\n\n')

    assert folded < 10
    assert 64 * 65_536 == len(json.loads(collector.finish())["prompt"])

"""What can another replica continue, by which request, and how does its stream go on?"""

import json
from typing import Any

import pytest

from relayd.errors import UpstreamError
from relayd.router import Call
from relayd.router.collectors import ChatCollector
from relayd.router.continuation import AnswerForm, Broken, continued, hindrance, is_spent
from relayd.router.rejoining import rejoined

pytestmark = pytest.mark.pure

CHAT, TEXT, NATIVE, MESSAGES = "/v1/chat/completions", "/v1/completions", "/completion", "/v1/messages"
USER = {"role": "user", "content": "hi"}
BROKEN = Broken("Once upon", pieces=2)
THINKING = Broken(reasoning="Let me", pieces=2)
OBJECT = {"type": "json_object"}
TOOLS = [{"type": "function", "function": {"name": "f"}}]


def call(path: str = CHAT, *, stream: bool = True, **members: Any) -> Call:
    base = {"messages": [USER]} if path in (CHAT, MESSAGES) else {"prompt": "hi"}
    return Call(path, json.dumps(base | members).encode(), stream)


def sent(path: str, broken: Broken, **members: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(continued(call(path, **members), broken).body)
    return found


@pytest.mark.parametrize(
    ("expected", "request_", "broken"),
    [
        ("", call(), BROKEN),
        ("", call(tools=TOOLS, tool_choice="auto", response_format={"type": "text"}), BROKEN),
        ("", call(logprobs=False, n=1, return_tokens=False, grammar="", verbose=False), BROKEN),
        ("", call(MESSAGES, max_tokens=9, thinking={"type": "enabled", "budget_tokens": 5}), BROKEN),
        ("", call(NATIVE, prompt=[1, 2, "x"]), BROKEN),
        ("path", call("/infill"), BROKEN),
        ("path", call(stream=False), BROKEN),
        ("ended", call(), Broken("Once", pieces=1, has_ended=True)),
        ("tool_call", call(tools=TOOLS), Broken("Once", pieces=1, has_called=True)),
        ("tool_call", call(tools=TOOLS), Broken(has_called=True)),
        ("cut_character", call(), Broken("Once \ufffd", pieces=2)),
        ("grammar", call(response_format=OBJECT), BROKEN),
        ("grammar", call(grammar='root ::= "a"'), BROKEN),
        ("grammar", call(json_schema={"type": "object"}), BROKEN),
        ("grammar", call(MESSAGES, output_config={"format": {"type": "json_schema"}}), BROKEN),
        ("tool_choice", call(tools=TOOLS, tool_choice="required"), BROKEN),
        ("tool_choice", call(tools=TOOLS, tool_choice={"type": "function"}), BROKEN),
        ("tool_choice", call(MESSAGES, tools=TOOLS, tool_choice={"type": "any"}), BROKEN),
        ("logprobs", call(logprobs=True), BROKEN),
        ("logprobs", call(TEXT, logprobs=2), BROKEN),
        ("logprobs", call(NATIVE, n_probs=1), BROKEN),
        ("several_answers", call(n=2), BROKEN),
        ("token_ids", call(NATIVE, return_tokens=True), BROKEN),
        ("response_fields", call(NATIVE, response_fields=["content"]), BROKEN),
        ("response_fields", call(verbose=True), BROKEN),
        ("lines", call(NATIVE, n_indent=4), BROKEN),
        ("reasoning_budget", call(thinking_budget_tokens=50), THINKING),
        ("reasoning_budget", call(MESSAGES, thinking={"type": "enabled", "budget_tokens": 5}), THINKING),
        ("prompt", call(NATIVE, prompt={"prompt_string": "x", "multimodal_data": []}), BROKEN),
        ("prompt", call(TEXT, prompt=["a", "b"]), BROKEN),
        ("template", call(add_generation_prompt=False), BROKEN),
        ("last_message", call(messages=[{"role": "assistant", "content": [{"type": "text"}]}]), BROKEN),
        ("last_message", call(messages=[{"role": "assistant", "tool_calls": [{}]}]), BROKEN),
    ],
)
def test_what_would_be_unsound_is_not_continued(expected: str, request_: Call, broken: Broken) -> None:
    assert expected == hindrance(request_, broken)


def test_several_prompts_are_not_continued() -> None:
    assert "several_answers" == hindrance(call(), BROKEN, width=2)


def test_an_answer_without_a_token_begins_anew_whatever_was_asked() -> None:
    asked = call(response_format=OBJECT, logprobs=True)

    assert "" == hindrance(asked, Broken())
    assert asked == continued(asked, Broken())


def test_a_chat_is_continued_in_the_message_of_the_assistant() -> None:
    body = sent(CHAT, Broken("Once", "Hm", pieces=3), max_tokens=10, chat_template_kwargs={"a": 1}, echo=True)

    said = {"role": "assistant", "content": "Once", "reasoning_content": "Hm"}
    assert {
        "messages": [USER, said],
        "max_tokens": 7,
        "chat_template_kwargs": {"a": 1},
        "continue_final_message": True,
        "add_generation_prompt": False,
    } == body


@pytest.mark.parametrize(
    ("members", "generated", "expected"),
    [
        ({}, "Well, then", "Well, then"),
        ({"continue_final_message": True}, " then", "Well, then"),
        ({"continue_final_message": True, "echo": True}, "Well, then", "Well, then"),
    ],
)
def test_a_beginning_that_the_client_gave_is_not_given_twice(
    members: dict[str, Any], generated: str, expected: str
) -> None:
    messages = [USER, {"role": "assistant", "content": "Well,"}]

    body = sent(CHAT, Broken(generated, pieces=1), messages=messages, **members)

    assert [expected] == [one["content"] for one in body["messages"][1:]]


@pytest.mark.parametrize(("limit", "expected"), [(10, 8), (2, 0), (1, 0), (-1, -1)])
def test_the_limit_of_an_answer_is_reduced_by_what_came(limit: int, expected: int) -> None:
    assert expected == sent(TEXT, BROKEN, max_tokens=limit)["max_tokens"]
    assert expected == sent(NATIVE, BROKEN, n_predict=limit)["n_predict"]


@pytest.mark.parametrize(("limit", "expected"), [(3, False), (2, True), (-1, False), (None, False)])
def test_an_answer_with_all_its_tokens_lacks_only_its_end(limit: int | None, expected: bool) -> None:
    assert expected is is_spent(call(max_tokens=limit), BROKEN)


@pytest.mark.parametrize(
    ("prompt", "broken", "expected"),
    [
        ("hi", Broken(" you", pieces=1, tokens=(7,)), ["hi", 7]),
        ([1, 2], Broken(" you", pieces=1, tokens=(7,)), [1, 2, 7]),
        ("hi", Broken(" you", pieces=1), "hi you"),
        ("hi", Broken("é", pieces=1, tokens=(7,), tail=b'"tokens_predicted":2'), "hié"),
        ([1, 2], Broken("é", pieces=1), [1, 2, "é"]),
    ],
)
def test_a_prompt_is_continued_by_ids_where_all_are_known(
    prompt: object, broken: Broken, expected: object
) -> None:
    assert expected == sent(NATIVE, broken, prompt=prompt)["prompt"]


def chat_event(**members: object) -> bytes:
    return b"data: %b\n\n" % json.dumps(members, separators=(",", ":")).encode()


def part(**delta: object) -> list[dict[str, object]]:
    return [{"finish_reason": None, "index": 0, "delta": delta}]


FIRST = chat_event(choices=part(role="assistant", content=None), id="chatcmpl-old")


def test_the_second_stream_goes_on_under_the_first_id_without_a_role() -> None:
    stream = rejoined(AnswerForm.CHAT, BROKEN, first=FIRST)
    new = (
        chat_event(choices=part(role="assistant", content=None), id="chatcmpl-new"),
        chat_event(choices=[], prompt_progress={"total": 9}, id="chatcmpl-new"),
        b":\n\n",
        chat_event(choices=part(content=' "id":"chatcmpl-new"'), id="chatcmpl-new"),
        b"data: [DONE]\n\n",
    )
    raw = b"".join(new)

    passed = b"".join(stream.feed(raw[at : at + 7]) for at in range(0, len(raw), 7))

    kept = chat_event(choices=part(content=' "id":"chatcmpl-new"'), id="chatcmpl-old")
    assert b":\n\n" + kept + b"data: [DONE]\n\n" == passed


def test_a_role_that_comes_with_text_is_taken_out_alone() -> None:
    stream = rejoined(AnswerForm.CHAT, BROKEN, first=FIRST)

    passed = stream.feed(chat_event(choices=part(role="assistant", content="x")))

    assert [{"content": "x"}] == [one["delta"] for one in json.loads(passed[6:])["choices"]]


def test_what_the_answer_cost_adds_up() -> None:
    usage = {"prompt_tokens": 12, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 11}}
    timings = {"cache_n": 11, "prompt_n": 1, "predicted_n": 5}
    stream = rejoined(AnswerForm.CHAT, BROKEN, count=2)

    event = json.loads(stream.feed(chat_event(choices=[], usage=usage, timings=timings))[6:])

    assert {
        "prompt_tokens": 10,
        "completion_tokens": 7,
        "total_tokens": 17,
        "prompt_tokens_details": {"cached_tokens": 10},
        "continued": 2,
    } == event["usage"]
    assert {"cache_n": 9, "prompt_n": 1, "predicted_n": 7} == event["timings"]


def test_an_error_of_the_engine_passes_as_it_came() -> None:
    error = b'data: {"error":{"code":500,"message":"no","type":"server_error"}}\n\n'

    assert error == rejoined(AnswerForm.CHAT, BROKEN).feed(error)


def delta(text: str, name: str = "text") -> bytes:
    data = {"type": "content_block_delta", "index": 0, "delta": {"type": f"{name}_delta", name: text}}
    return b"event: content_block_delta\n" + chat_event(**data)


@pytest.mark.parametrize(
    "pieces", [["Once upon a", " time"], ["Once", " upon a", " time"], ["Once upon", " a", " time"]]
)
def test_the_given_text_that_the_engine_repeats_is_taken_out(pieces: list[str]) -> None:
    stream = rejoined(AnswerForm.MESSAGES, BROKEN)

    passed = b"".join(stream.feed(delta(piece)) for piece in pieces)

    texts = [json.loads(line[6:])["delta"]["text"] for line in passed.split(b"\n") if line[:5] == b"data:"]
    assert [" a", " time"] == texts


def test_reasoning_that_is_over_is_not_repeated() -> None:
    stream = rejoined(AnswerForm.MESSAGES, Broken("Once", "Hm", pieces=2))

    assert b"" == stream.feed(delta("Hm\n", "thinking"))
    assert b'"text":" upon"' in stream.feed(delta("Once upon"))


def test_a_stream_that_does_not_begin_with_the_given_text_is_no_continuation() -> None:
    with pytest.raises(UpstreamError, match="does not continue"):
        rejoined(AnswerForm.MESSAGES, BROKEN).feed(delta("Twice"))


def test_an_event_that_cannot_be_read_is_a_fault_of_the_replica() -> None:
    with pytest.raises(UpstreamError):
        rejoined(AnswerForm.NATIVE, BROKEN).feed(b"data: {nonsense\n\n")


def test_what_came_is_read_from_what_was_collected() -> None:
    collected = ChatCollector()
    for piece in (part(reasoning_content="Hm"), part(content="On"), part(content="ce")):
        collected.feed(chat_event(choices=piece))
    collected.feed(b'data: {"choices":[{"delta":{"content":" up')
    collected.cut()

    assert Broken("Once", "Hm", pieces=3) == Broken.of(collected)

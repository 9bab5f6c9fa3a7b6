"""How the end of a line is written."""

import json

import pytest

from relayd.batch.journal import LineOutcome
from relayd.batch.results import LineAnswer, answered, not_run
from relayd.store.batches import BatchKind, LineUsage

pytestmark = pytest.mark.pure

OPENAI, ANTHROPIC = BatchKind.OPENAI, BatchKind.ANTHROPIC
GOOD = (
    b'{"a":1,"usage":{"prompt_tokens":9,"completion_tokens":4,"prompt_tokens_details":{"cached_tokens":5}}}'
)


def test_a_success_is_a_line_of_the_output() -> None:
    found = answered(OPENAI, 3, "mine", LineAnswer(200, GOOD, "r1", milliseconds=70))

    assert (3, LineOutcome.COMPLETED, False) == (found.number, found.outcome, found.is_error)
    assert LineUsage(9, 5, 4, 0, 70) == found.usage
    response = {"status_code": 200, "request_id": "r1", "body": json.loads(GOOD)}
    assert {"id": "r1", "custom_id": "mine", "response": response, "error": None} == json.loads(found.text)


def test_a_refusal_is_a_line_of_the_errors_with_its_response() -> None:
    found = answered(OPENAI, 3, "mine", LineAnswer(404, b'{"error":{}}', "r1"))

    assert (LineOutcome.FAILED, True) == (found.outcome, found.is_error)
    assert 404 == json.loads(found.text)["response"]["status_code"]


def test_usage_of_messages_and_responses_is_counted() -> None:
    message = b'{"usage":{"input_tokens":4,"cache_read_input_tokens":6,"output_tokens":2}}'
    response = b'{"usage":{"input_tokens":10,"output_tokens":2,"input_tokens_details":{"cached_tokens":6}}}'

    for body in (message, response):
        assert LineUsage(10, 6, 2) == answered(OPENAI, 1, "a", LineAnswer(200, body, "r")).usage


@pytest.mark.parametrize("body", [b'{\n "a": 1\r\n}', b"plain\ntext", b"\xff\n"])
def test_no_body_breaks_its_line(body: bytes) -> None:
    text = answered(OPENAI, 1, "a\n", LineAnswer(200, body, "r")).text

    assert b"\n" not in text
    assert "a\n" == json.loads(text)["custom_id"]


def test_a_message_batch_has_every_result_in_one_file() -> None:
    good = answered(ANTHROPIC, 1, "a", LineAnswer(200, b'{"id":"msg_1"}', "r"))
    bad = answered(ANTHROPIC, 2, "b", LineAnswer(404, b'{"type":"error"}', "r"))
    cancelled = not_run(ANTHROPIC, 3, "c", "r", LineOutcome.CANCELLED)
    expired = not_run(ANTHROPIC, 4, "d", "r", LineOutcome.EXPIRED)

    assert not any(one.is_error for one in (good, bad, cancelled, expired))
    assert [
        {"custom_id": "a", "result": {"type": "succeeded", "message": {"id": "msg_1"}}},
        {"custom_id": "b", "result": {"type": "errored", "error": {"type": "error"}}},
        {"custom_id": "c", "result": {"type": "canceled"}},
        {"custom_id": "d", "result": {"type": "expired"}},
    ] == [json.loads(one.text) for one in (good, bad, cancelled, expired)]


def test_a_line_that_was_not_run_states_why() -> None:
    found = not_run(OPENAI, 3, "mine", "r1", LineOutcome.EXPIRED)

    assert "batch_expired" == json.loads(found.text)["error"]["code"]
    assert found.is_error

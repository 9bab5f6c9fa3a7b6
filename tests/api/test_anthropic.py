"""Does Anthropic's API reach the engine's own door, and answer in its own form?"""

import json
from functools import partial
from typing import Any

import pytest

from relayd.api.anthropic import anthropic_routes
from relayd.scheduler import Refusal
from tests.api.conftest import KEY, Doors, Response
from tests.api.stage import Stage, post
from tests.dialects.engine import CHAT_THOUGHT, MESSAGE_THOUGHT, chat_whole
from tests.fakes.replica import LAST_CHUNK, SSE_HEAD, Act, Then, act, chunk, json_answer, refusal

pytestmark = pytest.mark.system

HI = [{"role": "user", "content": "hi"}]
MESSAGE = {
    "id": "chatcmpl-1", "type": "message", "role": "assistant", "model": "m",
    "content": [{"type": "text", "text": "x"}], "stop_reason": "end_turn", "stop_sequence": None,
    "usage": {"input_tokens": 1, "output_tokens": 2},
}  # fmt: skip
WHOLE = act(json_answer(json.dumps(MESSAGE).encode()))
FORMAT = {"format": {"type": "json_schema", "schema": {"type": "object"}}}

stage = partial(Stage, routes=anthropic_routes)


def stream(raw: bytes, then: Then = Then.KEEP) -> Act:
    return act(SSE_HEAD + chunk(raw) + (LAST_CHUNK if then is Then.KEEP else b""), then=then)


def ask(doors: Doors, here: Stage, path: str = "/v1/messages", **members: object) -> Response:
    return here.ask(doors, post({"model": "qwen", "max_tokens": 5, "messages": HI, **members}, path))


def error(answer: Response) -> dict[str, Any]:
    body = json.loads(answer.body)
    assert "error" == body["type"]
    return dict(body["error"])


@pytest.mark.parametrize("query", ["", "?beta=true"])
def test_a_message_goes_to_the_engines_own_door(doors: Doors, query: str) -> None:
    here = stage(script=WHOLE)

    answer = ask(doors, here, f"/v1/messages{query}")

    message = json.loads(answer.body)
    assert "/v1/messages" == here.sent_to
    assert {"model": "qwen", "max_tokens": 5, "messages": HI} == here.sent
    assert message["id"].startswith("msg_")
    assert (200, "qwen", "end_turn") == (answer.status, message["model"], message["stop_reason"])
    assert ("application/json", "r1") == (answer.headers["content-type"], answer.headers["request-id"])
    assert here.exchange.usage is not None
    assert (1, 2) == (here.exchange.usage.prompt_tokens, here.exchange.usage.completion_tokens)


def test_a_stream_is_mended_and_complete(doors: Doors) -> None:
    answer = ask(doors, stage(script=stream(MESSAGE_THOUGHT)), stream=True)

    assert "text/event-stream" == answer.headers["content-type"]
    assert answer.body.startswith(b"event: message_start")
    assert answer.body.endswith(b'event: message_stop\ndata: {"type":"message_stop"}\n\n')


def test_an_answer_in_a_format_is_asked_of_the_chat(doors: Doors) -> None:
    whole, streamed = (
        stage(script=act(json_answer(chat_whole(text="{}")))),
        stage(script=stream(CHAT_THOUGHT)),
    )

    message = json.loads(ask(doors, whole, output_config=FORMAT).body)
    events = ask(doors, streamed, output_config=FORMAT, stream=True).body

    assert "/v1/chat/completions" == whole.sent_to == streamed.sent_to
    assert ([{"type": "text", "text": "{}"}], "message") == (message["content"], message["type"])
    assert events.endswith(b'event: message_stop\ndata: {"type":"message_stop"}\n\n')


def test_a_thread_is_refused_so_that_sdks_send_the_whole_conversation(doors: Doors) -> None:
    here = stage()
    for thread in ({"type": "create"}, {"type": "continue", "previous_message_id": "m"}):
        answer = ask(doors, here, thread=thread)
        found = error(answer)
        assert (400, "invalid_request_error") == (answer.status, found["type"])
        assert {"error_code": "thread_unsupported_request", "unsupported": ["thread"]} == found["details"]
    assert not here.events
    assert 200 == ask(doors, stage(script=WHOLE), thread=None).status


@pytest.mark.parametrize("member", [{"mcp_servers": [{"url": "x"}]}, {"container": "c"}])
def test_what_only_anthropic_runs_is_refused(doors: Doors, member: dict[str, Any]) -> None:
    here = stage()

    answer = ask(doors, here, **member)

    assert (400, "invalid_request_error") == (answer.status, error(answer)["type"])
    assert next(iter(member)) in error(answer)["message"]
    assert not here.events


def test_members_that_clients_send_along_are_no_obstacle(doors: Doors) -> None:
    here = stage(script=WHOLE)
    members: dict[str, Any] = {
        "mcp_servers": [], "container": None, "service_tier": "auto", "inference_geo": "us",
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "metadata": {"user_id": "u"}, "thinking": {"type": "adaptive"}, "output_config": {"effort": "high"},
    }  # fmt: skip

    assert 200 == ask(doors, here, **members).status


def test_tools_that_are_left_out_are_named(doors: Doors) -> None:
    tools = [{"type": "web_search_20250305", "name": "web_search"}]

    answer = ask(doors, stage(script=WHOLE), tools=tools, unknown=1)

    assert "dropped: unknown; left out: tools web_search" == answer.headers["x-relayd-changed"]


@pytest.mark.parametrize(
    ("here", "status", "kind"),
    [
        (stage(Refusal.QUEUE_FULL), 429, "rate_limit_error"),
        (stage(Refusal.UNAVAILABLE), 503, "overloaded_error"),
        (stage(script=act(refusal(400, "invalid_request_error", "why"))), 400, "invalid_request_error"),
        (stage(Refusal.ATTEMPTS_SPENT), 502, "api_error"),
    ],
)
def test_a_refusal_has_anthropics_form(doors: Doors, here: Stage, status: int, kind: str) -> None:
    answer = ask(doors, here)

    assert (status, kind) == (answer.status, error(answer)["type"])


def test_a_prompt_that_is_too_long_is_reported_so_that_clients_shorten_it(doors: Doors) -> None:
    body = {
        "code": 400,
        "message": "m",
        "type": "exceed_context_size_error",
        "n_prompt_tokens": 9,
        "n_ctx": 4,
    }
    raw = json.dumps({"error": body}).encode()
    script = act(json_answer(raw).replace(b"200 OK", b"400 Bad Request"))

    assert "prompt is too long: 9 tokens > 4 maximum" == error(ask(doors, stage(script=script)))["message"]


def test_no_key_and_no_model_are_refused_in_the_same_form(doors: Doors) -> None:
    assert "authentication_error" == error(ask(doors, stage(keys=(KEY,))))["type"]
    assert "not_found_error" == error(ask(doors, stage(), model="other"))["type"]


def test_a_stream_that_breaks_ends_with_an_error_event(doors: Doors) -> None:
    begun = MESSAGE_THOUGHT[: MESSAGE_THOUGHT.index(b"event: message_delta")]

    answer = ask(doors, stage(script=stream(begun, Then.CLOSE)), stream=True)

    last = answer.body.decode().split("\n\n")[-2]
    assert last.startswith("event: error\n")
    assert "api_error" == json.loads(last.partition("data: ")[2])["error"]["type"]


def test_counting_tokens_takes_no_slot(doors: Doors) -> None:
    here = stage(Refusal.QUEUE_FULL, script=act(json_answer(b'{"input_tokens":7}')))

    answer = ask(doors, here, "/v1/messages/count_tokens?beta=true", system=[{"type": "text", "text": "x"}])

    assert (200, b'{"input_tokens":7}') == (answer.status, answer.body)
    assert "/v1/messages/count_tokens" == here.sent_to
    assert not here.events
    assert (200, "r1") == (here.exchange.status, answer.headers["x-request-id"])


def test_counting_tokens_waits_for_a_model_that_is_not_there(doors: Doors) -> None:
    here = stage(script=act(json_answer(b'{"input_tokens":7}')), serving=False)

    assert b'{"input_tokens":7}' == ask(doors, here, "/v1/messages/count_tokens").body
    assert [("qwen", 1)] == here.arrived


def test_a_count_that_the_engine_refuses_is_the_clients_mistake(doors: Doors) -> None:
    here = stage(script=act(refusal(500, "server_error", "'messages' is required")))

    answer = ask(doors, here, "/v1/messages/count_tokens")

    assert (400, "invalid_request_error") == (answer.status, error(answer)["type"])

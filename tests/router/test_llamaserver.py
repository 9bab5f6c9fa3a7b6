"""Does every member that clients send reach the engine, and none that may end it?"""

import json
from pathlib import Path

import pytest

from relayd.errors import RequestError
from relayd.router import LLAMA_SERVER, BodyRules, Unlisted, changed, peek
from relayd.router.llamaserver import INTERNAL
from tests.members import PAGE, page

pytestmark = pytest.mark.pure

CHAT, COMPLETION, EMBEDDING, RESPONSES, MESSAGES, RERANK = (
    LLAMA_SERVER[path]
    for path in (
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/embeddings",
        "/v1/responses",
        "/v1/messages",
        "/v1/rerank",
    )
)

SENT = json.loads((Path(__file__).parents[1] / "data" / "sent_bodies.json").read_text())
"""Path and body: what clients were seen to send, and all that the README of llama-server b11434 documents."""


@pytest.mark.parametrize(("path", "body"), SENT)
def test_what_clients_send_reaches_the_engine_as_it_was_written(path: str, body: dict[str, object]) -> None:
    raw = json.dumps(body).encode()

    assert peek(raw, LLAMA_SERVER[path]).body is raw


@pytest.mark.parametrize("path", LLAMA_SERVER)
def test_null_stands_for_any_member_that_is_left_out(path: str) -> None:
    raw = json.dumps(dict.fromkeys(LLAMA_SERVER[path].members)).encode()

    assert peek(raw, LLAMA_SERVER[path]).body is raw


@pytest.mark.parametrize("path", LLAMA_SERVER)
def test_r26_what_only_the_engine_sets_never_comes_from_a_client(path: str) -> None:
    raw = json.dumps({"model": "m"} | dict.fromkeys(INTERNAL, 7)).encode()

    seen = peek(raw, LLAMA_SERVER[path], Unlisted(extra=INTERNAL))

    assert (b'{"model": "m"}', INTERNAL) == (seen.body, seen.dropped)


def test_r33_an_unknown_member_is_dropped_and_named() -> None:
    seen = peek(b'{"n":1,"guided_json":{},"\xc3\xa4 b":1,"min_tokens":1}', CHAT)

    assert b'{"n":1}' == seen.body
    assert "dropped: guided_json, min_tokens, 1 more" == changed(seen.dropped)


def test_an_unknown_member_can_refuse_the_request() -> None:
    with pytest.raises(RequestError, match="min_tokens cannot be sent") as refused:
        peek(b'{"n":1,"min_tokens":1}', CHAT, Unlisted("refuse"))

    assert "min_tokens" == refused.value.param


def test_an_operator_can_let_a_member_of_a_newer_engine_pass() -> None:
    raw = b'{"n":1,"min_tokens":1}'

    assert peek(raw, CHAT, Unlisted("refuse", frozenset({"min_tokens"}))).body is raw


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b'{"n":129}', "n is 129; it must be a number from 1 to 128."),
        (
            b'{"stop":{"a":1}}',
            "stop is an object of 1 members; it must be a string of at most 1,024 characters, or",
        ),
        (b'{"grammar":["a secret"]}', "grammar is a list of 1 items; it must be a grammar"),
        (b'{"tools":"a secret"}', "tools is a string of 8 characters; it must be a list of tools,"),
        (b'{"n":1' + b"0" * 50 + b"}", "n is a number of 51 characters; it must be"),
        (b'{"lora":[{"id":0}]}', "lora is not accepted."),
    ],
)
def test_r20_an_error_names_member_value_and_limit_and_shows_no_text(raw: bytes, message: str) -> None:
    with pytest.raises(RequestError) as refused:
        peek(raw, CHAT)

    assert message == refused.value.message[: len(message)]
    assert "secret" not in refused.value.message


@pytest.mark.parametrize(
    ("rules", "raw"),
    [
        (COMPLETION, b'{"prompt":["' + b'a","' * 2048 + b'"]}'),
        (EMBEDDING, b'{"input":["' + b'a","' * 300_000 + b'"]}'),
        (RERANK, b'{"query":"q","documents":["' + b'a","' * 2048 + b'"]}'),
    ],
)
def test_the_prompts_of_one_body_are_limited(rules: BodyRules, raw: bytes) -> None:
    with pytest.raises(RequestError, match=r"more than 2,048 items"):
        peek(raw, rules)


@pytest.mark.parametrize(
    ("rules", "body"),
    [
        (
            CHAT,
            {
                "messages": [
                    {"content": [{"type": "input_audio", "input_audio": {"data": "http://10.0.0.1"}}]}
                ]
            },
        ),
        (CHAT, {"messages": [{"content": [{"type": "input_video", "input_video": {"url": "file:///etc"}}]}]}),
        (
            MESSAGES,
            {"messages": [{"content": [{"type": "image", "source": {"type": "url", "url": "https://x"}}]}]},
        ),
        (
            MESSAGES,
            {
                "messages": [
                    {"content": [{"type": "tool_result", "content": [{"source": {"url": "http://x"}}]}]}
                ]
            },
        ),
        (RESPONSES, {"input": [{"output": [{"type": "input_image", "image_url": "http://x"}]}]}),
        (EMBEDDING, {"input": [{"content": [{"type": "image_url", "image_url": {"url": "HTTP://x"}}]}]}),
    ],
)
def test_r33_no_form_of_an_address_is_fetched_for_a_client(rules: BodyRules, body: object) -> None:
    with pytest.raises(RequestError, match="must be a data: URL or base64"):
        peek(json.dumps(body).encode(), rules)


def test_the_page_of_members_is_current() -> None:
    assert page() == PAGE.read_text(), "run: python -m tests.members"

"""Which requests are sent as something else than their client wrote?"""

import json
from typing import Any

import msgspec
import pytest

from relayd.router import Call, with_additions

pytestmark = pytest.mark.pure

CHAT = "/v1/chat/completions"
COLLECTED = (
    CHAT,
    "/chat/completions",
    "/v1/completions",
    "/completions",
    "/completion",
    "/infill",
    "/v1/messages",
)


def sent(call: Call, width: int = 1, **members: Any) -> Call:
    raw = {name: msgspec.Raw(json.dumps(value).encode()) for name, value in members.items()}
    return with_additions(call, raw, width)


def call(path: str = CHAT, *, stream: bool = False, body_bytes: int = 100) -> Call:
    return Call(path, b'{"a":1,"b":"%b"}' % (b"x" * body_bytes), stream)


def added(path: str = CHAT, **members: Any) -> Call:
    return sent(call(path), **(members or {"messages": []}))


@pytest.mark.parametrize("path", COLLECTED)
def test_a_plain_request_of_width_one_is_sent_as_a_stream(path: str) -> None:
    assert added(path).collector
    assert {"a": 1, "stream": True}.items() <= json.loads(added(path).body).items()


@pytest.mark.parametrize("path", ["/v1/embeddings", "/embedding", "/v1/rerank", "/tokenize"])
def test_an_endpoint_that_knows_no_stream_is_asked_as_the_client_asks(path: str) -> None:
    asked = call(path, body_bytes=100_000)

    assert asked is sent(asked, messages=[])


def test_what_a_stream_cannot_give_back_is_asked_for_plain() -> None:
    values: dict[str, Any] = {
        "logprobs": True, "top_logprobs": 3, "n_probs": 1, "verbose": True, "return_tokens": True,
        "response_fields": ["content"], "n_indent": 2,
    }  # fmt: skip
    for name, value in values.items():
        assert call() == added(**{name: value})
        unset: Any = {bool: False, int: 0, list: []}[type(value)]
        assert added(**{name: unset}).collector
        nothing: Any = {name: None}
        assert added(**nothing).collector
    assert call() == sent(call(), 2, messages=[])
    assert call() == sent(call())


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])
def test_a_long_prompt_states_its_progress_which_its_client_does_not_see(stream: bool) -> None:
    short, long = (sent(call(stream=stream, body_bytes=size), messages=[]) for size in (100, 5000))

    assert (False, True) == (short.hides_progress, long.hides_progress)
    assert json.loads(long.body)["return_progress"]
    assert "return_progress" not in json.loads(short.body)


def test_a_stream_whose_client_asks_for_progress_or_against_it_is_sent_as_it_came() -> None:
    asked = call(stream=True, body_bytes=5000)

    for wanted in (True, False):
        assert asked is sent(asked, return_progress=wanted)


def test_what_is_added_counts_more_than_what_the_client_wrote() -> None:
    body = b'{"stream":false,"stream_options":{"include_usage":false},"messages":[]} \r\n\t'

    found = sent(Call(CHAT, body), messages=[])

    assert {"stream": True, "messages": [], "echo": True} | {
        "stream_options": {"include_usage": True}
    } == json.loads(found.body)

"""Does a request find its model and its slot, and is the slot surely given back?"""

import base64
import json
from array import array
from dataclasses import replace
from functools import partial

import pytest

from relayd.api.admission import Route
from relayd.api.inference import Inference
from relayd.api.listing import model_entry
from relayd.api.native import native_routes
from relayd.api.openai import NOT_SERVED, openai_routes
from relayd.gguf.facts import FileFacts
from relayd.scheduler import Arrived, Ended, Finished, Refusal
from tests.api.conftest import KEY, Doors, view
from tests.api.stage import GOOD_STREAM, PATHS, Stage, as_asked, get, post
from tests.dialects.engine import CHAT_THOUGHT
from tests.fakes.replica import LAST_CHUNK, SSE_HEAD, act, chunk, json_answer

pytestmark = pytest.mark.system


@pytest.mark.parametrize("path", [*PATHS, "/chat/completions"])
@pytest.mark.parametrize("name", ["llama", "llama-alias"])
def test_a_request_goes_as_it_came_to_the_model_it_names(doors: Doors, path: str, name: str) -> None:
    stage = Stage()
    raw = json.dumps({"model": name, "metadata": {"a": 1.50}}).encode()

    answer = stage.ask(doors, post(raw, f"{path}?api-version=1"))

    assert (200, b'{"ok":true}') == (answer.status, answer.body)
    (request,) = stage.requests
    assert "X-Relayd-Changed" not in answer.headers
    assert f"POST {path} HTTP/1.1".encode() == request.split(b"\r\n")[0]
    assert raw == as_asked(request.partition(b"\r\n\r\n")[2])
    assert [("llama", 1)] == stage.arrived
    assert stage.gave_back


def test_a_streamed_answer_carries_what_the_door_asks_for(doors: Doors) -> None:
    stage = Stage(script=GOOD_STREAM)
    raw = post({"model": "qwen", "stream": True}).replace(b"X-Req", b"Origin: http://app.example\r\nX-Req")

    answer = stage.ask(doors, raw)

    assert stage.exchange.ask.stream
    assert ("r1", "http://app.example") == (
        answer.headers["x-request-id"],
        answer.headers["access-control-allow-origin"],
    )


def test_a_ticket_is_as_wide_as_its_request(doors: Doors) -> None:
    stage = Stage()

    stage.ask(doors, post({"model": "qwen", "messages": [], "n": 3}))

    assert [("qwen", 3)] == stage.arrived


def test_a_large_body_passes_too(doors: Doors) -> None:
    stage = Stage()

    assert 200 == stage.ask(doors, post({"model": "qwen", "messages": [], "pad": "x" * 1_000_000})).status


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
def test_a_text_that_no_tokens_make_fit_takes_no_slot(doors: Doors, path: str) -> None:
    text = "a" * 100_000
    asked = {"messages": [{"role": "user", "content": text}]} if "chat" in path else {"prompt": text}
    stage = Stage()
    views = (replace(view("qwen"), most_text=99_999),)

    error = json.loads(stage.ask(doors, post({"model": "qwen", **asked}, path), views).body)["error"]

    assert ("context_length_exceeded", "exceed_context_size_error") == (error["code"], error["type"])
    assert "100,000 bytes of text; a slot of this model holds 4,096 tokens" in error["message"]
    assert not stage.arrived


@pytest.mark.parametrize("most", [0, 100_000])
def test_a_text_that_may_fit_passes(doors: Doors, most: int) -> None:
    views = (replace(view("qwen"), most_text=most),)
    asked = post({"model": "qwen", "prompt": "a" * 100_000}, "/v1/completions")

    assert 200 == Stage().ask(doors, asked, views).status


def test_an_unknown_model_takes_no_slot(doors: Doors) -> None:
    stage = Stage()

    answer = stage.ask(doors, post({"model": "lama"}))

    assert (404, "model_not_found", "model") == (answer.status, answer.error["code"], answer.error["param"])
    assert "Did you mean 'llama'?" in answer.error["message"]
    assert not stage.events
    assert (Ended.REFUSED, 404, "model_not_found") == (
        stage.exchange.ended,
        stage.exchange.status,
        stage.exchange.code,
    )


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"model": 1}', b'{"model":"\\ud800"}', b"\xff", b"[" * 100]
)
def test_a_body_that_cannot_be_read_takes_no_slot(doors: Doors, body: bytes) -> None:
    stage = Stage()

    assert stage.ask(doors, post(body)).status in {400, 404}
    assert not stage.events


@pytest.mark.parametrize(
    ("refusal", "status"),
    [
        (Refusal.QUEUE_FULL, 429),
        (Refusal.TIMED_OUT, 503),
        (Refusal.UNAVAILABLE, 503),
        (Refusal.NOT_LOADED, 503),
        (Refusal.ATTEMPTS_SPENT, 502),
    ],
)
def test_a_refusal_says_when_to_come_back(doors: Doors, refusal: Refusal, status: int) -> None:
    stage = Stage(refusal)

    answer = stage.ask(doors, post({"model": "qwen"}))

    assert (status, refusal.value, "3") == (
        answer.status,
        answer.error["code"],
        answer.headers["retry-after"],
    )
    assert stage.gave_back


def test_a_replica_that_fails_gives_the_slot_back(doors: Doors) -> None:
    stage = Stage(script=act(b"nonsense\r\n\r\n"))

    answer = stage.ask(doors, post({"model": "qwen"}))

    assert (502, "upstream_failed", "r1") == (
        answer.status,
        answer.error["code"],
        answer.headers["x-request-id"],
    )
    assert stage.gave_back


def test_the_list_holds_every_model_once(doors: Doors) -> None:
    answer = json.loads(Stage().ask(doors, get("/v1/models")).body)

    assert "list" == answer["object"]
    assert [model_entry(view()) | {"aliases": ["qwen-alias"]}, "llama"] == [
        answer["data"][0],
        answer["data"][1]["id"],
    ]


@pytest.mark.parametrize(
    ("tail", "status"),
    [
        ("qwen", 200),
        ("qwen-alias", 200),
        ("%71wen", 200),
        ("a%2Fb", 200),
        ("a/b", 200),
        ("QWEN", 200),
        ("..%2Fqwen", 404),
    ],
)
def test_one_model_is_looked_up_by_name(doors: Doors, tail: str, status: int) -> None:
    answer = Stage().ask(doors, get(f"/v1/models/{tail}"), (view(), view("a/b")))

    assert status == answer.status


def test_the_demo_model_says_what_it_is() -> None:
    one, demo = model_entry(view()), model_entry(view(demo=True))

    assert "demo" not in one
    assert demo["demo"] is True
    assert "not a language model" in str(demo["description"])


def test_without_any_model_every_request_is_told_so(doors: Doors) -> None:
    answer = Stage().ask(doors, post({"messages": []}), ())

    assert (404, "model_not_found") == (answer.status, answer.error["code"])


def test_the_name_of_the_key_reaches_the_scheduler(doors: Doors) -> None:
    stage = Stage(keys=(KEY,))
    raw = post({"model": "qwen"}).replace(b"X-Req", f"Authorization: Bearer {KEY}\r\nX-Req".encode())

    stage.ask(doors, raw)

    assert ["key-0"] == [one.ticket.ask.key for one in stage.events if isinstance(one, Arrived)]


def test_the_scheduler_and_the_log_get_the_same_exchange(doors: Doors) -> None:
    stage = Stage()

    stage.ask(doors, post({"model": "qwen"}))

    assert [stage.exchange] == [one.exchange for one in stage.events if isinstance(one, Finished)]
    assert ("r1", PATHS[0]) == (stage.exchange.request_id, stage.exchange.path)


@pytest.mark.parametrize("name", ["qwen@box", "a/b@box"])
def test_a_model_of_another_machine_is_named_with_its_node(doors: Doors, name: str) -> None:
    stage = Stage()

    assert 200 == stage.ask(doors, post({"model": name}), (view(name),)).status
    assert [(name, 1)] == stage.arrived
    assert 200 == Stage().ask(doors, get(f"/v1/models/{name}"), (view(name),)).status


@pytest.mark.parametrize("path", ["/completions", "/embeddings"])
def test_a_path_that_two_apis_share_is_openais_where_a_model_is_named(doors: Doors, path: str) -> None:
    named, unnamed = Stage(), Stage()

    named.ask(doors, post({"model": "qwen"}, path))
    unnamed.ask(doors, post({}, path), (view(),))

    assert (f"/v1{path}", path) == (named.sent_to, unnamed.sent_to)


def test_a_named_tool_is_the_only_one_the_replica_gets(doors: Doors) -> None:
    stage = Stage()
    tools = [{"type": "function", "function": {"name": name}} for name in "ab"]
    choice = {"type": "function", "function": {"name": "b"}}

    stage.ask(doors, post({"model": "qwen", "messages": [], "tools": tools, "tool_choice": choice}))

    assert {
        "model": "qwen", "messages": [], "tools": tools[1:], "tool_choice": "required",
    } == stage.sent  # fmt: skip


def test_a_tool_choice_that_cannot_be_followed_takes_no_slot(doors: Doors) -> None:
    stage = Stage()

    answer = stage.ask(doors, post({"model": "qwen", "tool_choice": {"type": "function", "name": "x"}}))

    assert (400, "tool_choice") == (answer.status, answer.error["param"])
    assert not stage.events


def test_the_models_are_listed_without_the_version_too(doors: Doors) -> None:
    def routes(inference: Inference) -> tuple[Route, ...]:
        return (*openai_routes(inference), *native_routes(inference))

    for path in ("/models", "/models/qwen"):
        plain, versioned = (
            Stage(routes=routes).ask(doors, get(f"{prefix}{path}")).body for prefix in ("", "/v1")
        )
        assert versioned == plain


@pytest.mark.parametrize("path", NOT_SERVED)
def test_what_is_not_served_is_refused_by_name(doors: Doors, path: str) -> None:
    for raw in (post({}, path), post({}, f"{path}/generations"), get(path)):
        answer = Stage().ask(doors, raw)
        assert (404, "not_served") == (answer.status, answer.error["code"])


NAMING = partial(openai_routes, rewrite_ids=True)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/completions"])
@pytest.mark.parametrize("field", ["X-Request-ID", "Request-Id"])
def test_an_answer_carries_the_id_of_its_request_where_that_is_configured(
    doors: Doors, path: str, field: str
) -> None:
    """The first `curl` of RelayServe's README, and its second one, which is streamed."""
    plain = Stage(script=act(json_answer(b'{"id":"chatcmpl-x","choices":[]}')), routes=NAMING)
    streamed = Stage(script=act(SSE_HEAD + chunk(CHAT_THOUGHT) + LAST_CHUNK), routes=NAMING)
    body = {"model": "qwen", "messages": [{"role": "user", "content": "Hello"}]}

    whole = plain.ask(doors, post(body, path).replace(b"X-Request-ID", field.encode()))
    raw = post({**body, "stream": True}, path)
    events = streamed.ask(doors, raw.replace(b"X-Request-ID", field.encode()))

    assert ("r1", "r1") == (json.loads(whole.body)["id"], whole.headers["x-request-id"])
    chunks = [json.loads(one[6:]) for one in events.body.split(b"\n\n")[:-2]]
    assert {"r1"} == {one["id"] for one in chunks}
    assert events.body.endswith(b"data: [DONE]\n\n")


def test_an_answer_keeps_the_engines_id_where_its_request_has_none(doors: Doors) -> None:
    stage = Stage(script=act(json_answer(b'{"id":"chatcmpl-x"}')), routes=NAMING)

    answer = stage.ask(doors, post({"model": "qwen"}).replace(b"X-Request-ID: r1\r\n", b""))

    assert b'{"id":"chatcmpl-x"}' == answer.body
    assert 32 == len(answer.headers["x-request-id"])


@pytest.mark.parametrize("path", ["/v1/embeddings", "/embeddings"])
def test_vectors_are_shortened_where_that_is_asked_for(doors: Doors, path: str) -> None:
    embedding = base64.b64encode(array("f", [3, 4, 12]).tobytes()).decode()
    body = {"data": [{"embedding": embedding, "index": 0}], "model": "m", "usage": {"prompt_tokens": 1}}
    stage = Stage(script=act(json_answer(json.dumps(body).encode())))

    answer = stage.ask(doors, post({"model": "qwen", "input": "x", "dimensions": 2}, path))

    assert 2 == len(json.loads(answer.body)["data"][0]["embedding"])
    assert ("/v1/embeddings", "base64") == (stage.sent_to, stage.sent["encoding_format"])


def test_more_dimensions_than_a_model_has_are_refused(doors: Doors) -> None:
    models = (replace(view("qwen"), facts=FileFacts(embedding_length=8)),)

    answer = Stage().ask(
        doors, post({"model": "qwen", "input": "x", "dimensions": 9}, "/v1/embeddings"), models
    )

    assert (400, "dimensions") == (answer.status, answer.error["param"])


@pytest.mark.parametrize("given", [{}, {"model": None}, {"model": ""}])
def test_an_empty_name_means_the_model_of_requests_that_name_none(
    doors: Doors, given: dict[str, object]
) -> None:
    here = Stage()

    assert 200 == here.ask(doors, post({"messages": [], **given}), (view(),)).status
    assert [("qwen", 1)] == here.arrived

"""Does llama.cpp's own API reach the engine as it is, for the model that is meant?"""

import json
from dataclasses import replace
from functools import partial

import pytest

from relayd.api.forwarding import split_tail
from relayd.api.native import READ, native_routes
from relayd.errors import NotFoundError
from tests.api.conftest import Doors, view
from tests.api.stage import Stage, get, post
from tests.fakes.replica import LAST_CHUNK, SSE_HEAD, act, chunk, json_answer

pytestmark = pytest.mark.system

stage = partial(Stage, routes=native_routes)
VIEWS = (view("chat"), replace(view("embed"), abilities=("embedding",)))
STOP = b'data: {"content":"","stop":true}\n\n'


@pytest.mark.parametrize(
    ("path", "model"), [("/completion", "chat"), ("/infill", "chat"), ("/embedding", "embed")]
)
def test_a_request_without_a_model_goes_to_the_only_one_that_can_answer(
    doors: Doors, path: str, model: str
) -> None:
    here = stage()
    body = {"prompt": "a"} if path != "/embedding" else {"content": "a"}

    answer = here.ask(doors, post(body, path), VIEWS)

    assert (200, b'{"ok":true}') == (answer.status, answer.body)
    assert (path, body, [(model, 1)]) == (here.sent_to, here.sent, here.arrived)


@pytest.mark.parametrize("path", ["/tokenize", "/detokenize", "/apply-template"])
def test_what_takes_no_slot_waits_for_none(doors: Doors, path: str) -> None:
    here = stage()

    here.ask(doors, post({}, path), VIEWS)

    assert ([], path) == (here.arrived, here.sent_to)


def test_what_takes_no_slot_waits_in_the_queue_while_no_replica_serves(doors: Doors) -> None:
    here = stage(serving=False)

    here.ask(doors, post({"content": "a"}, "/tokenize"), VIEWS)

    assert [("chat", 1)] == here.arrived


def test_a_long_answer_is_whole(doors: Doors) -> None:
    tokens = json.dumps({"tokens": [1] * 100_000}).encode()
    here = stage(script=act(json_answer(tokens)))

    assert tokens == here.ask(doors, post({"content": "a"}, "/tokenize"), VIEWS).body


def test_a_stream_needs_no_mark_of_its_end(doors: Doors) -> None:
    here = stage(script=act(SSE_HEAD + chunk(STOP) + LAST_CHUNK))

    assert STOP == here.ask(doors, post({"prompt": "a", "stream": True}, "/completion"), VIEWS).body


@pytest.mark.parametrize(
    ("path", "model", "there"),
    [
        ("/models/embed/embedding", "embed", "/embedding"),
        ("/models/CHAT:latest/completion", "chat", "/completion"),
        ("/models/chat/v1/chat/completions", "chat", "/v1/chat/completions"),
        ("/models/chat/completions", "chat", "/completions"),
        ("/models/chat/chat/completions", "chat", "/chat/completions"),
    ],
)
def test_a_path_behind_a_name_is_for_that_model(doors: Doors, path: str, model: str, there: str) -> None:
    here = stage()

    assert 200 == here.ask(doors, post({"model": "other"} if "v1" in path else {}, path), VIEWS).status

    assert (there, [(model, 1)]) == (here.sent_to, here.arrived)


@pytest.mark.parametrize("path", ["/models/nope/completion", "/models/chat/nope", "/models/completion"])
def test_a_path_behind_no_model_is_not_found(doors: Doors, path: str) -> None:
    assert 404 == stage().ask(doors, post({}, path), VIEWS).status


@pytest.mark.parametrize("path", sorted({*READ} - {"/lora-adapters"}))
def test_what_a_replica_states_is_read(doors: Doors, path: str) -> None:
    here = stage()

    for target in (path, f"{path}?model=chat", f"/models/chat{path}"):
        answer = here.ask(doors, get(target), VIEWS)
        assert (200, path, []) == (answer.status, here.sent_to, here.arrived)
        assert ("text/plain" in answer.headers["content-type"]) == (path == "/metrics")


def test_the_adapters_of_a_replica_are_read(doors: Doors) -> None:
    here = stage()

    answer = here.ask(doors, get("/lora-adapters"), VIEWS)

    assert (200, b"[]", []) == (answer.status, answer.body, here.arrived)


def test_a_model_that_is_cold_is_not_loaded_for_a_look(doors: Doors) -> None:
    here = stage(serving=False)

    answer = here.ask(doors, get("/props"), VIEWS)

    assert (503, "model_not_loaded", []) == (answer.status, answer.error["code"], here.arrived)


def test_one_model_is_described(doors: Doors) -> None:
    assert "chat" == json.loads(stage().ask(doors, get("/models/chat"), VIEWS).body)["id"]


@pytest.mark.parametrize("path", ["/props", "/lora-adapters"])
def test_r34_what_an_operator_sets_is_only_read(doors: Doors, path: str) -> None:
    assert "not_served" == stage().ask(doors, post({}, path), VIEWS).error["code"]


@pytest.mark.parametrize("asked", [get("/cors-proxy?url=http://127.0.0.1/"), post({}, "/cors-proxy")])
def test_nothing_is_fetched_for_a_page(doors: Doors, asked: bytes) -> None:
    answer = stage().ask(doors, asked, VIEWS)

    assert (403, "not_fetched") == (answer.status, answer.error["code"])


def test_a_decision_model_is_asked_its_questions(doors: Doors) -> None:
    here = stage(script=act(json_answer(b'{"answers":{}}')))
    asked = {"state": {"a": "b"}, "questions": {"q": {"type": "noul", "instructions": "?"}}}

    assert 200 == here.ask(doors, post(asked, "/v1/systemone"), VIEWS).status
    assert ("/v1/systemone", asked) == (here.sent_to, here.sent)


@pytest.mark.parametrize(
    "members",
    [
        {"images": ["http://192.0.2.1/a.png"]},
        {"state": {"messages": [{"content": [{"image_url": {"url": "file:///etc/passwd"}}]}]}},
    ],
)
def test_r33_nothing_is_fetched_for_a_decision(doors: Doors, members: dict[str, object]) -> None:
    here = stage()

    answer = here.ask(doors, post({"questions": {}, **members}, "/v1/systemone"), VIEWS)

    assert (400, []) == (answer.status, here.arrived)


@pytest.mark.parametrize(
    ("tail", "found"),
    [
        ("m/a", ("m", "/a")),
        ("org/m/v1/a", ("org/m", "/v1/a")),
        ("org%2Fm/a", ("org/m", "/a")),
        ("v1/a", ("v1", "/a")),
    ],
)
def test_the_longest_path_ends_the_name(tail: str, found: tuple[str, str]) -> None:
    assert found == split_tail(tail, ("/a", "/v1/a"))


@pytest.mark.parametrize("tail", ["a", "m/b", "ma", "/a"])
def test_a_tail_without_name_or_path_is_not_found(tail: str) -> None:
    with pytest.raises(NotFoundError):
        split_tail(tail, ("/a",))

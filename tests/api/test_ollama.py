"""Does Ollama's API answer as its clients need it, over the real data path?"""

import html
import json
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from relayd.api.ollama import lm_studio_routes, ollama_routes
from relayd.clock import SystemClock
from relayd.gguf.facts import FileFacts
from tests.api.conftest import Doors, view
from tests.api.stage import Stage, get, post
from tests.dialects.engine import chat_text, chat_whole
from tests.fakes.replica import LAST_CHUNK, SSE_HEAD, act, chunk, json_answer

pytestmark = pytest.mark.system

stage = partial(Stage, routes=partial(ollama_routes, clock=SystemClock()))
BODY = {"model": "qwen", "messages": [{"role": "user", "content": "Hi"}]}
PLAIN = act(json_answer(chat_whole(text="Hi")))
STREAM = act(SSE_HEAD + chunk(chat_text("Hel", "lo")) + LAST_CHUNK)
FACTS = FileFacts(
    "qwen3", "Qwen3", "Q4_K_M", 5_000, 8_030_000_000, 40_960, 4096, template="x", changed_ns=10**18
)


def _bare(method: str, path: str, body: str) -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    return (head + body).encode()


def _decoded(doors: Doors, raw: bytes, **views: Any) -> Any:
    answer = stage().ask(doors, raw, **views)
    assert 200 == answer.status
    return json.loads(answer.body)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_root_greets_clients(doors: Doors, method: str) -> None:
    answer = stage().ask(doors, f"{method} / HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())

    assert 200 == answer.status
    assert answer.body == (b"" if method == "HEAD" else b"Ollama is running")


@pytest.mark.parametrize("name", ["qwen", "<b>&"])
def test_a_browser_gets_a_page_with_address_and_models(doors: Doors, name: str) -> None:
    raw = b"GET / HTTP/1.1\r\nHost: localhost\r\nAccept: text/html,*/*\r\n\r\n"
    answer = stage().ask(doors, raw, views=(view(name),))
    page = answer.body.decode()

    assert (200, "text/html; charset=utf-8") == (answer.status, answer.headers["content-type"])
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "Accept" == answer.headers["vary"]
    assert "http://localhost/v1" in page
    assert f"<code>{html.escape(name)}</code>" in page
    assert 'href="/ui"' in page


def test_the_version_is_plain_numbers_that_clients_accept(doors: Doors) -> None:
    version = _decoded(doors, get("/api/version"))["version"]

    assert tuple(map(int, version.split("."))) >= (0, 13, 4)


def test_a_chat_reaches_the_engine_and_comes_back(doors: Doors) -> None:
    here = stage(script=PLAIN)

    answer = here.ask(doors, post({**BODY, "stream": False}, "/api/chat"))

    assert ("/v1/chat/completions", {"messages": BODY["messages"]}) == (here.sent_to, here.sent)
    assert "application/json" == answer.headers["content-type"]
    assert ("qwen", "Hi") == (json.loads(answer.body)["model"], json.loads(answer.body)["message"]["content"])


def test_a_chat_is_streamed_by_default_one_line_a_write(doors: Doors) -> None:
    answer = stage(script=STREAM).ask(doors, post(BODY, "/api/chat"))

    assert "application/x-ndjson" == answer.headers["content-type"]
    *texts, last = map(json.loads, answer.body.splitlines())
    assert "Hello" == "".join(line["message"]["content"] for line in texts)
    assert last["done"]


@pytest.mark.parametrize("name", ["qwen:latest", "QWEN", "Qwen:latest"])
def test_a_name_is_answered_as_it_was_asked(doors: Doors, name: str) -> None:
    here = stage(script=PLAIN)

    answer = here.ask(doors, post({**BODY, "model": name, "stream": False}, "/api/chat"))

    assert [("qwen", 1)] == here.arrived
    assert name == json.loads(answer.body)["model"]


def test_a_body_needs_no_content_type(doors: Doors) -> None:
    raw = _bare("POST", "/api/chat", json.dumps({**BODY, "stream": False}))

    assert 200 == stage(script=PLAIN).ask(doors, raw).status


def test_an_empty_chat_has_its_model_loaded(doors: Doors) -> None:
    here = stage(script=act(json_answer(b'{"tokens":[]}')))

    answer = here.ask(doors, post({"model": "qwen"}, "/api/chat"))

    assert "/tokenize" == here.sent_to
    assert ("load", True) == (json.loads(answer.body)["done_reason"], json.loads(answer.body)["done"])


def test_an_unload_loads_nothing(doors: Doors) -> None:
    here = stage()

    answer = here.ask(doors, post({"model": "qwen", "keep_alive": 0}, "/api/generate"))

    assert [] == here.arrived
    assert "unload" == json.loads(answer.body)["done_reason"]
    assert "left out: keep_alive" == answer.headers["x-relayd-changed"]


def test_a_model_on_demand_is_unloaded(doors: Doors) -> None:
    asked: list[str] = []

    def release(model: str) -> bool:
        asked.append(model)
        return True

    here = stage(routes=partial(ollama_routes, clock=SystemClock(), release=release))

    answer = here.ask(doors, post({"model": "QWEN", "messages": [], "keep_alive": "0s"}, "/api/chat"))

    assert (["qwen"], []) == (asked, here.arrived)
    assert "unload" == json.loads(answer.body)["done_reason"]
    assert "x-relayd-changed" not in answer.headers


def test_an_unknown_model_is_named_in_ollamas_words(doors: Doors) -> None:
    answer = stage().ask(doors, post({**BODY, "model": "qwem"}, "/api/chat"))

    error = json.loads(answer.body)["error"]
    assert 404 == answer.status
    assert error.startswith("model 'qwem' not found.")
    assert "Did you mean 'qwen'?" in error


def test_an_error_of_the_engine_is_a_text(doors: Doors) -> None:
    refusal = b'{"error":{"code":400,"message":"too long","type":"invalid_request_error"}}'

    answer = stage(script=act(json_answer(refusal, status="400 Bad Request"))).ask(
        doors, post(BODY, "/api/chat")
    )

    assert (400, "too long") == (answer.status, json.loads(answer.body)["error"])


def test_vectors_of_several_texts_are_as_wide(doors: Doors) -> None:
    here = stage(script=act(json_answer(b'{"data":[{"embedding":[1.0]},{"embedding":[2.0]}]}')))

    answer = here.ask(doors, post({"model": "qwen", "input": ["a", "b"], "options": None}, "/api/embed"))

    assert ("/v1/embeddings", {"input": ["a", "b"], "encoding_format": "float"}) == (here.sent_to, here.sent)
    assert [("qwen", 2)] == here.arrived
    assert [[1.0], [2.0]] == json.loads(answer.body)["embeddings"]


def test_every_model_has_a_digest_of_its_own(doors: Doors) -> None:
    views = (replace(view(), facts=FACTS), replace(view("embed"), facts=FACTS, abilities=("embedding",)))

    models = _decoded(doors, get("/api/tags"), views=views)["models"]

    assert ["qwen:latest", "embed:latest"] == [model["name"] for model in models]
    assert 2 == len({model["digest"] for model in models})
    assert all(64 == len(model["digest"]) and model["name"] == model["model"] for model in models)
    details = {"format": "gguf", "family": "qwen3", "parameter_size": "8.0B", "quantization_level": "Q4_K_M"}
    assert details.items() <= models[0]["details"].items()


def test_a_digest_changes_with_the_file(doors: Doors) -> None:
    old, new = (
        _decoded(doors, get("/api/tags"), views=(replace(view(), facts=facts),))["models"][0]["digest"]
        for facts in (FACTS, replace(FACTS, changed_ns=1))
    )

    assert old != new


def test_models_in_memory_are_listed(doors: Doors) -> None:
    views = (replace(view(), facts=FACTS, host_bytes=3, device_bytes=2), view("cold", 0, cold=1))

    (model,) = _decoded(doors, get("/api/ps"), views=views)["models"]

    assert ("qwen:latest", 5, 2, 4096) == (
        model["model"], model["size"], model["size_vram"], model["context_length"]
    )  # fmt: skip


@pytest.mark.parametrize("body", [{"model": "qwen"}, {"name": "qwen:latest", "model": "", "options": None}])
def test_a_model_is_shown_by_either_member(doors: Doors, body: dict[str, object]) -> None:
    model = _decoded(doors, post(body, "/api/show"), views=(replace(view(), facts=FACTS),))

    info = model["model_info"]
    assert ("qwen3", 40_960, 4096) == (
        info["general.architecture"], info["qwen3.context_length"], info["qwen3.embedding_length"]
    )  # fmt: skip
    assert ["completion"] == model["capabilities"]


def test_a_request_to_show_needs_a_name(doors: Doors) -> None:
    assert 400 == stage().ask(doors, post({}, "/api/show")).status


def test_a_model_that_is_here_is_pulled_at_once(doors: Doors) -> None:
    statuses = stage().ask(doors, post({"model": "qwen"}, "/api/pull")).body.splitlines()

    assert "success" == json.loads(statuses[-1])["status"]
    assert {"status": "success"} == _decoded(doors, post({"name": "qwen", "stream": False}, "/api/pull"))


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/api/copy"), ("DELETE", "/api/delete"), ("POST", "/api/create")]
)
def test_what_changes_models_is_refused_in_words(doors: Doors, method: str, path: str) -> None:
    answer = stage().ask(doors, _bare(method, path, '{"model":"qwen"}'))

    assert 404 == answer.status
    assert "relay.toml" in json.loads(answer.body)["error"]


def test_lm_studio_lists_models_with_their_state(doors: Doors) -> None:
    here = Stage(routes=lm_studio_routes)
    views = (replace(view(), facts=FACTS), view("cold", 0, cold=1))

    ready, cold = json.loads(here.ask(doors, get("/api/v0/models"), views).body)["data"]

    assert ("llm", "loaded", 4096, 40_960) == (
        ready["type"], ready["state"], ready["loaded_context_length"], ready["max_context_length"]
    )  # fmt: skip
    assert "not-loaded" == cold["state"]
    assert "qwen" == json.loads(here.ask(doors, get("/api/v0/models/qwen"), views).body)["id"]

"""Do the doors of other APIs answer as their clients need it, with the real engine behind them?"""

import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI
from pydantic import BaseModel

from tests.daemons import DEADLINE_SECONDS, Daemon

pytestmark = pytest.mark.real

HI: list[Any] = [{"role": "user", "content": "Hi"}]
GREETING = "Hello from relayd!"
SLOW = """
[[model]]
name = "slow"
file = "{slow}"
slots = 1
context = 1024
cache_ram_mib = 64
threads = 1
"""


class Person(BaseModel):
    name: str


@dataclass(frozen=True)
class Http:
    """Asks a daemon, over a connection a request."""

    url: str

    def open(self, method: str, path: str, body: object = None) -> HTTPResponse:
        connection = HTTPConnection(self.url.removeprefix("http://"), timeout=DEADLINE_SECONDS)
        connection.request(method, path, json.dumps(body) if body else None, {"Connection": "close"})
        return connection.getresponse()

    def text(self, path: str, body: object = None) -> str:
        with self.open("POST" if body else "GET", path, body) as answer:
            return answer.read().decode()

    def ask(self, path: str, body: object = None) -> Any:
        return json.loads(self.text(path, body))


@pytest.fixture
def http(demo: Daemon) -> Http:
    return Http(demo.url)


def events(raw: str) -> list[dict[str, Any]]:
    return [json.loads(one.partition("data: ")[2]) for one in raw.split("\n\n")[:-1]]


def test_typed_clients_follow_a_response_and_continue_it(demo: Daemon) -> None:
    with OpenAI(base_url=f"{demo.url}/v1", api_key="unused", max_retries=0) as client:
        with client.responses.stream(model="demo", input="Hi") as stream:
            kinds = [event.type for event in stream]
            final = stream.get_final_response()
        again = client.responses.create(model="demo", input="More", previous_response_id=final.id)

        assert final.output_text.startswith(GREETING)
        assert ("response.created", "response.completed") == (kinds[0], kinds[-1])
        assert again.usage
        assert final.usage
        assert again.usage.input_tokens > final.usage.input_tokens
        assert 0 < client.responses.input_tokens.count(model="demo", input="Hi").input_tokens
        assert final.id == client.responses.retrieve(final.id).id
        cut = client.responses.create(model="demo", input="Hi", max_output_tokens=2)
        assert "incomplete" == cut.status
        assert client.responses.parse(model="demo", input="Hi", text_format=Person).output_parsed is not None


def test_a_message_is_whole_and_its_events_build_it(http: Http) -> None:
    body = {"model": "demo", "max_tokens": 64, "messages": HI}

    whole = http.ask("/v1/messages?beta=true", body)
    found = events(http.text("/v1/messages", {**body, "stream": True}))
    formed = http.ask("/v1/messages", {**body, "output_format": _format()})

    text = "".join(one["delta"].get("text", "") for one in found if one["type"] == "content_block_delta")
    assert whole["content"][0]["text"] == text
    assert text.startswith(GREETING)
    assert ("message_start", "message_stop") == (found[0]["type"], found[-1]["type"])
    assert re.match(r'\{\s*"name"\s*:', formed["content"][0]["text"])
    stopped = http.ask("/v1/messages", {**body, "stop_sequences": ["relayd"]})
    assert ("stop_sequence", "relayd") == (stopped["stop_reason"], stopped["stop_sequence"])


def test_counting_tokens_does_not_wait_behind_generations(
    start_daemon: Callable[..., Daemon], slow_model: Path
) -> None:
    """Fourteen at once, as Claude Code sends them, while the only slot is taken for seconds."""
    http = Http(start_daemon(SLOW.format(slow=slow_model)).url)
    count = {"model": "slow", "messages": [{"role": "user", "content": "word " * 100}]}
    long = {"model": "slow", "prompt": "x", "max_tokens": 300, "ignore_eos": True, "stream": True}

    with http.open("POST", "/v1/completions", long) as generating:
        assert generating.readline()
        with ThreadPoolExecutor(14) as pool:
            asked = [pool.submit(http.ask, "/v1/messages/count_tokens", count) for _ in range(14)]
            counted = {one.result()["input_tokens"] for one in asked}
        left = generating.read().count(b"data: ")

    assert 1 == len(counted)
    assert left > 10, "the generation had ended before the tokens were counted"


def test_refusals_vectors_and_lists_have_the_form_of_their_api(http: Http) -> None:
    ranked = http.ask("/v2/rerank", {"model": "demo", "query": "q", "documents": ["a"]})
    thread = http.ask("/v1/messages", {"model": "demo", "messages": HI, "thread": {"type": "create"}})

    assert "not_supported_error" == ranked["error"]["type"]
    assert "thread_unsupported_request" == thread["error"]["details"]["error_code"]
    body = {"model": "demo", "input": ["cats", "acts"], "dimensions": 8}

    vectors = http.ask("/v1/embeddings", body)["data"]
    (model,) = http.ask("/v1/models")["data"]

    assert [8, 8] == [len(one["embedding"]) for one in vectors]
    assert model["context_length"] == model["meta"]["n_ctx"] > 0
    assert "/v1/messages" in http.ask("/openapi.json")["paths"]


def _format() -> dict[str, Any]:
    return {"type": "json_schema", "schema": Person.model_json_schema()}

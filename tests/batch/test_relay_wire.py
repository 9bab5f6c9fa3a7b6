"""Each request goes out as its API spells it, with its own key, and again where that repeats nothing."""

import json
from pathlib import Path

import pytest

from relayd.batch import BatchRequest, RelayClient
from relayd.errors import BatchServerError
from tests.batch.relays import PROVIDERS, asked, client_of, server
from tests.fakes.batch_api import BatchServer

__all__ = ["server"]

pytestmark = pytest.mark.system


def test_the_limit_of_tokens_is_sent_to_every_provider(server: BatchServer, tmp_path: Path) -> None:
    client, request = client_of(server, tmp_path), BatchRequest("a", "m", "", "hello", 99)
    for provider in PROVIDERS:
        client.submit_batch([request], provider, provider, "")

    sent = b"".join(body for _, path, _, body in server.seen if path != "/v1/batches")
    assert (2, 2) == (sent.count(b'"max_output_tokens": 99'), sent.count(b'"max_tokens": 99'))
    assert (0, 0) == (sent.count(b"instructions"), sent.count(b'"system"'))


def test_arguments_of_a_provider_go_where_it_has_them(server: BatchServer, tmp_path: Path) -> None:
    client = client_of(server, tmp_path)
    arguments = {"max_tokens": 7, "reasoning_effort": "low", "temperature": 0}
    client.submit_batch([BatchRequest("a", "m", "s", "p", provider_args=arguments)], "o", "openai", "")
    thinking = BatchRequest("a", "m", "s", "p", provider_args={"thinking_budget_tokens": 2048})
    client.submit_batch([thinking], "a", "anthropic", "")

    (line,) = map(json.loads, server.files["file-1"].splitlines())
    params = json.loads(server.seen[-1][3])["requests"][0]["params"]
    assert {
        "instructions": "s",
        "input": "p",
        "model": "m",
        "max_output_tokens": 7,
        "reasoning": {"effort": "low"},
        "temperature": 0,
    } == line["body"]
    assert ({"type": "enabled", "budget_tokens": 2048}, 2048 + 4096) == (
        params["thinking"],
        params["max_tokens"],
    )
    with pytest.raises(ValueError, match="thinking_budget_tokens is 10"):
        client.submit_batch(
            [BatchRequest("a", "m", "", "p", provider_args={"thinking_budget_tokens": 10})], "b", "anthropic"
        )


def test_faults_that_pass_are_tried_again(server: BatchServer, tmp_path: Path) -> None:
    pauses: list[float] = []
    client = RelayClient(tmp_path, base_url=f"{server.url}/v1", environ={}, pause=pauses.append)
    server.faults = [(502, {}), (503, {"Retry-After": "7"})]
    client.submit_batch(asked("hello"), "j")
    server.finish()
    server.cuts = 2

    assert 1 == len(client.retrieve_batch_results("j"))
    assert [0.5, 7.0, 0.5, 1.0] == pauses
    assert 1 == len(server.batches)


def test_a_batch_is_not_made_twice_where_its_answer_was_lost(server: BatchServer, tmp_path: Path) -> None:
    client = client_of(server, tmp_path)
    server.faults = [(500, {})]  # of the upload, which may be repeated
    client.submit_batch(asked("hello"), "once")
    seen = len(server.seen)
    server.faults = [(200, {"Content-Length": "0", "x": "y"}), (502, {})]

    with pytest.raises(BatchServerError):
        client.submit_batch(asked("hello"), "twice")

    assert seen + 1 == len(server.seen)
    assert ["once"] == client.list_jobs()


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_names_its_variable(server: BatchServer, tmp_path: Path, status: int) -> None:
    server.faults = [(status, {})]

    with pytest.raises(BatchServerError, match="TOGETHER_API_KEY"):
        client_of(server, tmp_path).submit_batch(asked("hello"), "j", "together", "")


@pytest.mark.parametrize("provider", ["openai", "together", "anthropic"])
def test_a_provider_without_a_key_is_a_value_error(tmp_path: Path, provider: str) -> None:
    with pytest.raises(ValueError, match=f"{provider.upper()}_API_KEY is not set"):
        RelayClient(tmp_path, environ={}).submit_batch(asked("hello"), "j", provider, "")


def test_a_provider_that_is_not_known_is_a_value_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'xai' is not a provider"):
        RelayClient(tmp_path, environ={}).submit_batch(asked("hello"), "j", "xai", "")

"""Batches against the daemon and a real llama-server: unmodified clients, cancellation, a killed daemon."""

import http.client
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from openai import NotFoundError, OpenAI
from openai.types import BatchRequestCounts

from tests.daemon.test_upgrade import upgrade
from tests.daemons import DEADLINE_SECONDS, FAST, Daemon, wait_until

pytestmark = pytest.mark.real

CHAT = "/v1/chat/completions"


def lines(count: int, tokens: int = 4) -> bytes:
    return "".join(
        json.dumps(
            {
                "custom_id": f"line-{number}",
                "method": "POST",
                "url": CHAT,
                "body": {"max_tokens": tokens, "messages": [{"role": "user", "content": f"Hi {number}"}]},
            }
        )
        + "\n"
        for number in range(count)
    ).encode()


def client_of(daemon: Daemon) -> OpenAI:
    return OpenAI(base_url=f"{daemon.url}/v1", api_key="unused", max_retries=0)


@pytest.fixture
def client(demo: Daemon) -> Iterator[OpenAI]:
    with client_of(demo) as client:
        yield client


def submit(client: OpenAI, content: bytes) -> str:
    upload = client.files.create(file=("requests.jsonl", content), purpose="batch")
    return client.batches.create(
        input_file_id=upload.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={"a": "b"}
    ).id


def counts_of(client: OpenAI, batch: str) -> BatchRequestCounts:
    counts = client.batches.retrieve(batch).request_counts
    assert counts is not None
    return counts


def ended(client: OpenAI, batch: str) -> Any:
    over = ("completed", "failed", "expired", "cancelled")
    wait_until(lambda: client.batches.retrieve(batch).status in over)
    return client.batches.retrieve(batch)


def results(client: OpenAI, batch: Any) -> list[dict[str, Any]]:
    files = [one for one in (batch.output_file_id, batch.error_file_id) if one]
    return [json.loads(line) for one in files for line in client.files.content(one).text.splitlines()]


def test_a_batch_of_an_unmodified_client(client: OpenAI) -> None:
    batch = ended(client, submit(client, lines(12)))

    found = results(client, batch)
    assert ("completed", 12, 12, 0) == (
        batch.status,
        batch.request_counts.total,
        batch.request_counts.completed,
        batch.request_counts.failed,
    )
    assert {f"line-{number}" for number in range(12)} == {one["custom_id"] for one in found}
    assert 12 == len(found)
    assert all(one["response"]["body"]["choices"][0]["message"]["content"] for one in found)
    assert batch.usage.output_tokens == sum(
        one["response"]["body"]["usage"]["completion_tokens"] for one in found
    )
    assert [batch.id] == [one.id for one in client.batches.list()]
    assert {"batch", "batch_output"} == {one.purpose for one in client.files.list()}


def test_a_cancelled_batch_has_a_result_for_every_line(client: OpenAI) -> None:
    name = submit(client, lines(2000, tokens=200))
    wait_until(lambda: client.batches.retrieve(name).status == "in_progress")
    client.batches.cancel(name)

    batch = ended(client, name)

    found = results(client, batch)
    assert "cancelled" == batch.status
    assert 2000 == len({one["custom_id"] for one in found}) == len(found)
    assert "batch_cancelled" in {one["error"]["code"] for one in found if one["error"]}


def test_a_batch_that_is_cancelled_while_it_is_checked_stays_cancelled(client: OpenAI) -> None:
    name = submit(client, lines(50, tokens=200))
    client.batches.cancel(name)

    batch = ended(client, name)

    assert ("cancelled", 50) == (batch.status, batch.request_counts.failed + batch.request_counts.completed)


def test_a_batch_outlives_a_killed_daemon(start_daemon: Callable[..., Daemon]) -> None:
    first = start_daemon(FAST, "--demo")
    with client_of(first) as client:
        name = submit(client, lines(60, tokens=30))
        wait_until(lambda: counts_of(client, name).completed >= 8)
    first.process.kill()
    first.process.wait()

    second = start_daemon(FAST, "--demo")
    with client_of(second) as client:
        batch = ended(client, name)
        found = results(client, batch)

    assert "completed" == batch.status
    assert sorted(f"line-{number}" for number in range(60)) == sorted(one["custom_id"] for one in found)


def test_a_message_batch_has_its_results_in_anthropics_form(demo: Daemon) -> None:
    def ask(method: str, path: str, body: Any = None) -> bytes:
        connection = http.client.HTTPConnection(demo.url.removeprefix("http://"), timeout=DEADLINE_SECONDS)
        connection.request(method, path, None if body is None else json.dumps(body))
        with closing(connection):
            return connection.getresponse().read()

    asked = {"max_tokens": 4, "messages": [{"role": "user", "content": "Hi\nthere"}]}
    requests = [
        {"custom_id": "good", "params": {"model": "demo", **asked}},
        {"custom_id": "bad", "params": {"model": "nosuch", **asked}},
    ]
    path = "/v1/messages/batches"
    made = json.loads(ask("POST", path, {"requests": requests}))
    one = f"{path}/{made['id']}"
    wait_until(lambda: json.loads(ask("GET", one))["processing_status"] == "ended")

    batch = json.loads(ask("GET", one))
    found = [json.loads(line) for line in ask("GET", f"{one}/results").splitlines()]

    assert ("in_progress", None) == (made["processing_status"], made["results_url"])
    assert (1, 1, 0) == tuple(
        batch["request_counts"][name] for name in ("succeeded", "errored", "processing")
    )
    assert {"good": "succeeded", "bad": "errored"} == {
        each["custom_id"]: each["result"]["type"] for each in found
    }
    assert "message_batch_deleted" == json.loads(ask("DELETE", one))["type"]


def test_a_batch_goes_on_through_an_upgrade(start_daemon: Callable[..., Daemon]) -> None:
    daemon = start_daemon(FAST, "--demo")
    with client_of(daemon) as client:
        name = submit(client, lines(16, tokens=8))
        wait_until(lambda: counts_of(client, name).completed >= 1)
        upgrade(daemon)

    with client_of(daemon) as client:
        batch = ended(client, name)
        found = results(client, batch)

    assert ("completed", 16) == (batch.status, batch.request_counts.completed)
    assert sorted(f"line-{number}" for number in range(16)) == sorted(one["custom_id"] for one in found)


def test_responses_of_lines_are_in_the_results_and_nowhere_else(client: OpenAI) -> None:
    body = {"model": "demo", "input": "Hi", "max_output_tokens": 4}
    line = {"custom_id": "a", "method": "POST", "url": "/v1/responses", "body": body}
    upload = client.files.create(file=("a.jsonl", json.dumps(line).encode()), purpose="batch")
    made = client.batches.create(input_file_id=upload.id, endpoint="/v1/responses", completion_window="24h")

    (found,) = results(client, ended(client, made.id))

    assert "response" == found["response"]["body"]["object"]
    with pytest.raises(NotFoundError):
        client.responses.retrieve(found["response"]["body"]["id"])


def test_the_owner_removes_what_has_ended(start_daemon: Callable[..., Daemon]) -> None:
    daemon = start_daemon(FAST, "--demo")
    with client_of(daemon) as client:
        batch = ended(client, submit(client, lines(2)))
        removed = json.loads(daemon.run("batch", "gc", "--days", "0", "--json").stdout)
        left = client.batches.list().data

    assert "completed" == batch.status
    assert (1, []) == (removed["batches"], left)
    assert "Removed, batches: 0, files: 0.\n" == daemon.run("batch", "gc").stdout

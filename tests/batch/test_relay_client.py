"""`RelayClient` has Relay's signatures with each API it uses; Relay's bugs are mended."""

import json
import subprocess
import sys
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import pytest

from relayd.batch import BatchJob, BatchRequest
from relayd.errors import BatchJobError, BatchServerError
from tests.batch.relays import PROVIDERS, asked, client_of, server, text_of
from tests.fakes.batch_api import BatchServer, batch_server

__all__ = ["server"]

pytestmark = pytest.mark.system


# What Relay's README shows, top to bottom.


@pytest.mark.parametrize("provider", PROVIDERS)
def test_every_call_of_relays_readme_works_top_to_bottom(
    server: BatchServer, tmp_path: Path, provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    client = client_of(server, Path("my_jobs"))
    requests = [
        BatchRequest(id="a", model="m", system_prompt="Be kind.", prompt="What is 2+2?", provider_args={}),
        BatchRequest(id="b", model="m", system_prompt="Be kind.", prompt="And 3+3?", provider_args={}),
    ]

    job = client.submit_batch(requests=requests, job_id="first", provider=provider, description="An example")
    assert ("first", 2) == (job.job_id, job.n_requests)
    assert isinstance(job.submitted_at, datetime)
    assert ["first"] == client.list_jobs()
    info = client.get_job("first")
    assert info
    assert (job.status, "An example") == (info["status"], info["description"])
    assert not client.has_results("first")
    assert client.get_results("first") is None

    server.finish()
    status = client.monitor_batch("first")
    assert (2, 2, 0) == (status.n_requests, status.completed_requests, status.failed_requests)
    results = client.retrieve_batch_results("first")
    assert {"a": "answer to What is 2+2?", "b": "answer to And 3+3?"} == {
        one["custom_id"]: text_of(one) for one in results
    }
    assert results == client.retrieve_batch_results("first", force_refresh=True)
    assert results == client.get_results("first")
    assert client.has_results("first")
    if provider != "anthropic":  # which takes a cancel at any time
        assert client.cancel_batch("first") is False

    again = client_of(server, Path("my_jobs"))
    assert results == again.get_results("first")
    assert {"my_jobs"} == {path.name for path in tmp_path.iterdir()}
    assert {"first.json", "first_results.json"} == {path.name for path in Path("my_jobs").iterdir()}


@pytest.mark.parametrize("provider", PROVIDERS)
def test_each_provider_gets_its_own_key(server: BatchServer, tmp_path: Path, provider: str) -> None:
    client_of(server, tmp_path).submit_batch(asked("hello"), "j", provider, "")

    ours = [headers for _, path, headers, _ in server.seen if path.startswith("/v1")]
    name = "X-Api-Key" if provider == "anthropic" else "Authorization"
    expected = f"key of {provider}" if provider == "anthropic" else f"Bearer key of {provider}"
    assert {expected} == {headers[name] for headers in ours}


def test_the_address_that_together_names_for_the_upload_gets_no_key(tmp_path: Path) -> None:
    with batch_server() as server, batch_server() as bucket:
        server.upload_to = f"{bucket.url}/bucket/1"
        with pytest.raises(BatchServerError, match="names no file and address"):  # prompts in the clear
            client_of(server, tmp_path).submit_batch(asked("hello"), "j", "together", "")

        assert [] == bucket.seen


def test_together_is_spoken_as_its_own_library_does(server: BatchServer, tmp_path: Path) -> None:
    client_of(server, tmp_path).submit_batch(asked("hello"), "j", "together", "")

    assert [
        "POST /v1/files",
        "PUT /bucket/1",
        "POST /v1/files/file-1/preprocess",
        "POST /v1/batches",
    ] == server.calls()
    (line,) = map(json.loads, server.seen[1][3].splitlines())
    assert ("req-1", "/v1/chat/completions") == (line["custom_id"], line["url"])


def test_a_job_of_together_is_followed_by_another_client_too(server: BatchServer, tmp_path: Path) -> None:
    client_of(server, tmp_path).submit_batch(asked("one", "two"), "j", "together", "")
    server.finish()

    status = client_of(server, tmp_path).monitor_batch("j")

    assert ("completed", 2, 2) == (status.status, status.n_requests, status.completed_requests)


# Relay's bugs.


@pytest.mark.parametrize("provider", PROVIDERS)
def test_failed_requests_are_among_the_results(server: BatchServer, tmp_path: Path, provider: str) -> None:
    client = client_of(server, tmp_path)
    client.submit_batch(asked("good", "fail"), "j", provider, "")
    server.finish()

    assert {"req-1", "req-2"} == {one["custom_id"] for one in client.retrieve_batch_results("j")}


@pytest.mark.parametrize("provider", ["relayd", "openai", "anthropic"])
def test_counts_hold_after_the_end(server: BatchServer, tmp_path: Path, provider: str) -> None:
    client = client_of(server, tmp_path)
    client.submit_batch(asked("good", "fail", "good too"), "j", provider, "")
    server.finish()

    status = client.monitor_batch("j")

    assert (3, 2, 1) == (status.n_requests, status.completed_requests, status.failed_requests)
    assert (3, 2, 1) == tuple(
        (client.get_job("j") or {})[name] for name in ("n_requests", "completed_requests", "failed_requests")
    )


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_cancel_is_recorded(server: BatchServer, tmp_path: Path, provider: str) -> None:
    client = client_of(server, tmp_path)
    client.submit_batch(asked("good"), "j", provider, "")

    assert client.cancel_batch("j") is True
    assert (client.get_job("j") or {})["status"] in ("cancelling", "canceling", "cancelled")
    server.finish("cancelled")
    assert "cancelled" == client.monitor_batch("j").status


def test_what_was_done_of_a_cancelled_or_expired_job_can_be_had(server: BatchServer, tmp_path: Path) -> None:
    client = client_of(server, tmp_path)
    for status in ("cancelled", "expired"):
        client.submit_batch(asked("good"), status)
        server.finish(status)

        assert ["req-1"] == [one["custom_id"] for one in client.retrieve_batch_results(status)]


def test_a_job_that_is_being_finalized_is_in_progress(server: BatchServer, tmp_path: Path) -> None:
    client = client_of(server, tmp_path)
    client.submit_batch(asked("good"), "j")
    next(iter(server.batches.values()))["status"] = "finalizing"
    client.monitor_batch("j")

    assert [] == client.get_all_jobs(status="completed")
    assert ["j"] == [one["job_id"] for one in client.get_all_jobs(status="in_progress")]
    with pytest.raises(BatchJobError, match="has not ended"):
        client.retrieve_batch_results("j")
    with pytest.raises(ValueError, match="in progress"):
        client.submit_batch(asked("again"), "j")


def test_a_job_that_replaces_an_ended_one_does_not_keep_its_results(
    server: BatchServer, tmp_path: Path
) -> None:
    client = client_of(server, tmp_path)
    client.submit_batch(asked("old"), "j")
    server.finish()
    client.retrieve_batch_results("j")

    client.submit_batch(asked("new"), "j")

    assert not client.has_results("j")
    server.finish()
    assert ["answer to new"] == [text_of(one) for one in client.retrieve_batch_results("j")]


def test_a_refused_submission_leaves_the_earlier_job_and_its_results(
    server: BatchServer, tmp_path: Path
) -> None:
    client = client_of(server, tmp_path)
    client.submit_batch(asked("old"), "j")
    server.finish()
    kept = client.retrieve_batch_results("j")
    before = (tmp_path / "j.json").read_bytes()
    server.faults = [(400, {})]

    with pytest.raises(BatchServerError, match="400: not now"):
        client.submit_batch(asked("new"), "j")

    assert (before, kept) == ((tmp_path / "j.json").read_bytes(), client.get_results("j"))


@pytest.mark.parametrize(
    ("requests", "message"),
    [
        ([], "at least one"),
        ([BatchRequest("a", "m", "", "1"), BatchRequest("a", "m", "", "2")], "request 2 has the id 'a'"),
        ([BatchRequest("", "m", "", "1")], "request 1 has the id ''"),
    ],
)
def test_what_cannot_be_told_apart_is_refused(
    server: BatchServer, tmp_path: Path, requests: list[BatchRequest], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        client_of(server, tmp_path).submit_batch(requests, "j")

    assert [] == server.seen


def test_importing_the_client_loads_neither_daemon_nor_its_libraries() -> None:
    program = (
        "import sys; from relayd.batch import RelayClient, BatchRequest, BatchJob;"
        "print([m for m in sys.modules if m.partition('.')[0] in"
        " ('aiohttp', 'msgspec', 'rich', 'typer', 'psutil', 'uvloop', 'openai', 'anthropic')"
        " or m.startswith(('relayd.daemon', 'relayd.api', 'relayd.router', 'relayd.scheduler'))])"
    )

    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert "[]\n" == found.stdout


def test_requests_and_jobs_are_made_as_relays_are() -> None:
    request = BatchRequest("a", "m", "s", "p", 5, {"temperature": 0})
    job = BatchJob("j", datetime(2026, 1, 1), "validating", 3)  # noqa: DTZ001 - as Relay's

    assert ("a", "m", "s", "p", 5, {"temperature": 0}) == tuple(asdict(request).values())
    assert (0, 0) == (job.completed_requests, job.failed_requests)

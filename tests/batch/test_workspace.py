"""The folder of a batch client is Relay's: ids that are plain names, jobs that are found, files that fit."""

import json
from datetime import datetime
from pathlib import Path

import pytest

from relayd.errors import BatchJobError
from tests.batch.relays import asked, client_of, server
from tests.fakes.batch_api import BatchServer

__all__ = ["server"]

pytestmark = pytest.mark.system


@pytest.mark.parametrize("job", ["../up", "a/b", "", " ", ".hidden", "x" * 129, "j_results", "a b", "é"])
def test_an_id_for_a_new_job_is_a_plain_name(server: BatchServer, tmp_path: Path, job: str) -> None:
    with pytest.raises(ValueError, match="is not"):
        client_of(server, tmp_path / "w").submit_batch(asked("hello"), job)

    assert ([], []) == (server.seen, list((tmp_path / "w").iterdir()))


@pytest.mark.parametrize("job", ["../up", "a/b", "..", "a\0b", "a\\b"])
def test_no_method_leaves_the_folder(server: BatchServer, tmp_path: Path, job: str) -> None:
    client = client_of(server, tmp_path / "w")
    (tmp_path / "up.json").write_text('{"provider": "openai"}')

    for method in (client.get_job, client.get_results, client.has_results, client.monitor_batch):
        with pytest.raises(ValueError, match="is not the id"):
            method(job)


def test_only_one_process_submits_an_id(server: BatchServer, tmp_path: Path) -> None:
    client = client_of(server, tmp_path)

    with client._workspace.submitting("j"), pytest.raises(BatchJobError, match="another process"):
        client.submit_batch(asked("hello"), "j")


def test_a_workspace_made_by_relay_opens_unchanged(server: BatchServer, tmp_path: Path) -> None:
    document = {
        "job_id": "My first job",
        "provider_job_id": "batch_77",
        "provider": "openai",
        "submitted_at": "2025-12-23T16:27:47.743798",
        "status": "completed",
        "n_requests": 3,
        "completed_requests": 3,
        "failed_requests": 0,
        "description": "Example batch job",
    }
    (tmp_path / "My first job.json").write_text(json.dumps(document, indent=2))
    (tmp_path / "My first job_results.json").write_text(json.dumps([{"custom_id": "req-1"}], indent=2))
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "strange.json").write_text("[1]")
    client = client_of(server, tmp_path)

    assert document == client.get_job("My first job")
    assert [document | {"has_results": True}] == client.get_all_jobs()
    assert [{"custom_id": "req-1"}] == client.retrieve_batch_results("My first job")
    assert client.get_job("broken") is None
    assert [] == server.seen


def test_a_job_file_has_the_members_of_relays(server: BatchServer, tmp_path: Path) -> None:
    client_of(server, tmp_path).submit_batch(asked("hello"), "j", "openai", "why")

    document = json.loads((tmp_path / "j.json").read_text())
    assert {
        "job_id": "j",
        "provider_job_id": "batch_2",
        "provider": "openai",
        "submitted_at": document["submitted_at"],
        "status": "validating",
        "n_requests": 1,
        "completed_requests": 0,
        "failed_requests": 0,
        "description": "why",
    } == document
    assert datetime.fromisoformat(document["submitted_at"]).tzinfo is None


def test_jobs_are_filtered_and_the_newest_comes_first(server: BatchServer, tmp_path: Path) -> None:
    client = client_of(server, tmp_path)
    for name, day, provider, status in (
        ("one", "2026-01-01T10:00:00", "openai", "completed"),
        ("two", "2026-01-02T23:59:59.5", "anthropic", "ended"),
        ("three", "2026-01-03T00:00:00", "together", "IN_PROGRESS"),
    ):
        document = {"job_id": name, "provider": provider, "submitted_at": day, "status": status}
        (tmp_path / f"{name}.json").write_text(json.dumps({**document, "description": f"About {name}"}))

    def found(**filters: str) -> list[str]:
        return [one["job_id"] for one in client.get_all_jobs(**filters)]

    assert ["three", "two", "one"] == found()
    assert ["two", "one"] == found(status="completed")
    assert ["three"] == found(status="in_progress", provider="Together")
    assert ["two", "one"] == found(date_to="2026-01-02")
    assert ["three", "two"] == found(date_from="2026-01-02")
    assert ["two"] == found(description_search="ABOUT TW", job_id_search="WO")
    with pytest.raises(ValueError, match="date_from is 'soon'"):
        found(date_from="soon")


def test_a_job_that_is_not_there_is_a_value_error_with_those_that_are(
    server: BatchServer, tmp_path: Path
) -> None:
    client = client_of(server, tmp_path)
    client.submit_batch(asked("hello"), "here")

    assert client.get_job("there") is None
    for method in (client.monitor_batch, client.retrieve_batch_results, client.cancel_batch):
        with pytest.raises(ValueError, match=r"job there is not in .*\nThere are: here"):
            method("there")

"""`relayd batch` against a server of batches: submit, watch, results, retry, and a Relay workspace."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from relayd.batch import BatchRequest, RelayClient
from relayd.cli.app import app
from relayd.errors import BatchJobError, UsageError
from tests.fakes.batch_api import BatchServer, batch_server

pytestmark = pytest.mark.system


@pytest.fixture
def server() -> Iterator[BatchServer]:
    with batch_server() as serving:
        yield serving


def relayd(server: BatchServer, *words: object, stdin: str = "") -> Result:
    """Run a command in an environment that names the server, and raise what it raises."""
    environ = {"RELAYD_BASE_URL": f"{server.url}/v1", "RELAYD_API_KEY": "k", "HOME": "/nonexistent"}
    done = CliRunner().invoke(app, ["batch", *map(str, words)], env=environ, input=stdin)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def jsonl(done: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def written(tmp_path: Path, *prompts: str) -> Path:
    file = tmp_path / "in.csv"
    file.write_text("id,prompt\n" + "".join(f"r{i},{prompt}\n" for i, prompt in enumerate(prompts)))
    return file


def test_a_batch_is_submitted_watched_and_read(server: BatchServer, tmp_path: Path) -> None:
    file = written(tmp_path, "one", "two", "fail")
    done = relayd(server, "submit", file, "--id", "mine", "--model", "m", "--description", "why")
    assert [
        "Submitted 3 requests as batch_2.",
        "Watch it: relayd batch watch mine",
    ] == done.stdout.splitlines()
    server.finish()

    watched = relayd(server, "watch", "mine")
    assert 1 == watched.exit_code  # one of them failed
    assert "2 of 3 done, 1 failed" in watched.stdout
    assert "relayd batch retry mine" in watched.stdout

    table = list(csv.reader(io.StringIO(relayd(server, "results", "mine", "--csv").stdout)))
    assert ["custom_id", "status", "text", "error"] == table[0]
    assert [["r0", "200", "answer to one", ""], ["r2", "400", "", "it fails"]] == [table[1], table[3]]
    lines = relayd(server, "results", "mine").stdout.splitlines()
    assert lines == [
        json.dumps(one) for one in json.loads(relayd(server, "results", "mine", "--json").stdout)
    ]
    failed = jsonl(relayd(server, "results", "mine", "--failed"))
    assert ["r2"] == [one["custom_id"] for one in failed]


def test_waiting_ends_with_the_batch(server: BatchServer, tmp_path: Path) -> None:
    server.finish_at_once = True

    good = relayd(server, "submit", written(tmp_path, "one"), "--wait", "--json")
    bad = relayd(server, "submit", written(tmp_path, "one", "fail"), "--wait", "--quiet")

    assert (0, "completed") == (good.exit_code, json.loads(good.stdout)["status"])
    assert 1 == bad.exit_code


def test_what_failed_is_tried_again(server: BatchServer, tmp_path: Path) -> None:
    relayd(server, "submit", written(tmp_path, "one", "fail", "two"), "--id", "mine")
    with pytest.raises(BatchJobError, match="has not ended"):
        relayd(server, "retry", "mine")
    server.finish()

    done = relayd(server, "retry", "mine", "--id", "again")

    assert done.stdout.startswith("Submitted the 1 that failed as ")
    (batch,) = (one for one in server.batches.values() if one["metadata"].get("job_id") == "again")
    (line,) = map(json.loads, server.files[batch["input_file_id"]].splitlines())
    assert ("r1", "batch_2") == (line["custom_id"], batch["metadata"]["retry_of"])


def test_a_name_is_taken_while_its_batch_runs(server: BatchServer, tmp_path: Path) -> None:
    file = written(tmp_path, "one")
    relayd(server, "submit", file, "--id", "mine")

    with pytest.raises(BatchJobError, match="called 'mine' is validating"):
        relayd(server, "submit", file, "--id", "mine")

    server.finish()
    relayd(server, "submit", file, "--id", "mine")
    assert 2 == len(server.batches)


def test_a_batch_is_found_by_its_id_its_beginning_or_its_name(server: BatchServer, tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        relayd(server, "submit", written(tmp_path, name), "--id", name)

    for asked in ("batch_4", "two"):
        assert "batch_4" == json.loads(relayd(server, "show", asked, "--json").stdout)["id"]
    with pytest.raises(BatchJobError, match="3 batches begin with 'bat'"):
        relayd(server, "show", "bat")
    with pytest.raises(BatchJobError, match="there is no batch 'four'"):
        relayd(server, "show", "four")
    assert ["batch_6", "batch_4", "batch_2"] == [
        one["id"] for one in json.loads(relayd(server, "--json").stdout)
    ]


def test_a_cancelled_batch_is_not_cancelled_twice(server: BatchServer, tmp_path: Path) -> None:
    relayd(server, "submit", written(tmp_path, "one"), "--id", "mine")

    assert "batch_2 is cancelling: 0 of 1 were done.\n" == relayd(server, "cancel", "mine").stdout
    server.finish("cancelled")
    with pytest.raises(BatchJobError, match="has ended: cancelled"):
        relayd(server, "cancel", "mine")


def test_nothing_is_sent_of_a_file_with_faults(server: BatchServer, tmp_path: Path) -> None:
    file = tmp_path / "in.jsonl"
    file.write_text('{"custom_id": "a", "body": {}}\n{"custom_id": "a", "body": {}}\n')

    with pytest.raises(UsageError, match="line 2: its `custom_id` 'a' is that of line 1"):
        relayd(server, "submit", file)

    assert [] == server.seen


def test_standard_input_is_read(server: BatchServer) -> None:
    relayd(server, "submit", "-", stdin="first\nsecond\n")
    relayd(server, "submit", "-", stdin='{"custom_id": "a", "body": {"model": "m"}}\n')

    assert [2, 1] == [one["request_counts"]["total"] for one in server.batches.values()]


def test_results_appear_as_a_whole_or_not_at_all(server: BatchServer, tmp_path: Path) -> None:
    relayd(server, "submit", written(tmp_path, "one", "two"), "--id", "mine")
    target = tmp_path / "out" / "results.jsonl"
    target.parent.mkdir()
    with pytest.raises(BatchJobError, match="has no results: it is validating"):
        relayd(server, "results", "mine", "-o", target)
    assert [] == list(target.parent.iterdir())
    server.finish()

    relayd(server, "results", "mine", "-o", target)

    assert (["results.jsonl"], 2) == (
        [path.name for path in target.parent.iterdir()],
        len(target.read_text().splitlines()),
    )


def test_a_relay_workspace_is_shown_watched_and_read(server: BatchServer, tmp_path: Path) -> None:
    folder = tmp_path / "jobs"
    client = RelayClient(folder, base_url=f"{server.url}/v1", api_key="k")
    client.submit_batch([BatchRequest("a", "m", "", "one")], "first", description="An example")

    assert "first" in relayd(server, "--directory", folder).stdout
    server.finish()
    assert 0 == relayd(server, "watch", "first", "--directory", folder).exit_code
    assert (
        "completed"
        == json.loads(relayd(server, "show", "first", "--directory", folder, "--json").stdout)["status"]
    )
    text = relayd(server, "results", "first", "--directory", folder, "--csv").stdout
    assert "a,200,answer to one," == text.splitlines()[1]
    assert client.has_results("first")
    with pytest.raises(BatchJobError, match="job first has ended"):
        relayd(server, "cancel", "first", "--directory", folder)
    with pytest.raises(BatchJobError, match=r"job x is not in .*\nThere are: first\."):
        relayd(server, "show", "x", "--directory", folder)
    with pytest.raises(UsageError, match="is not a folder"):
        relayd(server, "--directory", tmp_path / "none")

"""A replica that was made smaller to fit stays so, and what is no part of a process restarts none."""

import json
import os
import signal
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.contract.test_adoption import await_incarnation, kill, pids
from tests.daemons import Daemon

pytestmark = pytest.mark.fake

OOM = "cudaMalloc failed"


@pytest.fixture
def text(faulty: Callable[..., str]) -> str:
    """A model that its device holds with one slot, and not with the two it is to have."""
    return faulty(slots=2, m="oom")


def reduced(daemon: Daemon) -> dict[str, Any]:
    """Wait for the smaller incarnation and return it."""
    replica = await_incarnation(daemon, "m#0", 2)
    assert ["slots: 2 → 1"] == replica["reduced"]
    return replica


def ooms(replica: dict[str, Any]) -> int:
    return Path(replica["log"]).read_text().count(OOM)


def test_the_next_daemon_adopts_a_replica_in_the_size_it_was_made_smaller_to(
    start_faked: Callable[..., Daemon], text: str
) -> None:
    first = start_faked(text)
    before = reduced(first)
    kill(first)

    second = start_faked(text)

    assert {"m#0": before["pid"]} == pids(second)
    assert (["slots: 2 → 1"], 1) == (second.replicas()["m#0"]["reduced"], second.replicas()["m#0"]["slots"])
    assert 1 == ooms(before)


def test_an_upgrade_adopts_it_so(start_faked: Callable[..., Daemon], text: str) -> None:
    daemon = start_faked(text)
    before = reduced(daemon)

    done = daemon.run("upgrade", "--json")

    assert 0 == done.returncode, done.stderr
    assert json.loads(done.stdout)["pid"] == daemon.status()["pid"]
    assert {"m#0": before["pid"]} == pids(daemon)
    assert ["slots: 2 → 1"] == daemon.replicas()["m#0"]["reduced"]


def test_what_was_reduced_outlives_the_daemon_and_the_process(
    start_faked: Callable[..., Daemon], text: str
) -> None:
    first = start_faked(text)
    before = reduced(first)
    kill(first)
    os.kill(before["pid"], signal.SIGKILL)

    second = start_faked(text)

    replica = second.replicas()["m#0"]
    assert ("ready", ["slots: 2 → 1"]) == (replica["state"], replica["reduced"])
    assert before["pid"] != replica["pid"]
    assert 1 == ooms(before), "memory did not run out again"


def test_a_restart_by_hand_tries_the_full_size_again(start_faked: Callable[..., Daemon], text: str) -> None:
    daemon = start_faked(text)
    before = reduced(daemon)

    daemon.run("restart", "m")

    replica = daemon.replicas()["m#0"]
    assert ("ready", ["slots: 2 → 1"]) == (replica["state"], replica["reduced"])
    assert 2 == ooms(before)


def test_editing_an_alias_restarts_nothing(
    start_faked: Callable[..., Daemon], faulty: Callable[..., str]
) -> None:
    text = faulty(m="")
    daemon = start_faked(text)
    before = pids(daemon)
    daemon.config.write_text(text + 'aliases = ["other"]\n')

    done = daemon.run("reload", "--json")

    assert 0 == done.returncode, done.stderr
    assert {} == json.loads(done.stdout)["changed"]
    assert before == pids(daemon)
    with urllib.request.urlopen(f"{daemon.url}/v1/models") as answer:
        (model,) = json.load(answer)["data"]
    assert ["other"] == model["aliases"]


def test_an_edited_alias_is_no_reason_to_load_again_for_the_next_daemon(
    start_faked: Callable[..., Daemon], faulty: Callable[..., str]
) -> None:
    text = faulty(m="")
    first = start_faked(text)
    before = pids(first)
    kill(first)

    second = start_faked(text + 'aliases = ["other"]\n')

    assert before == pids(second)

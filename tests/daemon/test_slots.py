"""Long prompts that a replica had read are read back after it was ended and started again."""

import json
import os
import signal
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.daemons import Daemon, wait_until

pytestmark = pytest.mark.real

CONFIG = """\
[replicas]
slots_on_disk_mib = 500
[[model]]
name = "m"
file = "{file}"
slots = 2
context = 4096
threads = 1
cache_ram_mib = 0
"""
PROMPT = "".join(f"{number} bottles, " for number in range(120))


def completed(daemon: Daemon) -> tuple[str, int]:
    """Return the answer to the prompt, and how many of its tokens a cache had."""
    body = {"prompt": PROMPT, "n_predict": 8, "temperature": 0, "model": "m", "cache_prompt": True}
    request = urllib.request.Request(f"{daemon.url}/completion", json.dumps(body).encode())
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request) as answer:
        found: dict[str, Any] = json.load(answer)
    return found["content"], found["timings"]["cache_n"]


def again(daemon: Daemon) -> None:
    """Have the model leave memory and come back."""
    daemon.client.unload("m")
    wait_until(lambda: daemon.replicas()["m#0"]["state"] == "cold")
    daemon.client.load("m")
    wait_until(lambda: daemon.replicas()["m#0"]["state"] == "ready")


def test_a_prompt_outlasts_replica_and_daemon_unless_its_file_was_harmed_or_a_key_forbids_it(
    start_daemon: Callable[..., Daemon], tiny_model: Path
) -> None:
    daemon = start_daemon(CONFIG.format(file=tiny_model))
    folder = daemon.home / "state" / "relayd" / "slots"
    assert 0 == completed(daemon)[1]
    text, tokens = completed(daemon)

    again(daemon)
    kept = list(folder.glob("*.slot"))
    assert (text, tokens) == completed(daemon)
    assert [0o600] == [path.stat().st_mode & 0o777 for path in kept]
    assert [] == list(folder.glob("*.part"))

    assert 0 == daemon.run("stop").returncode
    daemon = start_daemon(CONFIG.format(file=tiny_model))
    wait_until(lambda: daemon.replicas()["m#0"]["state"] == "ready")
    assert (text, tokens) == completed(daemon)

    daemon.client.unload("m")
    wait_until(lambda: daemon.replicas()["m#0"]["state"] == "cold")
    [kept_again] = folder.glob("*.slot")
    kept_again.write_bytes(kept_again.read_bytes()[:-1])
    daemon.client.load("m")
    wait_until(lambda: daemon.replicas()["m#0"]["state"] == "ready")
    assert 0 == completed(daemon)[1], "a file that is cut short reached the engine"

    assert 0 == daemon.run("keys", "create", "quiet", "--no-retention").returncode
    daemon.client.unload("m")
    wait_until(lambda: daemon.replicas()["m#0"]["state"] == "cold")
    assert [] == list(folder.glob("*.slot"))


def test_the_successor_of_a_replica_that_was_killed_reads_what_was_kept_before(
    start_daemon: Callable[..., Daemon], tiny_model: Path
) -> None:
    daemon = start_daemon(CONFIG.format(file=tiny_model))
    completed(daemon)
    answer = completed(daemon)
    again(daemon)
    pid = daemon.replicas()["m#0"]["pid"]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: (one := daemon.replicas()["m#0"])["state"] == "ready" and one["pid"] != pid)

    assert answer == completed(daemon)


def test_slots_outlast_a_daemon_that_is_killed_in_the_replica_that_lives_on(
    start_daemon: Callable[..., Daemon], tiny_model: Path
) -> None:
    daemon = start_daemon(CONFIG.format(file=tiny_model))
    completed(daemon)
    answer, pid = completed(daemon), daemon.replicas()["m#0"]["pid"]
    daemon.process.kill()
    daemon.end()
    daemon = start_daemon(CONFIG.format(file=tiny_model))
    wait_until(lambda: daemon.replicas()["m#0"]["state"] == "ready")

    assert (pid, answer) == (daemon.replicas()["m#0"]["pid"], completed(daemon))

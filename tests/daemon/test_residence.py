"""Two models with room for one: who asks is served, what is busy or pinned stays, and the ledger is exact."""

import json
import os
import shutil
import signal
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.daemons import DEADLINE_SECONDS, FAST, Daemon, wait_until

pytestmark = pytest.mark.real

Start = Callable[..., Daemon]

LINE = 'slots = 2\ncontext = 2048\ncache_ram_mib = 0\nload = "demand"\n'


def config(folder: Path, *models: str, host_mib: int = 20) -> str:
    """Return a configuration with room for one tiny model, of which each takes 15 MiB."""
    lines = (f'[[model]]\nname = "{name}"\nfile = "{folder / name}.gguf"\n{LINE}' for name in models)
    return f"[memory]\nhost_mib = {host_mib}\nmin_resident_seconds = 0\n{FAST}{''.join(lines)}"


def copies(home: Path, tiny: Path, *names: str) -> Path:
    for name in names:
        shutil.copy(tiny, home / f"{name}.gguf")
    return home


def ask(daemon: Daemon, model: str, tokens: int = 2) -> tuple[int, dict[str, Any], str]:
    """Return status, body and Retry-After of a completion."""
    body = json.dumps({"model": model, "prompt": "hi", "max_tokens": tokens}).encode()
    request = urllib.request.Request(
        daemon.url + "/v1/completions", body, {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=DEADLINE_SECONDS) as answer:
            return answer.status, json.loads(answer.read()), ""
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, json.loads(refusal.read()), refusal.headers.get("Retry-After", "")


def listening(daemon: Daemon) -> Daemon:
    daemon.await_event("listening")
    return daemon


def states(daemon: Daemon) -> dict[str, str]:
    return {name: replica["state"] for name, replica in daemon.replicas().items()}


def pins(daemon: Daemon) -> list[str]:
    return [model["name"] for model in daemon.status()["models"] if model["pinned"]]


def host(daemon: Daemon) -> dict[str, int]:
    (account,) = daemon.status()["memory"]["accounts"]
    return dict(account)


def output(daemon: Daemon, *arguments: str) -> dict[str, Any]:
    ran = daemon.run(*arguments, "--json")
    return {"exit": ran.returncode, **json.loads(ran.stdout)}


def test_each_model_is_loaded_for_whom_asks_and_the_other_makes_room(
    start_daemon: Start, home: Path, tiny_model: Path
) -> None:
    folder = copies(home, tiny_model, "a", "b")
    daemon = listening(start_daemon(config(folder, "a", "b"), wait=False))
    assert [200] * 4 == [ask(daemon, model)[0] for model in "abab"]
    report = daemon.status()["memory"]

    assert {"a#0": "cold", "b#0": "ready"} == states(daemon)
    assert {"memory": 3} == report["evictions"]
    assert ["b#0", "a#0", "b#0", "a#0"] == [load["replica"] for load in report["loads"]]
    one = host(daemon)
    wait_until(lambda: host(daemon)["measured"] > 0)
    assert 0 < one["planned"] < 20 << 20
    assert one["free"] == one["capacity"] - one["held"] - one["others"]

    assert {"exit": 0, "replicas": {"a#0": "ready"}} == output(daemon, "load", "a")
    assert {"exit": 0, "model": "a", "pinned": True, "replicas": {"a#0": "ready"}} == output(
        daemon, "pin", "a"
    )
    answers: list[int] = []
    asking = threading.Thread(target=lambda: answers.append(ask(daemon, "b")[0]))
    asking.start()
    wait_until(lambda: [one["replica"] for one in daemon.status()["memory"]["waiting"]] == ["b#0"])
    assert {"a#0": "ready", "b#0": "waiting"} == states(daemon)
    assert output(daemon, "unpin", "a")["pinned"] is False
    asking.join()
    assert [200] == answers
    assert {"exit": 0, "replicas": {"b#0": "cold"}} == output(daemon, "unload", "b")
    assert (0, 0) == (host(daemon)["planned"], host(daemon)["held"])


def test_a_load_that_cannot_work_is_refused_at_once_with_the_engines_words(
    start_daemon: Start, home: Path, tiny_model: Path
) -> None:
    folder = copies(home, tiny_model, "a", "bad")
    spoil(folder / "bad.gguf")
    daemon = listening(start_daemon(config(folder, "a", "bad"), wait=False))
    answers: list[tuple[int, dict[str, Any], str]] = []
    asking = [threading.Thread(target=lambda: answers.append(ask(daemon, "bad"))) for _ in range(4)]
    for one in asking:
        one.start()
    for one in asking:
        one.join()

    assert [503] * 4 == [status for status, _, _ in answers]
    assert all("error loading model" in body["error"]["message"] for _, body, _ in answers), answers
    assert all(int(after) >= 1 for _, _, after in answers)
    assert 1 == daemon.replicas()["bad#0"]["incarnation"]  # they shared one load
    assert 503 == ask(daemon, "bad")[0]
    assert 1 == daemon.replicas()["bad#0"]["incarnation"]  # and it is not tried again so soon
    assert 1 == output(daemon, "load", "bad")["exit"]
    assert 2 == daemon.replicas()["bad#0"]["incarnation"]
    assert 200 == ask(daemon, "a")[0]


def test_a_command_that_finds_no_room_is_answered_at_once_with_who_holds_it(
    start_daemon: Start, home: Path, tiny_model: Path
) -> None:
    folder = copies(home, tiny_model, "a", "b")
    daemon = listening(start_daemon(config(folder, "a", "b"), wait=False))
    assert 200 == ask(daemon, "a")[0]
    assert 0 == daemon.run("pin", "a").returncode
    loaded, started = (output(daemon, verb, "b") for verb in ("load", "start"))
    why = "there is no room for it: a#0 (pinned) hold the memory"

    assert {"exit": 1, "replicas": {"b#0": "cold"}, "not_started": {"b#0": why}} == loaded
    assert {"b#0": why} == started["not_started"]
    assert "a is still pinned" in output(daemon, "unload", "a")["note"]
    assert 0 == output(daemon, "load", "b")["exit"]


def spoil(file: Path) -> None:
    """Make a model one that the engine refuses, and nothing before it."""
    file.write_bytes(file.read_bytes().replace(b"output_norm.weight", b"xutput_norm.weight"))


def test_what_is_in_memory_stays_and_is_counted_when_the_daemon_is_killed_or_replaced(
    start_daemon: Start, home: Path, tiny_model: Path
) -> None:
    text = config(copies(home, tiny_model, "a", "b"), "a", "b")
    first = listening(start_daemon(text, wait=False))
    ask(first, "a")
    ask(first, "b")
    pid = first.replicas()["b#0"]["pid"]
    assert 0 == first.run("pin", "b").returncode
    os.kill(first.process.pid, signal.SIGKILL)
    first.process.wait()
    daemon = listening(start_daemon(text, wait=False))
    wait_until(lambda: states(daemon)["b#0"] == "ready")
    assert pid == daemon.replicas()["b#0"]["pid"]
    assert 10 << 20 < host(daemon)["planned"] < 20 << 20
    assert pins(daemon) == ["b"]
    assert 0 == daemon.run("upgrade").returncode
    wait_until(lambda: states(daemon)["b#0"] == "ready")
    assert {"a#0": "cold", "b#0": "ready"} == states(daemon)
    assert pid == daemon.replicas()["b#0"]["pid"]
    assert 10 << 20 < host(daemon)["planned"] < 20 << 20
    assert pins(daemon) == ["b"]
    daemon.run("unpin", "b")
    assert 200 == ask(daemon, "a")[0]
    assert "cold" == states(daemon)["b#0"]

"""The commands as a person types them: words, JSON and exit status."""

import contextlib
import json
import os
import socket
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from relayd.units import MIB, show_bytes
from tests.daemons import Daemon, home_environ, run_relayd

pytestmark = pytest.mark.real


def test_status_tells_people_and_programs_the_same(demo: Daemon) -> None:
    shown = demo.run("status")
    report = json.loads(demo.run("status", "--json").stdout)

    assert 0 == shown.returncode
    assert 1 == report["schema"]
    assert demo.url in shown.stdout
    replica = report["models"][0]["replicas"][0]
    assert "ready" == replica["state"]
    assert "demo#0 (demo)  ready" in shown.stdout
    assert str(replica["pid"]) in shown.stdout


def test_status_shows_memory_as_planned_and_as_held(
    start_daemon: Callable[..., Daemon], slow_model: Path
) -> None:
    model = f'name = "slow"\nfile = "{slow_model}"\nslots = 2\ncontext = 1024\ncache_ram_mib = 64\n'
    daemon = start_daemon(f"[[model]]\n{model}")
    memory = daemon.replicas()["slow#0"]["memory"]
    shown = daemon.run("status").stdout

    assert ("confirmed", 64 * MIB) == (memory["planned"]["basis"], memory["planned"]["prompt_cache_bytes"])
    assert [] == memory["planned"]["rough"]
    assert "pss" == memory["held"]["source"]
    assert 1 == pytest.approx(memory["held"]["bytes"]["host"] / memory["planned"]["bytes"]["host"], abs=0.4)
    assert show_bytes(memory["planned"]["bytes"]["host"]) in shown


def test_logs_show_the_replica_and_the_daemon(demo: Daemon) -> None:
    assert "listening" in demo.run("logs", "demo", "-n", "500").stdout + demo.run("logs").stdout
    lines = demo.run("logs", "demo", "--json", "-n", "3").stdout.splitlines()
    assert {"demo#0"} == {json.loads(line)["replica"] for line in lines}


def test_stop_ends_the_daemon_and_leaves_nothing(demo: Daemon) -> None:
    stopped = demo.run("stop", "--json")

    expected = {"stopped": "daemon", "pid": demo.process.pid, "models": ["demo"]}
    assert expected == json.loads(stopped.stdout)
    assert 0 == demo.process.wait()
    assert [] == demo.leftovers()


def test_a_second_daemon_is_told_who_runs(demo: Daemon) -> None:
    second = demo.run("serve", "--demo", "--llama-server", demo.environ["LLAMA_SERVER_PATH"])

    assert 5 == second.returncode
    assert str(demo.process.pid) in second.stderr
    assert "ready" == demo.replicas()["demo#0"]["state"]


def test_r14_the_control_socket_is_for_the_owner_only(demo: Daemon) -> None:
    control = demo.runtime / "control.sock"

    assert 0o600 == stat.S_IMODE(control.stat().st_mode)
    assert 0o700 == stat.S_IMODE(control.parent.stat().st_mode)


def test_r16_r20_no_secret_and_no_prompt_is_in_any_command_line_log_or_state_file(
    start_daemon: Callable[..., Daemon],
) -> None:
    canary, prompt = "canary-key-0123456789-0123456789", "canary-prompt-0123456789"
    config = f'[server]\napi_key = "{canary}"\n[logs]\nrequests = "all"\n'
    daemon = start_daemon(config, "--demo")
    for key in (canary, "another-canary-key-0123456789"):
        _chat(daemon.url, key, prompt)
    keys = [key.read_text().strip() for key in daemon.runtime.glob("*.key")]
    command_lines = [
        Path(f"/proc/{replica['pid']}/cmdline").read_bytes().decode()
        for replica in daemon.replicas().values()
    ]
    shown = daemon.run("status", "--json").stdout + daemon.run("status").stdout
    daemon.run("stop")  # what is written late is written then
    daemon.process.wait()
    files = {
        file: file.read_bytes().decode("utf-8", "replace")
        for file in daemon.home.rglob("*")
        if file.is_file() and file != daemon.config
    }

    assert 1 == len(keys)
    for secret in (canary, "another-canary-key", prompt, *keys):
        assert not any(secret in text for text in (*command_lines, shown))
        assert [] == [file for file, text in files.items() if secret in text]


def _chat(url: str, key: str, prompt: str) -> None:
    """Ask a model, with a key that may be wrong."""
    body = {"model": "demo", "messages": [{"role": "user", "content": prompt}], "max_tokens": 4}
    request = urllib.request.Request(
        f"{url}/v1/chat/completions",
        json.dumps(body).encode(),
        {"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
    )
    with contextlib.suppress(urllib.error.HTTPError), urllib.request.urlopen(request) as answer:
        answer.read()


def test_r22_a_replica_listens_on_nothing_but_its_socket(demo: Daemon) -> None:
    process = psutil.Process(demo.replicas()["demo#0"]["pid"])

    assert [] == process.net_connections("inet")


@pytest.mark.parametrize("command", ["status", "stop", "stop demo"])
def test_without_a_daemon_a_command_says_so(home: Path, command: str) -> None:
    done = run_relayd(home_environ(home), home, *command.split())

    assert 3 == done.returncode
    assert "no relayd is running" in done.stderr
    assert "relayd serve" in done.stderr


def test_a_hung_daemon_is_called_silent(home: Path) -> None:
    environ = home_environ(home)
    (home / "r").mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as hung:
        hung.bind(str(home / "r" / "control.sock"))
        hung.listen()
        done = run_relayd(environ, home, "status", "--json")

    assert 4 == done.returncode
    assert "daemon_silent" == json.loads(done.stdout)["error"]["code"]


def test_version_and_help_answer_without_loading_much() -> None:
    loaded = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "relayd", "--help"],
        capture_output=True,
        text=True,
        check=True,
    ).stderr

    for heavy in ("aiohttp", "psutil", "rich", "msgspec", "asyncio", "numpy"):
        assert f" {heavy}\n" not in loaded, f"--help imports {heavy}"


def test_a_file_can_be_served_by_its_path(
    start_daemon: Callable[..., Daemon], home: Path, tiny_model: Path
) -> None:
    daemon = start_daemon("", os.path.relpath(tiny_model, home))

    assert ["tiny"] == [model["name"] for model in daemon.status()["models"]]

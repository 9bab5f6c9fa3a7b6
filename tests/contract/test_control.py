"""S71 to S73: who may command the daemon, and what commands say."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.daemons import FAST, Daemon, home_environ, wait_until

STRANGER = 65534
"""A user that owns nothing."""

ASK = """
import os, socket, sys
os.setgroups([])
os.setgid(int(sys.argv[2]))
os.setuid(int(sys.argv[2]))
asked = socket.socket(socket.AF_UNIX)
asked.connect(sys.argv[1])
asked.sendall(b"GET /status HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n")
print(asked.makefile().read())
"""


@pytest.mark.fake
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")
def test_s71_another_user_is_refused_even_where_modes_let_him_in(
    start_faked: Callable[..., Daemon], faulty: Callable[..., str]
) -> None:
    daemon = start_faked(faulty(m=""))
    control = daemon.runtime / "control.sock"
    command = [sys.executable, "-IS", "-c", ASK, str(control), str(STRANGER)]

    def ask() -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert "PermissionError" in ask().stderr
    modes = {path: path.stat().st_mode for path in (control, *control.parents)}
    closed = {path: mode for path, mode in modes.items() if not mode & 0o001}
    try:
        for path, mode in closed.items():
            path.chmod(mode | 0o007)
        answer = ask()
    finally:
        for path, mode in closed.items():
            path.chmod(mode)

    assert "403" in answer.stdout.partition("\n")[0], answer.stderr
    assert "user 65534 may not command this daemon" in answer.stdout


@pytest.mark.system
def test_s72_without_a_daemon_a_command_takes_little_time(home: Path) -> None:
    """Measured as CPU time of the process: what else runs on the machine is none of its business."""
    assert min(seconds_of_status(home) for _ in range(3)) < 0.6


def seconds_of_status(home: Path) -> float:
    command = [sys.executable, "-m", "relayd", "status"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, env=home_environ(home)) as process:
        assert process.stderr
        words = process.stderr.read().decode()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)

    assert 3 == process.returncode
    remedy = "  Start one: `relayd serve` (to look around: `relayd serve --demo`)."
    assert ["relayd: no relayd is running", remedy] == words.splitlines()
    return usage.ru_utime + usage.ru_stime


@pytest.mark.fake
def test_s73_the_table_tells_what_json_tells(
    start_faked: Callable[..., Daemon], faulty: Callable[..., str]
) -> None:
    daemon = start_faked(faulty(FAST + "budget = 1\n", well="", ill="exit=3"))
    wait_until(lambda: {"fatal", "ready"} == {one["state"] for one in daemon.replicas().values()})
    report = json.loads(daemon.run("status", "--json").stdout)
    shown = daemon.run("status").stdout

    assert 1 == report["schema"]
    for model in report["models"]:
        (replica,) = model["replicas"]
        row = next(line for line in shown.splitlines() if line.startswith(replica["name"]))
        assert replica["state"] in row
        assert str(replica["pid"] or "-") in row
        if replica["state"] == "fatal":
            assert replica["last_exit"]["message"] in shown

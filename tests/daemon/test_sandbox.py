"""Do replicas in a sandbox run, survive and end as others do, and what do they see of the machine?"""

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.daemon.test_keys_served import chat
from tests.daemons import DEADLINE_SECONDS, Daemon, tagged_processes, wait_until

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed"),
]

BOXED = '[replicas]\nsandbox = "bwrap"\n'


def configured(model: Path, more: str = "") -> str:
    return f'{BOXED}{more}[[model]]\nname = "m"\nfile = "{model}"\nslots = 1\ncontext = 2048\n'


def pid_of(daemon: Daemon, *, but: int = 0) -> int:
    """Return the process of the replica once it serves; not one that is known to have ended."""
    found = {"pid": 0}

    def serves() -> bool:
        found.update(daemon.replicas()["m#0"])
        return str(found["state"]) == "ready" and found["pid"] != but

    wait_until(serves)
    return found["pid"]


def sandboxes() -> set[int]:
    """The processes of bubblewrap on this machine."""
    return {one.pid for one in psutil.process_iter(["name"]) if one.info["name"] == "bwrap"}


def test_a_replica_in_a_sandbox_sees_nothing_but_what_it_needs(
    start_daemon: Callable[..., Daemon], tiny_model: Path
) -> None:
    daemon = start_daemon(configured(tiny_model))
    pid = pid_of(daemon)
    root = Path(f"/proc/{pid}/root")

    assert 200 == chat(daemon)
    assert psutil.Process(pid).cmdline()[0].endswith("llama-server"), "the figures would be of bubblewrap"
    for kind in ("net", "pid", "ipc", "mnt", "uts"):
        inside, outside = (Path(f"/proc/{one}/ns/{kind}").readlink() for one in (pid, "self"))
        assert inside != outside
    assert [] == list((root / "tmp").iterdir()) or tiny_model.is_relative_to("/tmp")
    assert not (root / str(daemon.config).lstrip("/")).exists()
    assert not (root / str(Path.home() / ".ssh").lstrip("/")).exists()
    seen = root / str(daemon.runtime).lstrip("/")
    assert not (seen / "control.sock").exists()
    assert {"sock", "key"} == {one.name.rpartition(".")[2] for one in seen.iterdir()}
    mounts = Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
    (model,) = (line for line in mounts if f" {tiny_model} " in line)
    assert "ro" in model.split()[5].split(",")
    assert daemon.replicas()["m#0"]["memory"]
    assert ["lo"] == [line.split(":")[0].strip() for line in _interfaces(pid)]


def _interfaces(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/net/dev").read_text().splitlines()[2:]


def test_a_replica_in_a_sandbox_outlives_its_daemon_and_is_adopted_and_stopped(
    start_daemon: Callable[..., Daemon], tiny_model: Path
) -> None:
    before = sandboxes()
    first = start_daemon(configured(tiny_model))
    pid = pid_of(first)
    first.process.send_signal(signal.SIGKILL)
    first.process.wait()

    second = start_daemon(configured(tiny_model))
    assert pid == pid_of(second)
    assert 200 == chat(second)

    os.kill(pid, signal.SIGKILL)
    assert pid != pid_of(second, but=pid)
    assert 200 == chat(second)

    second.client.stop_daemon()
    second.process.wait(DEADLINE_SECONDS)
    wait_until(lambda: sandboxes() <= before)
    assert [] == tagged_processes(second.runtime)
    assert [] == [one.name for one in second.runtime.iterdir() if one.suffix in (".box", ".key", ".sock")]


def test_how_a_replica_in_a_sandbox_has_ended_is_known(
    start_daemon: Callable[..., Daemon], tiny_model: Path
) -> None:
    daemon = start_daemon(configured(tiny_model, "[restart]\nbudget = 3\n"))
    pid = pid_of(daemon)

    os.kill(pid, signal.SIGABRT)
    wait_until(lambda: daemon.replicas()["m#0"]["restarts"] > 0)

    assert "SIGABRT" in str(daemon.replicas()["m#0"]["last_exit"])


def test_a_daemon_without_a_sandbox_adopts_none_that_run_in_one(
    start_daemon: Callable[..., Daemon], tiny_model: Path
) -> None:
    first = start_daemon(configured(tiny_model))
    pid = pid_of(first)
    first.process.send_signal(signal.SIGKILL)
    first.process.wait()

    second = start_daemon(configured(tiny_model).removeprefix(BOXED))

    assert pid != pid_of(second)
    wait_until(lambda: not psutil.pid_exists(pid))


def test_without_bubblewrap_a_replica_is_not_run_outside_of_a_sandbox(
    start_daemon: Callable[..., Daemon], tiny_model: Path, tmp_path: Path
) -> None:
    daemon = start_daemon(configured(tiny_model), wait=False, PATH=str(tmp_path))
    assert daemon.url

    wait_until(lambda: daemon.replicas()["m#0"]["state"] == "fatal")
    assert "bubblewrap" in str(daemon.replicas()["m#0"])
    assert [] == tagged_processes(daemon.runtime)

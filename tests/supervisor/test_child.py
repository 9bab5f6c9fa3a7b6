"""What stays of a process that has ended: nothing, and its end is told in any case."""

import subprocess
import sys
from pathlib import Path

import pytest

from relayd.endpoint import Endpoint, UnixAddress
from relayd.secret import Secret
from relayd.store import Records
from relayd.supervisor.child import EngineChild, Files

pytestmark = pytest.mark.system


def ended_child(runtime: Path) -> EngineChild:
    process = subprocess.Popen([sys.executable, "-c", "raise SystemExit(7)"], start_new_session=True)
    files = Files.of(runtime, "m#0")
    endpoint = Endpoint(UnixAddress(files.socket), Secret("k" * 32), "m#0", 1)

    def forget() -> None:
        Records(runtime).forget(files.stem)

    return EngineChild(process.pid, endpoint, files, runtime / "log", 0, (), forget, process)


def test_a_reaped_child_leaves_no_file(tmp_path: Path) -> None:
    child = ended_child(tmp_path)
    for path in (child.files.socket, child.files.key, tmp_path / f"{child.files.stem}.json"):
        path.touch()

    assert 7 == child.reap()
    assert [] == list(tmp_path.iterdir())


def test_a_child_is_reaped_although_its_files_became_something_else(tmp_path: Path) -> None:
    child = ended_child(tmp_path)
    for path in (child.files.socket, child.files.key, tmp_path / f"{child.files.stem}.json"):
        path.mkdir()

    assert 7 == child.reap()

"""Which refusals of the system are worth another try?"""

import errno
import os
import re
import signal
import socket
from pathlib import Path

import pytest

from relayd.endpoint import TcpAddress
from relayd.errors import StateError
from relayd.lock import Lock
from tests.contract.conftest import fake_engine, listen, stage
from tests.contract.stage import Stage, free_ports, launched

pytestmark = pytest.mark.fake

__all__ = ["fake_engine", "listen", "stage"]


@pytest.mark.parametrize(
    ("number", "expected"),
    [(errno.EROFS, OSError), (errno.ENOSPC, OSError), (errno.EMFILE, OSError), (errno.EACCES, StateError)],
)
def test_a_runtime_folder_that_may_be_usable_again_is_no_reason_to_give_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, expected: type[Exception]
) -> None:
    def refuse(_path: Path) -> None:
        raise OSError(number, os.strerror(number))

    stage = Stage(tmp_path / "llama-server", tmp_path)
    launcher = stage.launcher()
    monkeypatch.setattr(Lock, "try_take", refuse)

    with pytest.raises(expected, match=os.strerror(number)):
        launcher.prepare(stage.planned(), 1)


def test_r24_a_port_that_is_taken_is_passed_over(tmp_path: Path) -> None:
    first, second, third = free_ports(3)
    stage = Stage(tmp_path / "llama-server", tmp_path, ports=(first, second, third))
    (tmp_path / "llama-server").touch()
    launcher = stage.launcher()

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first))
        taken.listen()
        launches = [launcher.prepare(stage.planned(name=f"m{index}"), 1) for index in range(2)]

    addresses = [launch.endpoint.address for launch in launches]
    assert [TcpAddress(second), TcpAddress(third)] == addresses
    assert not any("reuse" in word for launch in launches for word in launch.prepared.command)
    for launch in launches:
        launch.abandon()


def test_r46_a_replica_gets_its_log_and_its_lock_and_nothing_else(stage: Stage) -> None:
    extra = os.open(os.devnull, os.O_RDONLY)
    os.set_inheritable(extra, True)
    try:
        child = launched(stage.launcher(), stage.planned())
    finally:
        os.close(extra)
    try:
        found = {int(one.name): one.readlink() for one in Path(f"/proc/{child.pid}/fd").iterdir()}
        assert Path(os.devnull) == found.pop(0)
        assert {child.log} == {found.pop(1), found.pop(2)}
        opened = [path for path in found.values() if str(path).startswith("/")]
        assert child.files.lock in opened
        assert [] == [path for path in opened if path == Path(os.devnull)]
        assert Path(f"/proc/{child.pid}/cwd").readlink() == stage.runtime
        assert child.pid == os.getsid(child.pid) != os.getsid(0)
        mask = re.search(r"^Umask:\s*(\d+)$", Path(f"/proc/{child.pid}/status").read_text(), re.MULTILINE)
        assert mask is not None
        assert 0o077 == int(mask[1], 8)
    finally:
        child.signal(signal.SIGKILL)
        child.reap()

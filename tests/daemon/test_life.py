"""A daemon that fails while it comes up leaves nothing running."""

import asyncio
from pathlib import Path

import pytest

from relayd.daemon.life import Daemon
from relayd.service import Notifier
from tests.contract.stage import Stage
from tests.daemon.test_launch import given
from tests.daemons import wait_until

pytestmark = pytest.mark.system


class FullDisk(Notifier):
    """The last thing that a daemon touches while it comes up, on a system that refuses it."""

    def ready(self, status: str) -> None:
        raise OSError(28, "No space left on device")


def test_a_daemon_that_fails_after_it_started_a_replica_leaves_none_running(tmp_path: Path) -> None:
    state = given(tmp_path, "unix", {"PATH": "/usr/bin:/bin"})

    async def come_up() -> None:
        daemon = Daemon(state, lambda _: state)
        daemon._parts.notifier = FullDisk({}, daemon._parts.clock)
        await daemon.run()

    with pytest.raises(OSError, match="No space left"):
        asyncio.run(come_up())

    stage = Stage(tmp_path / "none", tmp_path)
    wait_until(lambda: not stage.living())
    assert not list(stage.runtime.glob("*.sock"))

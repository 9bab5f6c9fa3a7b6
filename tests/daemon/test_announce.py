"""Whoever started the daemon is notified once, when no replica is coming up any more."""

import asyncio
import socket
from collections.abc import Sequence
from pathlib import Path

import pytest

from relayd.daemon.announce import Announcer, NoOutput
from relayd.daemon.arguments import TargetArguments
from relayd.supervisor import Status
from tests.daemon.assembled import MODEL, Assembled, desired, with_parts

pytestmark = pytest.mark.system


def test_the_settled_fleet_is_reported_once(tmp_path: Path) -> None:
    async def story(daemon: Assembled) -> list[list[str]]:
        reports: list[list[str]] = []
        settled = asyncio.Event()

        class Settled(NoOutput):
            def settled(self, statuses: Sequence[Status]) -> None:
                reports.append([f"{status.spec.name} {status.state.value}" for status in statuses])
                settled.set()

        announcer = Announcer(daemon.parts, daemon.shutdown, Settled())
        await daemon.operations.start(TargetArguments())
        announcer.await_settled()
        await settled.wait()
        await daemon.operations.start(TargetArguments())
        await asyncio.sleep(0)
        return reports

    assert [["m#0 fatal", "m#1 fatal"]] == with_parts(desired(tmp_path, MODEL), story)


@pytest.mark.parametrize("stopping", [False, True])
def test_the_service_manager_gets_the_counts_until_the_daemon_is_about_to_end(
    tmp_path: Path, stopping: bool
) -> None:
    async def story(daemon: Assembled) -> list[bytes]:
        Announcer(daemon.parts, daemon.shutdown)
        if stopping:
            daemon.shutdown.request(keep_replicas=False)
        daemon.parts.fleet.unload("m#0", "nothing has asked for it")
        await asyncio.sleep(0)
        messages = []
        while True:
            try:
                messages.append(manager.recv(4096))
            except BlockingIOError:
                return messages

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        environ = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
        found = with_parts(desired(tmp_path, MODEL, environ=environ), story)

    counts = b"STATUS=0 of 2 replicas ready, 0 requests running, 0 waiting"
    assert ([] if stopping else [counts]) == [message.strip() for message in found]

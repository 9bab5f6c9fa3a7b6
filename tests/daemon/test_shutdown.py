"""A daemon that is about to end refuses what it could not carry through."""

import asyncio

import pytest

from relayd.daemon.shutdown import Shutdown
from relayd.errors import DaemonError

pytestmark = pytest.mark.pure


def test_a_daemon_that_stays_refuses_nothing() -> None:
    shutdown = Shutdown()
    shutdown.check_staying()

    assert (False, False) == (shutdown.requested, shutdown.handed_over)


@pytest.mark.parametrize("keep", [True, False])
def test_a_request_ends_the_wait_and_says_what_becomes_of_the_replicas(keep: bool) -> None:
    async def scene() -> Shutdown:
        shutdown = Shutdown()
        waiting = asyncio.create_task(shutdown.wait())
        shutdown.request(keep_replicas=keep)
        await waiting
        return shutdown

    shutdown = asyncio.run(scene())
    assert (True, keep, False) == (shutdown.requested, shutdown.keep_replicas, shutdown.handed_over)
    with pytest.raises(DaemonError, match="this daemon is stopping"):
        shutdown.check_staying()


def test_after_a_hand_over_the_command_belongs_to_the_new_daemon() -> None:
    shutdown = Shutdown()
    shutdown.hand_over()

    assert shutdown.requested
    with pytest.raises(DaemonError, match="a new daemon has taken over"):
        shutdown.check_staying()


def test_a_second_request_may_end_the_replicas_after_all() -> None:
    shutdown = Shutdown()
    shutdown.request(keep_replicas=True)
    shutdown.request(keep_replicas=False)

    assert not shutdown.keep_replicas

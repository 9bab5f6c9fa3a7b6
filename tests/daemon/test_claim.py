"""A daemon gets its place only where none lives, and gives it up only where a new one can take it."""

import os
from pathlib import Path

import pytest

from relayd.daemon.takeover import Claim, claim
from relayd.daemon.upgrade import check_upgradable
from relayd.errors import DaemonRunningError, UpgradeError
from relayd.handover import HandoverState, Predecessor
from relayd.lock import Lock
from tests.daemon.assembled import MODEL, Assembled, desired, with_parts

pytestmark = pytest.mark.system


def test_a_place_is_claimed_once(tmp_path: Path) -> None:
    async def story(daemon: Assembled) -> str:
        with pytest.raises(DaemonRunningError) as refusal:
            await claim(daemon.parts.desired)
        return refusal.value.message

    assert str(os.getpid()) in with_parts(desired(tmp_path, MODEL), story)


def test_a_free_place_has_no_predecessor_and_nothing_left(tmp_path: Path) -> None:
    state = desired(tmp_path, MODEL)

    async def story(_daemon: Assembled) -> Claim:
        other = desired(tmp_path / "other", MODEL)
        place = await claim(other)
        place.close()
        return place

    place = with_parts(state, story)
    assert (None, 1, HandoverState()) == (place.predecessor, len(place.listening), place.state)


class Gone:
    """A predecessor, as far as the check looks at it."""

    pid = 7
    open_count = 2

    def __init__(self, *, alive: bool) -> None:
        self.alive = alive


LAUNCHD = {"XPC_SERVICE_NAME": "dev.relayd"}


@pytest.mark.parametrize(
    ("environ", "pid", "predecessor", "reason"),
    [
        ({}, 7, Gone(alive=True), "the daemon before this one (pid 7) has 2 requests to finish"),
        ({}, 1, None, "this daemon is the first process of its container, which ends with it"),
        (LAUNCHD, 7, None, "launchd starts its own daemon as soon as this one ends"),
    ],
)
def test_an_upgrade_is_refused_where_the_new_daemon_could_not_stay(
    tmp_path: Path, environ: dict[str, str], pid: int, predecessor: Predecessor | None, reason: str
) -> None:
    async def story(daemon: Assembled) -> UpgradeError:
        with pytest.raises(UpgradeError) as refusal:
            check_upgradable(environ, pid, daemon.parts.fleet, predecessor)
        return refusal.value

    error = with_parts(desired(tmp_path, MODEL), story)
    assert reason == error.message
    assert error.remedy


@pytest.mark.parametrize("predecessor", [None, Gone(alive=False)])
def test_an_upgrade_is_allowed_where_it_can_stay(tmp_path: Path, predecessor: Predecessor | None) -> None:
    async def story(daemon: Assembled) -> None:
        check_upgradable({"XPC_SERVICE_NAME": "0"}, 7, daemon.parts.fleet, predecessor)

    with_parts(desired(tmp_path, MODEL), story)


def test_closing_a_claim_frees_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    lock = Lock.try_take(path)
    assert lock
    assert Lock.try_take(path) is None
    Claim(lock).close()
    again = Lock.try_take(path)

    assert again
    again.close()

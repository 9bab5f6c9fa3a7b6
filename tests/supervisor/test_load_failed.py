"""A load on demand that cannot work ends at once, for those who wait; one that may work is tried again."""

import signal
from dataclasses import replace
from pathlib import Path

import pytest

from relayd.errors import EngineError
from relayd.planner import Facts, Residence
from relayd.supervisor import Replica, State
from relayd.supervisor.causes import Cause
from tests.supervisor.sleepers import PLANNED, Holding, Launcher, Listener, live, spawned

pytestmark = pytest.mark.fake

ON_DEMAND = replace(PLANNED, residence=Residence(demand=True))


def printing(folder: Path, words: str) -> Launcher:
    """Start processes that write to their log and fail."""
    return Launcher(folder, command=("sh", "-c", f"echo '{words}' > {folder / 'log'}; exit 1"))


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("E error loading model: bad file", "m#0 could not be loaded: error loading model: bad file"),
        ("something new", "m#0 could not be loaded: it exited with code 1: something new"),
        ("cudaMalloc failed: out of memory", "m#0 could not be loaded: cudaMalloc failed: out of memory"),
    ],
)
def test_who_waits_gets_the_engines_words_after_one_try(tmp_path: Path, words: str, reason: str) -> None:
    launcher, ledger = printing(tmp_path, words), Holding()

    async def story(replica: Replica, listener: Listener) -> None:
        replica.load()
        ledger.grant()
        await replica.reached(State.COLD)
        assert ["expected", f"load failed: {reason}", f"unloaded: {reason}"] == listener.heard[1:]
        assert reason == replica.status().reason
        assert ["m#0"] == ledger.released

    live(launcher, story, planned=ON_DEMAND, grants=ledger)
    assert 1 == len(launcher.children)


def test_what_cannot_be_started_fails_at_once_too(tmp_path: Path) -> None:
    launcher = Launcher(tmp_path, failures=[EngineError("no such file: /x")])

    async def story(replica: Replica, listener: Listener) -> None:
        replica.load()
        await replica.reached(State.COLD)
        assert listener.heard[-1] == "unloaded: m#0 could not be loaded: no such file: /x"

    live(launcher, story, planned=ON_DEMAND)


def test_a_load_that_was_killed_is_tried_again(tmp_path: Path) -> None:
    launcher = Launcher(tmp_path)

    async def story(replica: Replica, listener: Listener) -> None:
        replica.load()
        await spawned(launcher)
        launcher.children[0].process.send_signal(signal.SIGKILL)
        await spawned(launcher, 2)
        last = replica.status().last_exit
        assert last
        assert Cause.KILLED is last.cause
        assert not [heard for heard in listener.heard if heard.startswith("load failed")]

    live(launcher, story, planned=ON_DEMAND)


def test_smaller_sizes_are_tried_before_a_load_fails(tmp_path: Path) -> None:
    launcher = printing(tmp_path, "cudaMalloc failed: out of memory")

    async def story(replica: Replica, _listener: Listener) -> None:
        replica.load()
        await replica.reached(State.COLD)

    live(launcher, story, planned=ON_DEMAND, facts=Facts(trained_context=2048, layers=0))
    assert 2 == len(launcher.children)


def test_a_model_that_starts_with_the_daemon_is_given_up_as_before(tmp_path: Path) -> None:
    launcher = printing(tmp_path, "E error loading model: bad file")

    async def story(replica: Replica, _listener: Listener) -> None:
        replica.load()
        assert State.FATAL is await replica.reached(State.FATAL, State.COLD)

    live(launcher, story)

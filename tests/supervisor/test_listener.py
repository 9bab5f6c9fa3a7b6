"""What a change of state means for requests is announced once, and in order."""

from pathlib import Path

import pytest

from relayd.endpoint import Endpoint, TcpAddress
from relayd.planner import Planned, ReplicaSpec
from relayd.secret import Secret
from relayd.supervisor.listener import announce
from relayd.supervisor.state import State
from tests.supervisor.sleepers import Listener

pytestmark = pytest.mark.pure

PLANNED = Planned(ReplicaSpec("m", 0, Path("/m.gguf")))
ENDPOINT = Endpoint(TcpAddress(8100), Secret("k"), "m#0", 1)


@pytest.mark.parametrize(
    ("old", "new", "heard"),
    [
        (State.READY, State.DRAINING, ["draining"]),
        (State.DRAINING, State.STOPPING, ["stopping", "lost"]),
        (State.READY, State.STOPPING, ["stopping", "lost"]),
        (State.UNHEALTHY, State.STOPPING, ["stopping", "lost"]),
        (State.READY, State.EXITED, ["lost"]),
        (State.LOADING, State.STOPPING, []),
    ],
)
def test_only_an_end_by_command_is_announced_before_it(old: State, new: State, heard: list[str]) -> None:
    listener = Listener()
    announce(listener, old, new, PLANNED, endpoint=ENDPOINT, reason="")

    assert heard == listener.heard

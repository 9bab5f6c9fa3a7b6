"""What does the supervisor need of the world outside it?"""

from collections.abc import Callable
from dataclasses import dataclass

from relayd.clock import Clock
from relayd.planner import ReplicaSpec, Step
from relayd.supervisor.audience import Audience
from relayd.supervisor.launcher import Launcher


def _never_busy(_replica: str) -> bool:
    return False


def _nothing_smaller(_spec: ReplicaSpec, _rung: int) -> Step | None:
    return None


@dataclass(frozen=True, slots=True)
class World:
    """Everything a replica touches besides itself.

    Attributes:
        launcher: Starts processes.
        audience: Told which replicas take requests.
        clock: Time.
        busy: Tells whether a replica, by its name, has requests to work on.
        smaller: Names the next spec to try, from a rung of the ladder on, when a device's memory
            does not hold one; None when nothing is left.
    """

    launcher: Launcher
    audience: Audience
    clock: Clock
    busy: Callable[[str], bool] = _never_busy
    smaller: Callable[[ReplicaSpec, int], Step | None] = _nothing_smaller

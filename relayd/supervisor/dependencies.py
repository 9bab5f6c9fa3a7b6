"""What a replica touches besides itself, passed in (dependencies)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from relayd.clock import Clock
from relayd.planner import Planned, Step
from relayd.supervisor.launcher import Launcher
from relayd.supervisor.listener import ReplicaListener


def _never_busy(_replica: str) -> bool:
    return False


def _nothing_smaller(_planned: Planned, _rung: int, *, host: bool) -> Step | None:  # noqa: ARG001 - the name is the protocol's
    return None


def _never_out_of_memory(_pid: int) -> bool:
    return False


class Smaller(Protocol):
    """Names the next plan to try when memory does not hold one."""

    def __call__(self, planned: Planned, rung: int, /, *, host: bool) -> Step | None:
        """Return the next step from a rung of the ladder on; None when nothing is left.

        Args:
            planned: What did not fit.
            rung: Where on the ladder to go on.
            host: Whether it was RAM that ran out, and not a device's memory.
        """
        ...


@dataclass(frozen=True, slots=True)
class Dependencies:
    """Everything a replica touches besides itself.

    Attributes:
        launcher: Starts processes.
        listener: Told which replicas take requests.
        clock: Time.
        busy: Tells whether a replica, by its name, has requests to work on.
        smaller: Names what to try when memory does not hold a replica.
        out_of_memory: Tells whether the kernel ended a process, by its pid, for want of memory.
    """

    launcher: Launcher
    listener: ReplicaListener
    clock: Clock
    busy: Callable[[str], bool] = _never_busy
    smaller: Smaller = _nothing_smaller
    out_of_memory: Callable[[int], bool] = _never_out_of_memory

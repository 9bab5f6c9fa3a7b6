"""What a replica touches besides itself, passed in (dependencies)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

from relayd.clock import Clock
from relayd.endpoint import Endpoint
from relayd.planner import Planned, Step
from relayd.supervisor.examination import Smaller
from relayd.supervisor.grants import GrantAtOnce, Grants
from relayd.supervisor.launcher import Launcher
from relayd.supervisor.listener import ReplicaListener
from relayd.supervisor.probe import Fetch
from relayd.supervisor.sizing import Reduction
from relayd.supervisor.slots import SlotKeeper


class ReductionMemory(Protocol):
    """Keeps what replicas were made smaller to, over daemons."""

    def read(self) -> Mapping[str, Reduction]:
        """Return what is kept, by replica. Blocks."""
        ...

    def put(self, replica: str, reduction: Reduction | None) -> None:
        """Keep a reduction, or none any more. Blocks; a disk that refuses is reported, not raised."""
        ...


class ForgetfulMemory:
    """Keeps nothing."""

    def read(self) -> Mapping[str, Reduction]:
        """Return nothing."""
        return {}

    def put(self, replica: str, reduction: Reduction | None) -> None:
        """Keep nothing."""


def _never_busy(_replica: str) -> bool:
    return False


def _none_known(_endpoint: Endpoint) -> frozenset[str]:
    return frozenset()


def _explain_to_none(_endpoint: Endpoint, _blame: float) -> None:
    return None


def _nothing_smaller(_planned: Planned, _rung: int, *, host: bool) -> Step | None:  # noqa: ARG001 - the name is the protocol's
    return None


def _never_out_of_memory(_pid: int) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Dependencies:
    """Everything a replica touches besides itself.

    Attributes:
        launcher: Starts processes.
        listener: Called with every change that concerns requests.
        clock: Time.
        fetch: Reads from a replica, for its health checks.
        busy: Returns whether a replica, by its name, has requests to work on.
        in_flight: Returns digests of the request bodies that an incarnation was working on when it hung up or
            ended; asked as its end is seen, before `listener.lost`.
        explain: Called with how surely its requests have ended an incarnation (`Exit.blame`), once that is
            known.
        smaller: Names what to try when memory does not hold a replica; called in a thread.
        out_of_memory: Returns whether the kernel ended a process, by its pid, for want of memory; called
            in a thread.
        grants: Decides when a replica may take its memory.
        reductions: Keeps what replicas were made smaller to.
        random: Spreads restarts; guards nothing.
        slots: Keeps what a replica has read over its end; None keeps nothing.
    """

    launcher: Launcher
    listener: ReplicaListener
    clock: Clock
    fetch: Fetch
    busy: Callable[[str], bool] = _never_busy
    in_flight: Callable[[Endpoint], frozenset[str]] = _none_known
    explain: Callable[[Endpoint, float], None] = _explain_to_none
    smaller: Smaller = _nothing_smaller
    out_of_memory: Callable[[int], bool] = _never_out_of_memory
    grants: Grants = field(default_factory=GrantAtOnce)
    reductions: ReductionMemory = field(default_factory=ForgetfulMemory)
    random: Random = field(default_factory=Random)
    slots: SlotKeeper | None = None

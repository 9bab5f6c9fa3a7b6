"""Which of the replicas that a ticket fits on gets it (load balancing)?"""

from collections.abc import Sequence
from operator import attrgetter
from typing import Protocol

from relayd.scheduler.capacity import Capacity
from relayd.scheduler.queue import Waiting

_LOAD = attrgetter("load")


class Balance(Protocol):
    """A policy that chooses a replica for a ticket."""

    def first(self, waiting: Waiting, fitting: Sequence[Capacity], now: float) -> Capacity:
        """Return which of the replicas that a ticket fits on gets it at `now` (monotonic seconds)."""
        ...


class LeastBusy:
    """Prefers the replica with the largest share of free slots; among equals, the longest unused."""

    def first(self, waiting: Waiting, fitting: Sequence[Capacity], now: float) -> Capacity:  # noqa: ARG002 - the policy's signature
        """Return the one with the least share of its slots taken, which was unused for longest."""
        return min(fitting, key=_LOAD)

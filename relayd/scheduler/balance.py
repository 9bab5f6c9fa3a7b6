"""Which of the replicas that a ticket fits on gets it (load balancing)?"""

from typing import Protocol

from relayd.scheduler.capacity import Capacity
from relayd.scheduler.queue import Waiting

Rank = tuple[float, ...]
"""Compared member by member; the lowest wins."""


class Balance(Protocol):
    """A policy that ranks replicas for a ticket."""

    def rank(self, waiting: Waiting, capacity: Capacity, now: float) -> Rank:
        """Return how a replica ranks for a ticket that fits on it at `now` (monotonic seconds)."""
        ...


class LeastBusy:
    """Prefers the replica with the largest share of free slots; among equals, the longest unused."""

    def rank(self, waiting: Waiting, capacity: Capacity, now: float) -> Rank:  # noqa: ARG002 - the policy's signature
        """Return the share of its slots that is taken, then when it was used last."""
        return -capacity.free / capacity.slots, capacity.last_dispatch

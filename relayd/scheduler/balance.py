"""Which replica gets a ticket, of those that have a free slot for it (strategy, load balancing)?

A strategy is a value that the scheduler is given for each model:

| name | the replica that is chosen |
|---|---|
| `prefix_affinity` | by cost in seconds, prompts read before included: `affinity` |
| `least_busy` | with the largest share of free slots; among equals, the longest unused |
| `round_robin` | the longest unused |
| `random` | any, with equal chances |
| `real_time_metrics` | in proportion to how little it has to do, smoothly in turns |
"""

from collections.abc import Sequence
from operator import attrgetter
from random import Random
from typing import Protocol

from relayd.scheduler.capacity import Capacity

_LOAD = attrgetter("load")
_LAST_DISPATCH = attrgetter("last_dispatch")

_BUSY_WEIGHT, _WAITING_WEIGHT, _LEAST = 0.7, 0.3, 1e-6
"""LLMStream's weights of the share in use and of the requests that wait, and what keeps it from zero."""


class Strategy(Protocol):
    """A policy that chooses a replica for a ticket, knowing only how busy replicas are."""

    def pick(self, free: Sequence[Capacity]) -> Capacity:
        """Return which of the replicas that have slots for a ticket gets it; there is at least one."""
        ...

    def keep(self, capacities: set[Capacity]) -> None:
        """Forget the replicas that are not among these."""
        ...


class LeastBusy:
    """Prefers the replica with the largest share of free slots; among equals, the longest unused."""

    def pick(self, free: Sequence[Capacity]) -> Capacity:
        """Return the one with the least share of its slots taken, which was unused for longest."""
        return min(free, key=_LOAD)

    def keep(self, capacities: set[Capacity]) -> None:
        """Do nothing: it remembers none."""


class RoundRobin:
    """Prefers the replica that was unused for longest."""

    def pick(self, free: Sequence[Capacity]) -> Capacity:
        """Return the one whose last ticket is the oldest."""
        return min(free, key=_LAST_DISPATCH)

    def keep(self, capacities: set[Capacity]) -> None:
        """Do nothing: it remembers none."""


class RandomChoice:
    """Takes any replica, with equal chances."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def pick(self, free: Sequence[Capacity]) -> Capacity:
        """Return any."""
        return self._random.choice(free)

    def keep(self, capacities: set[Capacity]) -> None:
        """Do nothing: it remembers none."""


class RealTimeMetrics:
    """Smooth weighted round robin; a replica weighs the more, the less of it is in use or owed.

    The weight is `1 / (0.7 * share of slots in use + 0.3 * requests that wait + 1e-6)`, as in LLMStream,
    times the configured weight of an upstream. What it is made of the scheduler knows of this moment: nothing
    is read from a replica, so no figure is ever old.
    """

    def __init__(self) -> None:
        self._credit: dict[Capacity, float] = {}

    def __repr__(self) -> str:
        return f"<RealTimeMetrics of {len(self._credit)} replicas>"

    def pick(self, free: Sequence[Capacity]) -> Capacity:
        """Return the one with the most credit, which it pays with."""
        credit, weights = self._credit, {one: _weight(one) for one in free}
        for one, weight in weights.items():
            credit[one] = credit.get(one, 0.0) + weight
        chosen = max(free, key=credit.__getitem__)
        credit[chosen] -= sum(weights.values())
        return chosen

    def keep(self, capacities: set[Capacity]) -> None:
        """Forget the replicas that are not among these."""
        self._credit = {one: credit for one, credit in self._credit.items() if one in capacities}


def _weight(capacity: Capacity) -> float:
    in_use = 1 - capacity.free / capacity.slots
    owed = len(capacity.overdue) + len(capacity.left)
    return capacity.weight / (_BUSY_WEIGHT * in_use + _WAITING_WEIGHT * owed + _LEAST)

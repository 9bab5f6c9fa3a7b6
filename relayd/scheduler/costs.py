"""Which replicas may a ticket run on, where some cost more than others (costs)?

A cost is a number of seconds that a request rather waits for something cheaper. A replica of ours costs
nothing, a server in the next room about a millisecond, a paid API as much as its operator wants to wait
before money is spent. So what is free and costs least gets the request; and where all that is free costs more
than something that is busy, or about to be ready, the request waits for that as long as the difference.
"""

from collections.abc import Iterable, Sequence

from relayd.scheduler.capacity import Capacity, ReplicaSlots
from relayd.scheduler.waiting import Hold, Waiting

NEAR_SECONDS = 0.05
"""Costs that differ by less are the same, so that strategy and weight decide; 0, ours, stands alone."""


_DECIDED_ANEW = -1
"""A count of dispatches that no replica has: whatever happens, such a hold is looked at again."""


def affordable(
    waiting: Waiting, fitting: Sequence[Capacity], replicas: Iterable[ReplicaSlots], now: float
) -> list[Capacity] | Hold:
    """Return those of the replicas with room for a ticket that it may run on now; or what it waits for.

    Args:
        waiting: The ticket.
        fitting: The replicas with room for it, at least one.
        replicas: All of its model.
        now: Monotonic seconds.
    """
    least = min(one.cost for one in fitting)
    most = least + NEAR_SECONDS if least > 0 else 0.0
    if least > 0:
        cheapest = min((one.cost for one in replicas if _is_due(one, waiting)), default=least)
        if least - cheapest > NEAR_SECONDS:
            since = waiting.spared_since = now if waiting.spared_since is None else waiting.spared_since
            if (until := since + least - cheapest) > now:
                return Hold(fitting[0], until, served=_DECIDED_ANEW)
    return [one for one in fitting if one.cost <= most]


def _is_due(replica: ReplicaSlots, waiting: Waiting) -> bool:
    """Return whether a replica has, or will have, slots for a ticket; not one that has failed it."""
    capacity = replica.capacity
    if capacity is None:
        return replica.absence is None
    return capacity.accepting and capacity not in waiting.avoid

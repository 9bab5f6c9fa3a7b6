"""Where may a line of a batch go on that has given its slots back, while other requests come?

It keeps its slots for a while then (256 tokens), so a request that comes meanwhile finds them taken. While
requests come, only a quarter of a model's slots is given to such lines; those that never gave way run in the
others, and give way at once.
"""

from collections.abc import Sequence

from relayd.scheduler.capacity import Capacity
from relayd.scheduler.waiting import Hold

_RECENT_SECONDS = 30.0
"""How long after the last request others are still expected."""

_SHARE = 4
"""Of so many slots, one is for lines that keep it."""

_LOOK_SECONDS = 1.0

_DECIDED_ANEW = -1
"""A count of dispatches that no replica has: whatever happens, such a hold is looked at again."""


def resumable(
    fitting: Sequence[Capacity], capacities: Sequence[Capacity], now: float
) -> list[Capacity] | Hold:
    """Return the replicas on which a line may go on that gave way before; or what it waits for.

    Args:
        fitting: The replicas with room for it, at least one.
        capacities: All of its model.
        now: Monotonic seconds.
    """
    if not any(_is_wanted(one, now) for one in capacities):
        return [*fitting]
    fewest = min(_kept(one) for one in fitting)
    slots = sum(one.slots for one in capacities)
    wanted = sum(len(one.running) - len(one.background) for one in capacities)
    most = min(max(1, slots // _SHARE), (slots - wanted) // 3 if wanted else slots)
    if sum(len(one.resumed) for one in capacities) < most:
        return [one for one in fitting if _kept(one) == fewest]
    return Hold(fitting[0], now + _LOOK_SECONDS, served=_DECIDED_ANEW)


def _kept(capacity: Capacity) -> float:
    """Return which share of its slots no request that comes can have at once."""
    return (len(capacity.running) - len(capacity.background) + len(capacity.resumed)) / capacity.slots


def _is_wanted(capacity: Capacity, now: float) -> bool:
    """Return whether requests other than lines run, or have just run."""
    return not capacity.is_spare or capacity.wanted_at > now - _RECENT_SECONDS

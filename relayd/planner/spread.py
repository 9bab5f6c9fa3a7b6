"""On which of several GPUs does each layer work, so that a token passes them soonest?

Layers follow one another, so the time of a token is the sum over its layers, wherever they are. GPUs of one
speed may share them in any way: by their memory. Of unlike ones the fastest get as many as they hold, and
the slow ones the rest; a GPU without a layer is left out. Both find a way if there is one, and more memory
never makes the result slower.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import accumulate
from math import inf

from relayd.memory.setup import Gpu, Setup
from relayd.planner.budget import Budget, Room
from relayd.planner.demand import Demand

AWHILE_MS = 1e-6
"""What a further GPU costs where it gains nothing: fewer are taken."""


def kinds(budget: Budget) -> Iterator[tuple[Room, ...]]:
    """Yield the GPUs that may share a model, by the backend that drives them, in the engine's order.

    Those with memory of their own; an engine of two backends is not assumed.
    """
    yield from ((room,) for room in budget.gpus if room.alone and not room.unified)
    apart = [room for room in budget.gpus if not (room.unified or room.alone)]
    for kind in dict.fromkeys(_kind(room) for room in apart):
        yield tuple(room for room in apart if _kind(room) == kind)


def spread(demand: Demand, setup: Setup, rooms: Sequence[Room], depth: int) -> Setup | None:
    """Return the setup with its GPU layers where a token passes soonest; None where they do not fit.

    RAM is not looked at.

    Args:
        demand: The model.
        setup: How it runs; its GPUs are replaced.
        rooms: GPUs of one kind.
        depth: Tokens in the cache while it generates.
    """
    if len({room.processor for room in rooms}) > 1:
        return _soonest(demand, setup, rooms, depth)
    counts = packed(demand, setup, rooms)
    if counts is None:
        return None
    used = [(room, count) for room, count in zip(rooms, counts, strict=True) if count]
    return replace(setup, gpus=_gpus(_balanced(demand, setup, [room for room, _ in used]) or used))


def packed(demand: Demand, setup: Setup, rooms: Sequence[Room]) -> list[int] | None:
    """Return how many layers each GPU takes when each is filled before the next; None where some are left."""
    counts, index = [], demand.layers - min(setup.gpu_layers, demand.layers)
    start = index
    for room in rooms:
        fixed, costs = demand.costs(setup, room.key)
        left, first = room.usable - fixed - (demand.beside if index == start else 0), index
        while index < demand.layers and costs[index] <= left:
            left -= costs[index]
            index += 1
        counts.append(index - first)
    return counts if index == demand.layers else None


def _balanced(demand: Demand, setup: Setup, rooms: Sequence[Room]) -> list[tuple[Room, int]] | None:
    """Return the GPUs with shares of the layers by their memory; None where one of them is too small."""
    active, usable = min(setup.gpu_layers, demand.layers), sum(room.usable for room in rooms)
    index, reached, found = demand.layers - active, 0.0, []
    for place, room in enumerate(rooms):
        reached += active * room.usable / usable
        end = demand.layers - active + round(reached)
        fixed, costs = demand.costs(setup, room.key)
        needed = fixed + sum(costs[index:end]) + (0 if place else demand.beside)
        if end == index or needed > room.usable:
            return None
        found.append((room, end - index))
        index = end
    return found if index == demand.layers else None


def _soonest(demand: Demand, setup: Setup, rooms: Sequence[Room], depth: int) -> Setup | None:
    """Return the fastest way over unlike GPUs: the best for each number of layers, GPU by GPU."""
    start, end = demand.layers - min(setup.gpu_layers, demand.layers), demand.layers
    reached = [0.0 if layers == start else inf for layers in range(end + 1)]
    begins: list[list[int]] = []
    for room in rooms:
        reached, begin = _with(demand, setup, room, depth, reached, start)
        begins.append(begin)
    if reached[end] == inf:
        return None
    used = []
    for room, begin in zip(reversed(rooms), reversed(begins), strict=True):
        if begin[end] < end:
            used.append((room, end - begin[end]))
        end = begin[end]
    used.reverse()
    return replace(setup, gpus=_gpus(used))


def _with(
    demand: Demand, setup: Setup, room: Room, depth: int, before: Sequence[float], start: int
) -> tuple[list[float], list[int]]:
    """Return the time in which layers up to each are passed with one more GPU, and which it begins with.

    It may begin where its memory lasts until the end: of those places, the one from which it is soonest.
    """
    fixed, costs = demand.costs(setup, room.key)
    bytes_to = [0, *accumulate(costs)]
    ms_to = [0.0, *accumulate(demand.layer_ms(setup, room.key, room.processor, depth))]
    after, begins = list(before), list(range(len(before)))
    left = room.usable - fixed
    window: deque[int] = deque()
    for end in range(start + 1, len(before)):
        latest = end - 1
        if latest > start and before[latest] < inf:
            while window and before[window[-1]] - ms_to[window[-1]] >= before[latest] - ms_to[latest]:
                window.pop()
            window.append(latest)
        while window and bytes_to[end] - bytes_to[window[0]] > left:
            window.popleft()
        candidates = [window[0]] if window else []
        if bytes_to[end] - bytes_to[start] <= left - demand.beside:
            candidates.append(start)
        for begin in candidates:
            ms = before[begin] + ms_to[end] - ms_to[begin] + AWHILE_MS
            if ms < after[end]:
                after[end], begins[end] = ms, begin
    return after, begins


def _gpus(used: Sequence[tuple[Room, int]]) -> tuple[Gpu, ...]:
    """Return devices with shares whose bounds are half a layer before where a layer begins (`split`)."""
    if len(used) == 1:
        return (Gpu(used[0][0].key),)
    shares = [float(count) for _, count in used]
    shares[0] -= 0.5
    shares[-1] += 0.5
    return tuple(Gpu(room.key, share) for (room, _), share in zip(used, shares, strict=True))


def _kind(room: Room) -> str:
    return room.engine_name.rstrip("0123456789")

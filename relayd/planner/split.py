"""Distribution of layers over GPUs, and how many fit there."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from relayd.memory.setup import Gpu, Setup
from relayd.planner.budget import Budget, Room
from relayd.planner.demand import Demand


def groups(budget: Budget) -> Iterator[tuple[Room, ...]]:
    """Yield the sets of GPUs that may share a model, the smallest first, each in the engine's order.

    Those of one kind with memory of their own; an engine of two backends is not assumed.
    """
    kinds = dict.fromkeys(room.engine_name.rstrip("0123456789") for room in budget.gpus)
    for kind in kinds:
        alike = [
            room
            for room in budget.gpus
            if room.engine_name.rstrip("0123456789") == kind and not (room.unified or room.alone)
        ]
        largest = sorted(alike, key=lambda room: -room.usable)
        for count in range(2, len(alike) + 1):
            chosen = largest[:count]
            yield tuple(room for room in alike if room in chosen)


def shared(demand: Demand, setup: Setup, rooms: Sequence[Room]) -> Setup | None:
    """Return the setup with its GPU layers on `rooms`, or None where one of them is too small.

    Shares follow usable memory. Where that fails by a layer, each device is filled before the next: if
    anything fits, that does, so that more memory never makes it worse. RAM is not looked at.
    """
    active = min(setup.gpu_layers, demand.layers)
    for share in (_proportional, _filled)[: len(rooms)]:
        if counts := share(demand, setup, rooms, active):
            found = replace(setup, gpus=_gpus(rooms, counts))
            needs = demand.needs(found)
            if all(needs.get(room.key, 0) <= room.usable for room in rooms):
                return found
    return None


def fullest(
    demand: Demand, make: Callable[[int], Setup], low: int, high: int, rooms: Sequence[Room]
) -> Setup | None:
    """Return the setup of the largest number from `low` to `high` whose GPU layers fit on `rooms`, or None.

    Args:
        demand: The model.
        make: Returns a setup that asks more of GPUs the larger its number is.
        low: The least number.
        high: The largest.
        rooms: The GPUs.
    """
    count = most(low, high, lambda count: shared(demand, make(count), rooms) is not None)
    return None if count is None else shared(demand, make(count), rooms)


def most(low: int, high: int, fits: Callable[[int], bool]) -> int | None:
    """Return the largest number from `low` to `high` that fits, by bisection; None if `low` does not."""
    if not fits(low):
        return None
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def _proportional(_demand: Demand, _setup: Setup, rooms: Sequence[Room], active: int) -> list[int] | None:
    usable = sum(room.usable for room in rooms)
    if not usable:
        return None
    counts, given, reached = [], 0, 0.0
    for room in rooms:
        reached += active * room.usable / usable
        counts.append(round(reached) - given)
        given = round(reached)
    return counts if all(counts) else None


def _filled(demand: Demand, setup: Setup, rooms: Sequence[Room], active: int) -> list[int] | None:
    counts = []
    index = demand.layers - active
    for place, room in enumerate(rooms):
        fixed, costs = demand.costs(setup, room.key)
        left = room.usable - fixed - (demand.beside if place == 0 else 0)
        start = index
        while index < demand.layers and costs[index] <= left:
            left -= costs[index]
            index += 1
        counts.append(index - start)
    return counts if index == demand.layers and all(counts) else None


def _gpus(rooms: Sequence[Room], counts: Sequence[int]) -> tuple[Gpu, ...]:
    """Return the devices with shares whose bounds are half a layer before where a layer begins.

    llama.cpp compares index / layers with sums of shares in floating point; whole numbers could round to
    either side.
    """
    if len(rooms) == 1:
        return (Gpu(rooms[0].key),)
    shares = [float(count) for count in counts]
    shares[0] -= 0.5
    shares[-1] += 0.5
    return tuple(Gpu(room.key, share) for room, share in zip(rooms, shares, strict=True))

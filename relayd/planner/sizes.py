"""In which sizes could a model run that is loaded on demand, beside whatever runs by then?

It is planned alone on the machine, by closed form. A model that leaves its size open does not get all of it:
the first size takes half of the machine, so that another one has room beside it, the next a quarter, the last
the least that is of use. On a machine with several GPUs a size that fits on one is there for each of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from relayd.planner.budget import Budget
from relayd.planner.fit import PROMPT_CACHE_SHARE, PROMPT_CACHE_STEP_MIB, fit
from relayd.planner.placement import Aim, Form, NoPlace, Place, Placement
from relayd.units import MIB, Bytes

SHARES = (2, 4)
"""By how much the machine is divided for the sizes of a model, the largest size first."""

USEFUL_CONTEXT = 8192
"""Tokens of a slot in the least size, where line and machine allow that: a conversation of some pages."""

_RANK = {place: rank for rank, place in enumerate(Place)}

DIVISIBLE = frozenset({Place.ONE_GPU, Place.SPLIT, Place.CPU})
"""Places of a model for which a part of the machine may do; where it overflows its GPUs, none does."""


def sizes(
    form: Form, room: Budget, aim: Aim, *, alone: bool = False, prompt_cache_mib: int = 0
) -> tuple[Placement, ...] | NoPlace:
    """Return the sizes that a model may be loaded in, the better ones first, or why there is none.

    Args:
        form: The model.
        room: What models may take of the machine, nothing planned on it.
        aim: What is asked of the model.
        alone: Whether it is the only model, so that it may have the whole machine.
        prompt_cache_mib: RAM for prompts of earlier requests, at most; the least size has none.
    """
    best = fit((form,), room, aim)
    if isinstance(best, NoPlace):
        return best
    parts = list(_parts(best, room))
    least = _placed(form, parts, _least(aim), best.place, 0)
    found: list[Placement] = [_with_prompt_cache(best, room, prompt_cache_mib)] if alone else []
    if best.place in DIVISIBLE and not _is_fixed(aim):
        for share in SHARES:
            rooms = [part.shared_by(share) for part in parts]
            some = _placed(form, rooms, aim, best.place, prompt_cache_mib)
            found += (one for one in some if not least or one.context >= least[0].context)
    found = found or _placed(form, parts, aim, best.place, prompt_cache_mib) or [best]
    return tuple(_distinct([*found, *least]))


def alike(form: Form, room: Budget, aim: Aim, first: Placement) -> tuple[Placement, ...]:
    """Return where a further replica of a model can be, with the slots and context that its first one has.

    Args:
        form: The model.
        room: What models may take of the machine, nothing planned on it.
        aim: What is asked of the model.
        first: The place of its first replica, which comes first.
    """
    same = replace(
        aim, context=first.context, least_context=first.context, slots=first.slots, least_slots=first.slots
    )
    others = _placed(form, list(_parts(first, room)), same, first.place, 0)
    cache = first.setup.cache_ram_mib
    return tuple(_distinct([first, *(_with_cache(one, room, cache) for one in others)]))


def _is_fixed(aim: Aim) -> bool:
    """Return whether nothing of a model's size is open."""
    return aim.context == aim.least_context and aim.slots == aim.least_slots


def _least(aim: Aim) -> Aim:
    """Return what the least size is asked for: it is granted where others leave little."""
    context = max(aim.least_context, min(aim.context, USEFUL_CONTEXT))
    return replace(aim, context=context, slots=aim.least_slots)


def _parts(best: Placement, room: Budget) -> Iterator[Budget]:
    """Yield the parts of a machine that a model may be on: each GPU where one suffices, fast ones first."""
    if best.place is not Place.ONE_GPU:
        yield room
        return
    for gpu in sorted(room.gpus, key=lambda one: -one.processor.bandwidth_gb_s):
        yield replace(room, gpus=(gpu,))


def _placed(
    form: Form, rooms: Sequence[Budget], aim: Aim, place: Place, prompt_cache_mib: int
) -> list[Placement]:
    """Return the places in some parts of the machine that are at least as good as another."""
    found = ((fit((form,), room, aim), room) for room in rooms)
    return [
        _with_prompt_cache(one, room, prompt_cache_mib)
        for one, room in found
        if isinstance(one, Placement) and _RANK[one.place] <= _RANK[place]
    ]


def _with_prompt_cache(placement: Placement, room: Budget, most_mib: int) -> Placement:
    """Return a place with RAM for prompts of earlier requests: a share of what it leaves.

    No more than the model takes itself: a small one would keep others out for prompts alone.
    """
    left = room.minus(placement.needs).host.usable
    mib = int(min(left * PROMPT_CACHE_SHARE, sum(placement.needs.values()))) // MIB
    return _with_cache(placement, room, min(most_mib, mib // PROMPT_CACHE_STEP_MIB * PROMPT_CACHE_STEP_MIB))


def _with_cache(placement: Placement, room: Budget, mib: int) -> Placement:
    if not mib:
        return placement
    needs = {**placement.needs}
    needs[room.host.key] = Bytes(needs.get(room.host.key, 0) + mib * MIB)
    return replace(placement, setup=replace(placement.setup, cache_ram_mib=mib), needs=needs)


def _distinct(found: Sequence[Placement]) -> Iterator[Placement]:
    """Yield each size once: two that need the same of each device are one."""
    seen: list[Mapping[str, Bytes]] = []
    for one in found:
        if one.needs not in seen:
            seen.append(one.needs)
            yield one

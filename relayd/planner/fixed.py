"""What of a placement the operator has decided, and what that leaves to search for (`[model.placement]`)."""

from collections.abc import Callable
from dataclasses import replace

import msgspec

from relayd.config.schema import Allocation
from relayd.errors import ModelFileError
from relayd.memory.refused import refused_cache
from relayd.memory.shape import Shape
from relayd.planner.budget import Budget
from relayd.planner.demand import Demand
from relayd.planner.placement import Place

CACHE_LADDER = ("f16", "q8_0")
"""Types of the cache: q8_0 costs almost nothing (KLD 0.001), coarser ones only who asks for them."""


def reachable(budget: Budget, fixed: Allocation) -> Budget:
    """Return the machine with only the GPUs that the operator's placement leaves, in the order given."""
    if fixed.gpu_layers == 0:
        return replace(budget, gpus=())
    if fixed.devices is None:
        return budget
    rooms = {room.engine_name.casefold(): room for room in budget.gpus}
    named = (rooms.get(name.casefold()) for name in fixed.devices)
    return replace(budget, gpus=tuple(room for room in named if room))


def ignored(fixed: Allocation, budget: Budget, *, has_experts: bool) -> dict[str, str]:
    """Return the decisions that nothing here can follow, and that the engine ignores too: field -> why.

    Args:
        fixed: What is decided.
        budget: The machine.
        has_experts: Whether the model has any.
    """
    found = {}
    if not reachable(budget, fixed).gpus:
        why = "there is no device"
        if budget.gpus:
            why = "no layer goes to a device" if fixed.gpu_layers == 0 else "it may use no device"
        if fixed.gpu_layers:
            found["gpu_layers"] = why
        if fixed.devices:
            found["devices"] = why
        if fixed.experts_on_cpu:
            found["experts_on_cpu"] = why
    elif fixed.experts_on_cpu and not has_experts:
        found["experts_on_cpu"] = "the model has no experts"
    return found


def followed(fixed: Allocation, budget: Budget, *, has_experts: bool) -> Allocation:
    """Return the decisions without those that nothing here can follow (see `ignored`)."""
    nothing = ignored(fixed, budget, has_experts=has_experts)
    plain: dict[str, object] = {"gpu_layers": 0, "devices": (), "experts_on_cpu": 0}
    return msgspec.structs.replace(fixed, **{name: plain[name] for name in nothing})


def cache_types(fixed: Allocation, shape: Shape) -> list[tuple[str, str]]:
    """Return the types of keys and values to try, the best first.

    Those that the engine refuses for the model are left out: heads that are not whole blocks, values of 8
    bits without flash attention, two types for a row that keys and values share.

    Raises:
        ModelFileError: The operator has decided for types that the engine refuses.
    """
    flash = fixed.flash_attention is not False and not shape.without_flash
    ladder = [(kind, kind if flash else "f16") for kind in CACHE_LADDER]
    given = [(fixed.cache_type_k or kind_k, fixed.cache_type_v or kind_v) for kind_k, kind_v in ladder]
    refusals = {pair: refused_cache(shape, *pair, flash_attention=flash) for pair in given}
    if taken := [pair for pair, reason in refusals.items() if not reason]:
        return taken
    raise ModelFileError(
        f"{shape.architecture} cannot have the cache types of its line: {refusals[given[0]]}",
        remedy="Take cache_type_k and cache_type_v out of [model.placement], or make both f16.",
    )


def may_be(place: Place, fixed: Allocation, build: Callable[[], Demand]) -> bool:
    """Return whether a model may go to a place, as far as the operator has decided.

    Args:
        place: The place.
        fixed: What is decided.
        build: Returns the model; asked only where its layers matter.
    """
    layers, experts = fixed.gpu_layers, fixed.experts_on_cpu
    if place is Place.CPU:
        return not layers and not fixed.devices and not experts
    if layers == 0:
        return False
    part = layers is not None and layers < build().layers
    match place:
        case Place.ONE_GPU | Place.SPLIT:
            return not part and not experts
        case Place.EXPERTS_ON_CPU:
            return not part and experts != 0
        case _:
            return part or (layers is None and not experts)

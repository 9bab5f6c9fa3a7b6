"""How fast does a placement of a model work, and what would it gain if it were whole on GPUs?"""

from collections.abc import Sequence
from dataclasses import replace

from relayd.memory.setup import EVERY_LAYER, Setup
from relayd.planner.budget import Budget
from relayd.planner.demand import Demand
from relayd.planner.placement import Form, Place, Placement
from relayd.planner.processor import Tag
from relayd.planner.speed import (
    Decoding,
    Estimate,
    Part,
    decode_tokens_per_second,
    prefill_tokens_per_second,
)

DEPTH_TOKENS, PROMPT_TOKENS = 4096, 1024
"""Tokens in the cache when speed is estimated, and of the prompt: a conversation of some pages."""


def placed(form: Form, setup: Setup, budget: Budget) -> Placement:
    """Return the placement that a setup means, with its speed and needs; whether it fits is not asked.

    Args:
        form: The model.
        setup: How it runs.
        budget: The machine, all of it.
    """
    demand = form.build()
    found = timed(form, place_of(setup, demand), setup, budget, DEPTH_TOKENS, PROMPT_TOKENS)
    return replace(found, needs=demand.needs(setup))


def timed(form: Form, place: Place, setup: Setup, budget: Budget, depth: int, prompt: int) -> Placement:
    """Return the placement that a setup means, with its speed; what it needs is left out.

    Args:
        form: The model.
        place: Where it runs.
        setup: How it runs.
        budget: The machine.
        depth: Tokens in the cache while it generates, at most.
        prompt: Tokens that are read at once, at most.
    """
    demand, context = form.build(), setup.context // setup.slots
    parts = demand.parts(setup, budget.processors, min(depth, context), min(prompt, context))
    together = decode_tokens_per_second(parts, setup.slots)
    guessed = _is_guessed(budget, parts)
    return Placement(
        form=form,
        place=Place.SPLIT if place is Place.ONE_GPU and len(setup.gpus) > 1 else place,
        setup=setup,
        context=context,
        needs={},
        layers=(min(setup.gpu_layers, demand.layers) if setup.gpus else 0, demand.layers),
        alone=_sure(decode_tokens_per_second(parts).each, guessed=guessed),
        decoding=Decoding(_sure(together.each, guessed=guessed), _sure(together.together, guessed=guessed)),
        prefill=_sure(prefill_tokens_per_second(parts), guessed=guessed),
        reasons=(),
    )


def _is_guessed(budget: Budget, parts: Sequence[Part]) -> bool:
    """Return whether the bandwidth of a device that works is a guess."""
    guessed = [room.processor for room in budget.rooms if not room.known_speed]
    return any(part.processor in guessed for part in parts)


def _sure(estimate: Estimate, *, guessed: bool) -> Estimate:
    """Return the estimate, marked as wide where a bandwidth is a guess."""
    return replace(estimate, tag=Tag.WIDE) if guessed else estimate


def place_of(setup: Setup, demand: Demand) -> Place:
    """Return where a setup puts a model."""
    if not setup.gpus or not setup.gpu_layers:
        return Place.CPU
    if setup.experts_on_cpu:
        return Place.EXPERTS_ON_CPU
    if setup.gpu_layers < demand.layers:
        return Place.PARTIAL
    return Place.SPLIT if len(setup.gpus) > 1 else Place.ONE_GPU


def cliff(placement: Placement, budget: Budget) -> str:
    """Return how much faster a placement would be whole on its GPUs; empty if it is, or has none."""
    setup, demand = placement.setup, placement.form.build()
    if placement.place not in {Place.EXPERTS_ON_CPU, Place.PARTIAL}:
        return ""
    whole = replace(setup, gpu_layers=EVERY_LAYER, experts_on_cpu=0)
    depth = min(DEPTH_TOKENS, placement.context)
    parts = demand.parts(whole, budget.processors, depth, PROMPT_TOKENS)
    fast = decode_tokens_per_second(parts).each.value
    blocks = demand.shape.n_blocks
    moved = (
        f"the experts of {min(setup.experts_on_cpu, blocks)} of {blocks} layers"
        if setup.experts_on_cpu
        else f"{demand.layers - placement.layers[0]} of {demand.layers} layers"
    )
    return (
        f"A cliff: {moved} work on the CPU, {placement.alone.value:.3g} tokens/s instead of {fast:.3g} "
        "if all were on GPUs."
    )

"""What is tried next when a replica does not fit into memory, a device's or the host's?

The rungs of the ladder, from what costs least: less RAM for earlier prompts (for the host only), fewer
slots, a shorter context, fewer layers on the device (for a device only), a smaller quantization that is
on disk.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from relayd.planner.plan import ReplicaSpec

SHORTEST_CONTEXT = 2048
"""Tokens a slot keeps at least: below, most chats do not fit."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the rungs need to know of a model.

    Attributes:
        trained_context: Tokens the model was trained on.
        layers: Layers of the model.
        smaller_files: The same model on disk in smaller quantizations, the largest first.
    """

    trained_context: int
    layers: int
    smaller_files: Sequence[Path] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One rung down.

    Attributes:
        spec: What is tried.
        rung: Its number; the next step is a later one, or this one again.
        what: The change, for people.
    """

    spec: ReplicaSpec
    rung: int
    what: str


def step_down(spec: ReplicaSpec, facts: Facts, rung: int = 0, *, host: bool = False) -> Step | None:
    """Return the next smaller spec from a rung on, or None when nothing is left to try.

    Args:
        spec: What did not fit.
        facts: What is known of its model.
        rung: The first one to try.
        host: Whether it was RAM that ran out, and not a device's memory.
    """
    useless = _fewer_layers if host else _smaller_prompt_cache
    for number, change in enumerate(_RUNGS[rung:], start=rung):
        if change is not useless and (found := change(spec, facts)):
            smaller, what = found
            return Step(smaller, number + 1, what)
    return None


_Change = tuple[ReplicaSpec, str] | None


def _smaller_prompt_cache(spec: ReplicaSpec, _facts: Facts) -> _Change:
    if not spec.cache_ram_mib:
        return None
    mib = spec.cache_ram_mib // 4
    what = f"RAM for earlier prompts: {spec.cache_ram_mib} → {mib} MiB"
    return replace(spec, cache_ram_mib=mib), what


def _fewer_slots(spec: ReplicaSpec, _facts: Facts) -> _Change:
    if spec.slots < 2:
        return None
    slots = spec.slots // 2
    return replace(spec, slots=slots), f"slots: {spec.slots} → {slots}"


def _shorter_context(spec: ReplicaSpec, facts: Facts) -> _Change:
    now = spec.context or facts.trained_context
    context = max(SHORTEST_CONTEXT, now // 2)
    if context >= now:
        return None
    return replace(spec, context=context), f"context: {now} → {context}"


def _fewer_layers(spec: ReplicaSpec, facts: Facts) -> _Change:
    planned = spec.placement.gpu_layers
    now = facts.layers + 1 if planned is None else planned
    layers = now * 3 // 4
    if not 0 < layers < now:
        return None
    placement = msgspec.structs.replace(spec.placement, gpu_layers=layers)
    return replace(spec, placement=placement), f"layers on the device: {now} → {layers}"


def _smaller_file(spec: ReplicaSpec, facts: Facts) -> _Change:
    if not facts.smaller_files:
        return None
    file = facts.smaller_files[0]
    return replace(spec, file=file), f"file: {spec.file.name} → {file.name}"


_RUNGS: tuple[Callable[[ReplicaSpec, Facts], _Change], ...] = (
    _smaller_prompt_cache,
    _fewer_slots,
    _shorter_context,
    _fewer_layers,
    _smaller_file,
)

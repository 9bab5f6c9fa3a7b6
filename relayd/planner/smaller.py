"""The out-of-memory ladder: what is tried next when memory does not hold a replica?

The rungs of the ladder, from what costs least: less RAM for earlier prompts (for the host only), fewer
slots, a shorter context, more experts in RAM, fewer layers on the device (both for a device only), a smaller
quantization that is on disk. A rung changes the one value that argv is made from, so it is what the
next process gets; where an argument of the operator fixes that value, the rung is left out.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from relayd.planner.plan import Basis, Planned, ReplicaSpec

SHORTEST_CONTEXT = 2048
"""Tokens a slot keeps at least: below, most chats do not fit."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the rungs need to know of a model.

    Attributes:
        trained_context: Tokens the model was trained on.
        layers: Layers of the model, without the output layer.
        has_experts: Whether its layers have experts, which may stay in RAM alone.
        smaller_files: The same model on disk in smaller quantizations, the largest first.
        fixed: Fields of the spec, and of its placement, that the operator's own arguments decide.
    """

    trained_context: int
    layers: int
    has_experts: bool = False
    smaller_files: Sequence[Path] = ()
    fixed: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Step:
    """One rung down.

    Attributes:
        planned: What is tried; who knows the machine adds its bytes.
        rung: Its number; the next step is a later one.
        what: The change, for people.
    """

    planned: Planned
    rung: int
    what: str


def step_down(planned: Planned, facts: Facts, rung: int = 0, *, host: bool = False) -> Step | None:
    """Return the next smaller plan from a rung on, or None when nothing is left to try.

    Args:
        planned: What did not fit.
        facts: What is known of its model.
        rung: The first one to try.
        host: Whether it was RAM that ran out, and not a device's memory.
    """
    useless = {_more_experts_on_cpu, _fewer_layers} if host else {_smaller_prompt_cache}
    for number, (field, change) in enumerate(_RUNGS[rung:], start=rung):
        if change in useless or field in facts.fixed:
            continue
        if found := change(planned.spec, facts):
            spec, what = found
            smaller = replace(planned, spec=spec, needs={}, basis=Basis.UNKNOWN)
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


def _more_experts_on_cpu(spec: ReplicaSpec, facts: Facts) -> _Change:
    now = spec.placement.experts_on_cpu or 0
    if not facts.has_experts or not _layers_on_devices(spec, facts) or now >= facts.layers:
        return None
    # A quarter of those that are left, at least one.
    layers = now + max(1, (facts.layers - now) // 4)
    return _placed(spec, experts_on_cpu=layers), f"layers with their experts in RAM: {now} → {layers}"


def _fewer_layers(spec: ReplicaSpec, facts: Facts) -> _Change:
    now = _layers_on_devices(spec, facts)
    layers = now * 3 // 4
    if not 0 < layers < now:
        return None
    return _placed(spec, gpu_layers=layers), f"layers on the device: {now} → {layers}"


def _layers_on_devices(spec: ReplicaSpec, facts: Facts) -> int:
    """Return how many layers the engine puts on devices at most, the output layer counted."""
    if spec.placement.devices == ():
        return 0
    asked = spec.placement.gpu_layers
    return facts.layers + 1 if asked is None else min(asked, facts.layers + 1)


def _placed(spec: ReplicaSpec, **changes: int) -> ReplicaSpec:
    return replace(spec, placement=msgspec.structs.replace(spec.placement, **changes))


def _smaller_file(spec: ReplicaSpec, facts: Facts) -> _Change:
    if not facts.smaller_files:
        return None
    file = facts.smaller_files[0]
    return replace(spec, file=file), f"file: {spec.file.name} → {file.name}"


_RUNGS: tuple[tuple[str, Callable[[ReplicaSpec, Facts], _Change]], ...] = (
    ("cache_ram_mib", _smaller_prompt_cache),
    ("slots", _fewer_slots),
    ("context", _shorter_context),
    ("experts_on_cpu", _more_experts_on_cpu),
    ("gpu_layers", _fewer_layers),
    ("file", _smaller_file),
)
"""The field that each rung changes, and how."""

"""What is tried next when a replica does not fit into the memory of its device?

The rungs of the ladder, from what costs least: fewer slots, a shorter context, fewer layers on
the device, a smaller quantization that is on disk.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

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


def step_down(spec: ReplicaSpec, facts: Facts, rung: int = 0) -> Step | None:
    """Return the next smaller spec from a rung on, or None when nothing is left to try."""
    for number, change in enumerate(_RUNGS[rung:], start=rung):
        if found := change(spec, facts):
            smaller, what = found
            return Step(smaller, number + 1, what)
    return None


_Change = tuple[ReplicaSpec, str] | None


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
    now = facts.layers + 1 if spec.gpu_layers is None else spec.gpu_layers
    layers = now * 3 // 4
    if not 0 < layers < now:
        return None
    return replace(spec, gpu_layers=layers), f"layers on the device: {now} → {layers}"


def _smaller_file(spec: ReplicaSpec, facts: Facts) -> _Change:
    if not facts.smaller_files:
        return None
    file = facts.smaller_files[0]
    return replace(spec, file=file), f"file: {spec.file.name} → {file.name}"


_RUNGS: tuple[Callable[[ReplicaSpec, Facts], _Change], ...] = (
    _fewer_slots,
    _shorter_context,
    _fewer_layers,
    _smaller_file,
)

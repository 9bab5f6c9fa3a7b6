"""How do several models share one machine, and what does each device keep?

Models are placed one after another, each with what those before it left: in the order in which they are
written, which is their priority. Where that leaves one without a place, the largest go first instead, if all
of them fit so.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from relayd.planner.budget import Budget
from relayd.planner.fit import fit
from relayd.planner.placement import Aim, Form, Placement, Refusal
from relayd.units import show_bytes


@dataclass(frozen=True, slots=True)
class Wanted:
    """A model that shall run.

    Attributes:
        name: What clients ask for.
        forms: The files it may be run from, the best first.
        aim: What is asked of each replica.
        replicas: How many processes.
    """

    name: str
    forms: tuple[Form, ...]
    aim: Aim
    replicas: int = 1


@dataclass(frozen=True, slots=True)
class Assignment:
    """One replica and its place, or why it has none."""

    model: str
    index: int
    outcome: Placement | Refusal

    @property
    def name(self) -> str:
        """The replica as people write it: `MODEL#N`."""
        return f"{self.model}#{self.index}"


@dataclass(frozen=True, slots=True)
class FleetPlan:
    """Where every replica goes.

    Attributes:
        assignments: The replicas, in the order they were placed.
        before: What there was.
        left: What every device keeps.
        notes: What to know: order, conflicts, replicas that would be better as slots.
    """

    assignments: tuple[Assignment, ...]
    before: Budget
    left: Budget
    notes: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every replica has a place."""
        return all(isinstance(one.outcome, Placement) for one in self.assignments)


def plan_fleet(wanted: Sequence[Wanted], budget: Budget) -> FleetPlan:
    """Return the plan of a machine.

    Args:
        wanted: The models, the most important first.
        budget: What may be used.
    """
    plan = _in_order(wanted, budget)
    if not plan.complete and len(wanted) > 1:
        largest_first = sorted(wanted, key=lambda one: -min(form.nbytes for form in one.forms))
        other = _in_order(largest_first, budget)
        if other.complete:
            order = ", ".join(one.name for one in largest_first)
            plan = replace(other, notes=(f"In the order written one would have no place: placed {order}.",))
    notes = (*plan.notes, *_conflicts(plan), *_crowded(plan))
    return replace(plan, notes=notes)


def _in_order(wanted: Sequence[Wanted], budget: Budget) -> FleetPlan:
    left, assignments = budget, []
    for one in wanted:
        for index in range(one.replicas):
            outcome = fit(one.forms, left, one.aim)
            if isinstance(outcome, Placement):
                left = left.minus(outcome.needs)
            assignments.append(Assignment(one.name, index, outcome))
    return FleetPlan(tuple(assignments), budget, left)


def _conflicts(plan: FleetPlan) -> list[str]:
    """Return a sentence for each replica without a place that has one on the empty machine."""
    found = []
    for one in plan.assignments:
        if isinstance(one.outcome, Refusal) and one.outcome.shortages:
            short = one.outcome.shortages[-1]
            room = plan.before.room(short.room.key)
            if short.need <= room.usable:
                takers = ", ".join(
                    f"{other.name} {show_bytes(other.outcome.needs[room.key])}"
                    for other in plan.assignments
                    if isinstance(other.outcome, Placement) and room.key in other.outcome.needs
                )
                found.append(f"{one.name} would fit alone: {room.key} is taken by {takers}.")
    return found


def _crowded(plan: FleetPlan) -> list[str]:
    """Return a sentence for each model with several replicas on one GPU, which hold its weights as often."""
    together: dict[tuple[str, str], list[Placement]] = {}
    for one in plan.assignments:
        if isinstance(one.outcome, Placement):
            for gpu in one.outcome.setup.gpus:
                together.setdefault((one.model, gpu.key), []).append(one.outcome)
    found = []
    for (model, key), placed in together.items():
        if len(placed) < 2:
            continue
        setup, count = placed[0].setup, len(placed)
        wide = replace(setup, slots=setup.slots * count, context=setup.context * count)
        taken = sum(one.needs[key] for one in placed)
        found.append(
            f"{count} replicas of {model} take {show_bytes(taken)} of {key}; one with {wide.slots} slots "
            f"would take {show_bytes(placed[0].form.build().needs(wide)[key])}."
        )
    return found

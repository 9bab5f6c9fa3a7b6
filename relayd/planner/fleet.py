"""How several models share one machine, and what each device keeps (plan of a fleet).

Models are placed one after another, each with what those before it left: in the order in which they are
written, which is their priority. What is placed already keeps its place. Where all are wanted, none takes
more context than leaves room for the least that those after it need. Where the order leaves one without a
place, the largest go first instead, if all of them fit so. Last, RAM that is left over holds prompts of
earlier requests.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from relayd.planner.budget import Budget, Room
from relayd.planner.fit import PROMPT_CACHE_SHARE, PROMPT_CACHE_STEP_MIB, fit
from relayd.planner.placement import Aim, Form, NoPlace, Placement, Shortage
from relayd.units import MIB, Bytes, show_bytes

NOTHING = Bytes(0)

MOST_PROMPT_CACHES = 2 * PROMPT_CACHE_SHARE
"""Of RAM that is left over, the share that prompts of earlier requests get at most, all replicas together."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A model that shall run.

    Attributes:
        name: What clients ask for.
        forms: The files it may be run from, the best first.
        aim: What is asked of each replica.
        replicas: How many processes.
        placed: The places of its first replicas, which stay as they are; further ones become like them.
        unforeseen: What the engine reported that a replica takes beyond what is predicted.
        prompt_cache_mib: RAM for prompts of earlier requests, at most, where the aim leaves that to what is
            left over; None leaves it to the aim.
        own: How each replica runs where its engine decides that; None leaves it to the plan. Where that is
            too large, `forms` and `aim` say what the engine makes of it; without forms it makes nothing.
    """

    name: str
    forms: tuple[Form, ...]
    aim: Aim
    replicas: int = 1
    placed: tuple[Placement, ...] = ()
    unforeseen: Bytes = NOTHING
    prompt_cache_mib: int | None = None
    own: Placement | None = None


@dataclass(frozen=True, slots=True)
class Assignment:
    """One replica and its place, or why it has none."""

    model: str
    index: int
    outcome: Placement | NoPlace

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
        notes: What to know: order, replicas that would be better as slots.
    """

    assignments: tuple[Assignment, ...]
    before: Budget
    left: Budget
    notes: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every replica has a place."""
        return all(isinstance(one.outcome, Placement) for one in self.assignments)

    @property
    def over(self) -> tuple[Room, ...]:
        """The devices on which replicas that keep their places take more than models may."""
        return tuple(room for room in self.left.rooms if room.over)


def plan_fleet(wanted: Sequence[Wanted], budget: Budget, *, all_of_them: bool = False) -> FleetPlan:
    """Return the plan of a machine.

    Args:
        wanted: The models, the most important first.
        budget: What may be used.
        all_of_them: Whether each counts, so that the least each needs is kept for it; else the first take
            what they can use.
    """
    plan = _in_order(wanted, budget, all_of_them=all_of_them)
    if not plan.complete and len(wanted) > 1:
        largest_first = sorted(wanted, key=_least_bytes, reverse=True)
        other = _in_order(largest_first, budget, all_of_them=all_of_them)
        if other.complete:
            order = ", ".join(one.name for one in largest_first)
            plan = replace(other, notes=(f"In the order written one would have no place: placed {order}.",))
    plan = _with_prompt_caches(plan, wanted)
    notes = (*plan.notes, *_crowded(plan))
    return replace(plan, notes=notes)


def _least_bytes(wanted: Wanted) -> int:
    own = (wanted.own.form,) if wanted.own else ()
    return min(int(form.nbytes) for form in (*wanted.forms, *own))


def _in_order(wanted: Sequence[Wanted], budget: Budget, *, all_of_them: bool) -> FleetPlan:
    """Place models one after another, around those that have a place already."""
    left = budget
    for one in wanted:
        left = _taken(left, one.name, one.placed)
    open_ones = [one for one in wanted if len(one.placed) < one.replicas]
    found: dict[str, tuple[Placement | NoPlace, ...]] = {one.name: one.placed for one in wanted}
    least = _least(open_ones, left) if all_of_them and len(open_ones) > 1 else {}
    for number, one in enumerate(open_ones):
        rest = left
        for after in open_ones[number + 1 :]:
            rest = _taken(rest, after.name, least.get(after.name, ()))
        outcomes = _alike(one, rest)
        if _count(outcomes) < len(outcomes) and rest is not left:
            outcomes = _alike(one, left)
        found[one.name] = (*one.placed, *outcomes)
        left = _taken(left, one.name, outcomes, len(one.placed))
    assignments = (
        Assignment(one.name, index, outcome)
        for one in wanted
        for index, outcome in enumerate(found[one.name])
    )
    return FleetPlan(tuple(assignments), budget, left)


def _least(wanted: Sequence[Wanted], left: Budget) -> dict[str, tuple[Placement, ...]]:
    """Return the smallest places of models, of those that have any beside the others."""
    found: dict[str, tuple[Placement, ...]] = {}
    for one in wanted:
        aim = replace(one.aim, context=one.aim.least_context, slots=one.aim.least_slots, extend=False)
        placed = tuple(
            outcome for outcome in _alike(replace(one, aim=aim), left) if isinstance(outcome, Placement)
        )
        if len(placed) + len(one.placed) == one.replicas:
            found[one.name] = placed
            left = _taken(left, one.name, placed, len(one.placed))
    return found


def _alike(wanted: Wanted, budget: Budget) -> tuple[Placement | NoPlace, ...]:
    """Place the replicas of a model that have no place yet.

    All get the same slots and context, those of replicas that have a place: a request may meet any of them.
    """
    if wanted.own:
        return tuple(_one_by_one(wanted, budget))
    aim = wanted.aim
    if wanted.placed:
        like = wanted.placed[0]
        aim = replace(
            aim, context=like.context, least_context=like.context, slots=like.slots, least_slots=like.slots
        )
    best: tuple[Placement | NoPlace, ...] = ()
    while True:
        outcomes = tuple(_one_by_one(replace(wanted, aim=aim), budget))
        placed = [one for one in outcomes if isinstance(one, Placement)]
        context = min((one.context for one in placed), default=aim.context)
        slots = min((one.slots for one in placed), default=aim.slots)
        alike = all((one.context, one.slots) == (context, slots) for one in placed)
        if alike and (not best or _count(outcomes) > _count(best)):
            best = outcomes
        if alike and (len(placed) in {0, len(outcomes)} or context <= aim.least_context):
            return best
        # Those that have a place take more than leaves one for the others, or not all can have as much.
        shorter = context if not alike else max(context // 2, aim.least_context)
        aim = replace(aim, context=shorter, slots=slots, extend=False)


def _one_by_one(wanted: Wanted, left: Budget) -> Iterator[Placement | NoPlace]:
    for index in range(len(wanted.placed), wanted.replicas):
        room = left.keeping(wanted.unforeseen) if wanted.unforeseen else left
        yield (
            outcome := _own(wanted, wanted.own, room) if wanted.own else fit(wanted.forms, room, wanted.aim)
        )
        if isinstance(outcome, Placement):
            left = left.minus(outcome.needs, f"{wanted.name}#{index}")


def _own(wanted: Wanted, own: Placement, room: Budget) -> Placement | NoPlace:
    """Return how a model runs that its engine fits: in full, else as small as the engine makes it."""
    if not (short := room.short_of(own.needs)):
        return own
    smaller = fit(wanted.forms, room, wanted.aim) if wanted.forms else None
    if isinstance(smaller, Placement):
        return smaller
    return NoPlace((Shortage("fitted by the engine it", *short),))


def _taken(left: Budget, name: str, outcomes: Sequence[Placement | NoPlace], first: int = 0) -> Budget:
    for index, one in enumerate(outcomes, start=first):
        if isinstance(one, Placement):
            left = left.minus(one.needs, f"{name}#{index}")
    return left


def _count(outcomes: Sequence[Placement | NoPlace]) -> int:
    return sum(isinstance(one, Placement) for one in outcomes)


def _with_prompt_caches(plan: FleetPlan, wanted: Sequence[Wanted]) -> FleetPlan:
    """Give RAM that is left over to prompts of earlier requests, the same to each replica."""
    most = {one.name: one.prompt_cache_mib for one in wanted if one.prompt_cache_mib}
    kept = {(one.name, index) for one in wanted if not one.own for index in range(len(one.placed))}
    caching = [
        one
        for one in plan.assignments
        if one.model in most and isinstance(one.outcome, Placement) and (one.model, one.index) not in kept
    ]
    if not caching:
        return plan
    share = min(PROMPT_CACHE_SHARE, MOST_PROMPT_CACHES / len(caching))
    mib = int(plan.left.host.usable * share) // MIB
    left, assignments = plan.left, []
    for one in plan.assignments:
        if one in caching and isinstance(one.outcome, Placement):
            given = _rounded(mib, most[one.model] or 0)
            needs = {**one.outcome.needs}
            needs[left.host.key] = Bytes(needs.get(left.host.key, 0) + given * MIB)
            setup = replace(one.outcome.setup, cache_ram_mib=given)
            left = left.minus({left.host.key: given * MIB}, one.name)
            assignments.append(replace(one, outcome=replace(one.outcome, setup=setup, needs=needs)))
        else:
            assignments.append(one)
    return replace(plan, assignments=tuple(assignments), left=left)


def _rounded(mib: int, most: int) -> int:
    """Return the MiB that one prompt cache gets: all it may have, or whole steps."""
    return most if most <= mib else mib // PROMPT_CACHE_STEP_MIB * PROMPT_CACHE_STEP_MIB


def takers(plan: FleetPlan, key: str) -> tuple[tuple[str, Bytes], ...]:
    """Return the replicas that a plan puts on a device, with what each holds there."""
    return tuple(
        (one.name, one.outcome.needs[key])
        for one in plan.assignments
        if isinstance(one.outcome, Placement) and key in one.outcome.needs
    )


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

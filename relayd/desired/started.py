"""What becomes of models that are started with the daemon, once all have their places (outcome of a plan)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from relayd.advice.confirm import Confirmation
from relayd.desired.fitted import EngineFitted
from relayd.desired.kept import Kept
from relayd.desired.lines import Line, PlannedLine, by_device, line_spec, planned_spec, residence
from relayd.desired.ondemand import on_demand
from relayd.desired.remembered import RememberedFit, RememberedModel, RememberedReplica
from relayd.planner import Planned
from relayd.planner.fleet import Assignment, FleetPlan
from relayd.planner.placement import Placement, allocation
from relayd.planner.plan import Basis
from relayd.planner.sizes import alike
from relayd.units import show_bytes


def placed_replicas(
    line: PlannedLine,
    fleet: FleetPlan,
    reported: Mapping[str, Confirmation],
    kept: Mapping[str, Kept],
    threads: int,
) -> list[Planned]:
    """Return the replicas of a line that have a place.

    Args:
        line: The line.
        fleet: The plan.
        reported: What the engine has reported for those that are planned now.
        kept: Plans that stay.
        threads: CPU threads of a replica whose line gives none.
    """
    found = []
    for one in assigned(fleet, line.model.name):
        if not isinstance(one.outcome, Placement):
            continue
        stays = kept[one.model].replicas[one.index : one.index + 1] if one.model in kept else ()
        spec = planned_spec(line, one.index, one.outcome, fleet.before)
        spec = replace(spec, threads=stays[0].threads if stays else line.model.threads or threads)
        confirmed = one.name in reported and not reported[one.name].note
        basis = stays[0].basis if stays else Basis.CONFIRMED if confirmed else Basis.PREDICTED
        asked = line_spec(line.model, one.index)
        resides = residence(line.model, one.index)
        needs, weights = by_device(one.outcome.needs), one.outcome.host_weights
        found.append(Planned(spec, needs, basis, asked, residence=resides, weights=weights))
    return found


def further_replicas(line: Line, placed: Sequence[Planned], fleet: FleetPlan) -> Iterator[Planned]:
    """Yield the replicas of a model that follow those with a place: like these, and loaded when it pays.

    Args:
        line: Its line.
        placed: Its replicas that have a place, at least one.
        fleet: The plan.
    """
    have = {one.spec.index for one in placed}
    indices = [index for index in range(line.model.most_replicas) if index not in have]
    sizes = _like(line, placed[0], fleet) if indices else ()
    yield from (on_demand(sizes, line.model, index) for index in indices)


def _like(line: Line, one: Planned, fleet: FleetPlan) -> Sequence[Planned]:
    """Return where a replica can be that runs as another one does."""
    place = next(each.outcome for each in assigned(fleet, line.model.name) if each.name == one.name)
    if not isinstance(line, PlannedLine) or not isinstance(place, Placement):
        return [one]
    return [
        replace(
            one,
            spec=replace(planned_spec(line, 0, size, fleet.before), threads=one.spec.threads),
            needs=by_device(size.needs),
            weights=size.host_weights,
        )
        for size in alike(line.form, fleet.before, line.wanted().aim, place)
    ]


def fitted_replicas(one: EngineFitted, fleet: FleetPlan, threads: int) -> list[Planned]:
    """Return the replicas of a line that the engine fits; they are adopted by what the line asks for."""
    spec = replace(one.spec, threads=one.spec.threads or threads)
    model = one.line.model
    asked = replace(line_spec(model, 0), fit=True, threads=spec.threads)
    return [
        Planned(
            replace(spec, index=found.index, cache_ram_mib=found.outcome.setup.cache_ram_mib),
            by_device(found.outcome.needs),
            one.basis,
            replace(asked, index=found.index),
            residence=residence(model, found.index),
            weights=found.outcome.host_weights,
        )
        for found in assigned(fleet, model.name)
        if isinstance(found.outcome, Placement)
    ]


def remembered_fit(first: Planned, key: str) -> RememberedModel:
    """Return what a restart plans again of a model that its engine fits."""
    decided = RememberedFit(cache_ram_mib=first.spec.cache_ram_mib, threads=first.spec.threads)
    return RememberedModel(model=first.model, key=key, replicas=(), fitted=decided)


def remembered(placed: Sequence[Planned], fleet: FleetPlan, key: str) -> RememberedModel:
    """Return what a restart plans again of a model: its replicas that have a place, at least one."""
    outcomes = {one.name: one.outcome for one in fleet.assignments}
    return RememberedModel(
        model=placed[0].model,
        key=key,
        replicas=tuple(
            RememberedReplica(
                context=one.spec.context,
                slots=one.spec.slots,
                threads=one.spec.threads,
                cache_ram_mib=one.spec.cache_ram_mib,
                placement=allocation(outcome, fleet.before),
                needs=dict(one.needs),
                basis=one.basis,
                reasons=outcome.reasons,
                weights=one.weights,
            )
            for one in placed
            if isinstance(outcome := outcomes[one.name], Placement)
        ),
    )


def assigned(fleet: FleetPlan, model: str) -> list[Assignment]:
    """Return the replicas of a model in a plan."""
    return [one for one in fleet.assignments if one.model == model]


def engine_notes(fitted: Sequence[EngineFitted]) -> list[str]:
    """Return why models are fitted by the engine although no line asks for it."""
    return [
        f"{one.line.model.name} is fitted by the engine: {one.line.reason}"
        for one in fitted
        if not one.line.asked_for
    ]


def over(fleet: FleetPlan) -> list[str]:
    """Return how much what keeps its place takes too much of each device, and who holds it."""
    return [
        f"{show_bytes(room.over)} too much is planned on {room.account} ({room.explain()}): what runs keeps "
        "its place. Smaller plans are shown by relayd plan --fresh, and applied by relayd restart"
        for room in fleet.over
    ]


def doubts(reported: Mapping[str, Confirmation]) -> list[str]:
    """Return why the engine could not be asked, each reason once."""
    return list(dict.fromkeys(f"memory is predicted, {one.note}" for one in reported.values() if one.note))

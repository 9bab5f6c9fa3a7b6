"""Which remembered plans stay as they are, and which models are planned anew around them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from relayd.desired.lines import PlannedLine, by_room
from relayd.desired.remembered import RememberedModel, RememberedReplica
from relayd.errors import RelaydError
from relayd.planner.budget import Budget
from relayd.planner.placement import Placement, setup_of
from relayd.planner.timing import placed


@dataclass(frozen=True, slots=True)
class Kept:
    """The remembered plan of one model that stays.

    Attributes:
        replicas: As they were remembered.
        placements: The same, as the planner sees them.
    """

    replicas: tuple[RememberedReplica, ...]
    placements: tuple[Placement, ...]


def kept_plans(
    lines: Sequence[PlannedLine],
    keys: Mapping[str, str],
    remembered: Mapping[str, RememberedModel],
    running: Collection[str],
    room: Budget,
) -> dict[str, Kept]:
    """Return the remembered plans that stay, by model.

    All stay as long as they are those of the present lines and fit together: those without a place before are
    placed around them. Else those of models that run stay, whatever else there is: a new plan ends nothing
    that serves.

    Args:
        lines: The lines that relayd plans, of models that are started.
        keys: What a plan of each holds for.
        remembered: Earlier plans, by model.
        running: Models of which a replica runs.
        room: What models may take of the machine.
    """
    entries = {name: one for name, one in remembered.items() if one.fitted is None and one.sizes is None}
    found = {}
    for line in lines:
        entry = entries.get(line.model.name)
        if entry and entry.key == keys[line.model.name] and (kept := _kept(line, entry, room)):
            found[line.model.name] = kept
    complete = all(len(found[name].replicas) == count for name, count in _counts(lines) if name in found)
    without = {line.model.name for line in lines} - found.keys()
    if (
        complete
        and found.keys() == entries.keys()
        and all(_had_none(remembered.get(name), keys[name]) for name in without)
    ) and _fit(found.values(), room):
        return found
    return {name: kept for name, kept in found.items() if name in running}


def _had_none(entry: RememberedModel | None, key: str) -> bool:
    """Return whether a model that shall be started had no place beside the others before."""
    return entry is not None and entry.key == key and entry.sizes is not None and not entry.sizes.by_line


def _counts(lines: Sequence[PlannedLine]) -> list[tuple[str, int]]:
    return [(line.model.name, line.model.least_replicas) for line in lines]


def _kept(line: PlannedLine, entry: RememberedModel, room: Budget) -> Kept | None:
    """Return the plan of a line; None where a device of it is gone, or it makes no sense."""
    replicas = entry.replicas[: line.model.least_replicas]
    if line.model.slots and any(one.slots != line.model.slots for one in replicas):
        return None
    try:
        placements = tuple(_placement(line, one, room) for one in replicas)
    except (LookupError, ValueError, RelaydError):
        return None
    devices = {one.key for one in room.rooms}
    return Kept(replicas, placements) if all(one.needs.keys() <= devices for one in placements) else None


def foreign_plans(
    lines: Sequence[PlannedLine],
    keys: Mapping[str, str],
    remembered: Mapping[str, RememberedModel],
    room: Budget,
) -> list[str]:
    """Return a sentence for each remembered plan that holds for its line and that this machine cannot follow.

    Args:
        lines: The lines that relayd plans.
        keys: What a plan of each holds for.
        remembered: Earlier plans, by model.
        room: What models may take of the machine.
    """
    return [
        f"the remembered plan of {name} cannot be followed on this machine: it is planned anew"
        for name, line in ((line.model.name, line) for line in lines)
        if (entry := remembered.get(name)) and entry.key == keys[name] and not _kept(line, entry, room)
    ]


def _placement(line: PlannedLine, one: RememberedReplica, room: Budget) -> Placement:
    setup = setup_of(one.placement, room, context=one.context, slots=one.slots, embeddings=line.embeddings)
    found = placed(line.form, replace(setup, cache_ram_mib=one.cache_ram_mib), room)
    return replace(found, needs=by_room(one.needs), reasons=one.reasons)


def _fit(kept: Collection[Kept], room: Budget) -> bool:
    """Return whether plans fit into the machine together."""
    left = room
    for one in kept:
        for placement in one.placements:
            if left.short_of(placement.needs):
                return False
            left = left.minus(placement.needs)
    return True

"""What a plan takes of each device, beside what other programs hold of it (ledger of a plan)."""

from collections.abc import Mapping
from dataclasses import dataclass

from relayd.planner.budget import Budget
from relayd.planner.fleet import FleetPlan
from relayd.planner.placement import Placement
from relayd.units import Bytes


@dataclass(frozen=True, slots=True)
class DeviceRow:
    """The memory of one device.

    Attributes:
        key: `cuda0`, `host`.
        name: What its maker calls it.
        capacity: What models may take of it, whatever is free at the moment.
        planned: What the replicas that start take of it.
        measured: What those that run hold of it; None where none runs.
        others: What other programs hold now of the memory that models may take.
        free: What is left for models on demand.
        why: How its capacity comes about.
        weights: What of `planned` are weights in RAM: whole, mapped or not; None of another device.
    """

    key: str
    name: str
    capacity: Bytes
    planned: Bytes
    measured: Bytes | None
    others: Bytes
    free: Bytes
    why: str
    weights: Bytes | None = None


def ledger_of(fleet: FleetPlan, now: Budget, measured: Mapping[str, int] | None) -> tuple[DeviceRow, ...]:
    """Return the ledger of a plan.

    Args:
        fleet: The plan.
        now: The machine as other programs leave it at the moment, replicas of relayd not counted.
        measured: What its replicas hold that run, by device; None where none runs.
    """
    free = {room.key: room.free for room in now.rooms}
    placed = [one.outcome for one in fleet.assignments if isinstance(one.outcome, Placement)]
    rows, weights = [], Bytes(sum(one.host_weights for one in placed))
    for before, left in zip(fleet.before.rooms, fleet.left.rooms, strict=True):
        planned = before.free - left.free
        others = max(0, before.usable - free.get(before.key, before.usable))
        rows.append(
            DeviceRow(
                key=before.account,
                name=before.name,
                capacity=before.usable,
                planned=Bytes(planned),
                measured=Bytes(measured.get(before.key, 0)) if measured is not None else None,
                others=Bytes(others),
                free=Bytes(max(0, before.usable - planned - others)),
                why=before.explain(),
                weights=weights if before is fleet.before.host else None,
            )
        )
    return tuple(rows)

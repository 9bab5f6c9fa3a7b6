"""Which configured replicas are not started because they do not fit beside the others, and why."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from relayd.planner.fit import named
from relayd.planner.fleet import Assignment, FleetPlan, takers
from relayd.planner.placement import NoPlace, Placement, Shortage
from relayd.units import Bytes, show_bytes


@dataclass(frozen=True, slots=True)
class Cold:
    """A replica that is configured and is not started.

    Attributes:
        name: The replica, `MODEL#N`.
        model: Its model.
        what: How it would run.
        device: What is too small for it.
        need: What loading it would take of that device.
        have: What the others leave of it.
        takers: Who holds the rest, with what each holds.
        why: How the room that models may take of the device comes about.
    """

    name: str
    model: str
    what: str
    device: str
    need: Bytes
    have: Bytes
    takers: tuple[tuple[str, Bytes], ...] = ()
    why: str = ""

    def __str__(self) -> str:
        """Return need, have and who holds the rest, as a sentence."""
        return (
            f"{self.name} is not started: {self.what} needs {show_bytes(self.need)} of {self.device}, "
            f"{show_bytes(self.have)} can be used ({self.why})"
        )

    def document(self) -> dict[str, Any]:
        """Return it as JSON-ready values; sizes are bytes."""
        return {
            "name": self.name,
            "device": self.device,
            "need_bytes": self.need,
            "have_bytes": self.have,
            "holders": [{"name": name, "bytes": nbytes} for name, nbytes in self.takers],
            "reason": str(self),
        }


def with_needs(fleet: FleetPlan, alone: Mapping[str, Placement | NoPlace]) -> FleetPlan:
    """Return a plan in which what has no place lacks what loading it would take, and not what was tried last.

    Args:
        fleet: The plan.
        alone: How a replica of each model would run beside no other.
    """

    def outcome(one: Assignment) -> Placement | NoPlace:
        would = alone.get(one.model)
        if isinstance(one.outcome, NoPlace) and isinstance(would, Placement):
            setup = would.setup
            what = f"{named(would.form)} with {would.slots} x {would.context} tokens, {setup.type_k} cache"
            if short := fleet.left.short_of(would.needs):
                return NoPlace((*one.outcome.shortages, Shortage(what, *short)))
        return one.outcome

    return replace(fleet, assignments=tuple(replace(one, outcome=outcome(one)) for one in fleet.assignments))


def cold_replicas(fleet: FleetPlan) -> Iterator[Cold]:
    """Yield the replicas of a plan that have no place."""
    for one in fleet.assignments:
        if isinstance(one.outcome, NoPlace) and (short := one.outcome.last):
            yield Cold(
                name=one.name,
                model=one.model,
                what=short.what,
                device=short.room.key,
                need=short.need,
                have=short.room.usable,
                takers=takers(fleet, short.room.key),
                why=short.room.explain(),
            )

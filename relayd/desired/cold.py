"""Which configured replicas are not started with the daemon, and why."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from relayd.desired.lines import by_room
from relayd.planner import Planned
from relayd.planner.fleet import NOTHING, Assignment, FleetPlan, takers
from relayd.planner.placement import NoPlace, Placement, Shortage
from relayd.units import Bytes, show_apart, show_bytes


class ColdCause(StrEnum):
    """Why a replica is not started with the daemon."""

    NO_ROOM = "no room"
    """It does not fit beside the others: it is loaded on demand."""
    ON_DEMAND = "on demand"
    """Its line has it so."""
    GROWTH = "growth"
    """It is started while enough requests wait for its model."""
    TOO_LARGE = "too large"
    """It does not even fit alone, and is never started."""


NOTABLE = frozenset({ColdCause.NO_ROOM, ColdCause.TOO_LARGE})
"""What an operator has not asked for."""


@dataclass(frozen=True, slots=True)
class Cold:
    """A replica that is configured and is not started with the daemon.

    Attributes:
        name: The replica, `MODEL#N`.
        model: Its model.
        cause: Why.
        reason: The same as a sentence, without its subject.
        device: What is too small for it; "" where nothing is.
        need: What loading it would take of that device, at least.
        have: What the others leave of it.
        takers: Who holds the rest, with what each holds.
    """

    name: str
    model: str
    cause: ColdCause
    reason: str
    device: str = ""
    need: Bytes = NOTHING
    have: Bytes = NOTHING
    takers: tuple[tuple[str, Bytes], ...] = ()

    def __str__(self) -> str:
        """Return why it is not started, as a sentence."""
        return f"{self.name} {self.reason}"

    @property
    def brief(self) -> str:
        """The same in a few words, for a table."""
        if self.device:
            holders = "".join(f", {show_bytes(nbytes)} for {name}" for name, nbytes in self.takers)
            need, have = show_apart(self.need, self.have)
            sizes = f"{need} of {self.device}, {have} can be used"
            return f"{self.cause.value}: it needs at least {sizes}{holders}"
        return BRIEF[self.cause]

    def document(self) -> dict[str, Any]:
        """Return it as JSON-ready values; sizes are bytes."""
        found: dict[str, Any] = {"name": self.name, "cause": self.cause.value, "reason": str(self)}
        if self.device:
            found |= {
                "device": self.device,
                "need_bytes": self.need,
                "have_bytes": self.have,
                "holders": [{"name": name, "bytes": nbytes} for name, nbytes in self.takers],
            }
        return found


def with_least(fleet: FleetPlan, least: Mapping[str, Planned]) -> FleetPlan:
    """Return a plan in which what has no place lacks what loading it would take, and not what was tried last.

    Args:
        fleet: The plan.
        least: The smallest size of each model that has no place, by name.
    """

    def outcome(one: Assignment) -> Placement | NoPlace:
        size = least.get(one.model)
        if isinstance(one.outcome, NoPlace) and size and (short := fleet.left.short_of(by_room(size.needs))):
            return NoPlace((*one.outcome.shortages, Shortage(_what(one.outcome, size), *short)))
        return one.outcome

    return replace(fleet, assignments=tuple(replace(one, outcome=outcome(one)) for one in fleet.assignments))


def _what(tried: NoPlace, size: Planned) -> str:
    """Return what people call a size, with its quantization as the planner has named it."""
    form = tried.last.what.partition(" with ")[0] if tried.last else "it"
    cache = size.spec.placement.cache_type_k
    return f"{form} with {size.spec.slots} x {size.spec.context} tokens" + (
        f", {cache} cache" if cache else ""
    )


def cold_replicas(fleet: FleetPlan, planned: Iterable[Planned]) -> Iterator[Cold]:
    """Yield the replicas of a plan that are not started.

    Args:
        fleet: Where those go that are meant to be started.
        planned: All replicas.
    """
    without = {one.name: one.outcome for one in fleet.assignments if isinstance(one.outcome, NoPlace)}
    for one in planned:
        outcome = without.get(one.name)
        if one.refused:
            yield _too_large(one, fleet)
        elif outcome and (short := outcome.last):
            yield _no_room(one, short, fleet)
        elif one.residence.demand:
            cause = ColdCause.GROWTH if one.residence.growth else ColdCause.ON_DEMAND
            yield Cold(one.name, one.model, cause, REASONS[cause])


BRIEF: Mapping[ColdCause, str] = {
    ColdCause.ON_DEMAND: "when a client asks for it",
    ColdCause.GROWTH: "while enough requests wait",
    ColdCause.NO_ROOM: "no room",
    ColdCause.TOO_LARGE: "too large",
}

REASONS: Mapping[ColdCause, str] = {
    ColdCause.ON_DEMAND: "is loaded on demand",
    ColdCause.GROWTH: "is started while enough requests wait",
}


def _too_large(one: Planned, fleet: FleetPlan) -> Cold:
    found = Cold(one.name, one.model, ColdCause.TOO_LARGE, f"cannot be loaded: {one.refused}")
    if short := fleet.before.short_of(by_room(one.needs)):
        room, need = short
        return replace(found, device=room.account, need=need, have=room.usable)
    return found


def _no_room(one: Planned, short: Shortage, fleet: FleetPlan) -> Cold:
    need, have = show_apart(short.need, short.room.usable)
    reason = (
        f"is not started: {short.what} needs {need} of {short.room.account}, "
        f"{have} can be used ({short.room.explain()}). It is loaded on demand"
    )
    return Cold(
        name=one.name,
        model=one.model,
        cause=ColdCause.NO_ROOM,
        reason=reason,
        device=short.room.account,
        need=short.need,
        have=short.room.usable,
        takers=takers(fleet, short.room.key),
    )

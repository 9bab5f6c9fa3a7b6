"""Which configured replicas are not started because they do not fit beside the others, and why."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from relayd.desired.lines import HOST
from relayd.memory.weights import CPU
from relayd.planner.fleet import FleetPlan, takers
from relayd.planner.placement import NoPlace
from relayd.units import Bytes, show_bytes


@dataclass(frozen=True, slots=True)
class Cold:
    """A replica that is configured and is not started.

    Attributes:
        name: The replica, `MODEL#N`.
        model: Its model.
        what: The most modest setup that was tried.
        device: What is too small for it.
        need: What it asks of that device.
        have: What the others leave of it.
        takers: Who holds the rest, with what each holds.
        remedy: What would make it smaller; "" where nothing is known.
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
    remedy: str = ""

    def __str__(self) -> str:
        """Return need, have, who holds the rest and the remedy, as a sentence."""
        more = f". {self.remedy}" if self.remedy else ""
        return (
            f"{self.name} is not started: {self.what} needs {show_bytes(self.need)} of {self.device}, "
            f"{show_bytes(self.have)} can be used ({self.why}){more}"
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


def cold_replicas(fleet: FleetPlan) -> Iterator[Cold]:
    """Yield the replicas of a plan that have no place."""
    for one in fleet.assignments:
        if isinstance(one.outcome, NoPlace) and (short := one.outcome.last):
            yield Cold(
                name=one.name,
                model=one.model,
                what=short.what,
                device=HOST if short.room.key == CPU else short.room.key,
                need=short.need,
                have=short.room.usable,
                takers=takers(fleet, short.room.key),
                why=short.room.explain(),
                remedy=short.remedy,
            )

"""When does a model in memory get another replica, and when is that one surplus (growth)?

Another replica is loaded when the requests that wait would take longer to run than its load takes, no other
one of the model is on its way, and there is room without anything leaving: one beyond `replicas.min`, or one
that was unloaded while others of its model stayed. One beyond `replicas.min` is unloaded when the rest of
them would have had enough slots for all requests of `shrink_after_seconds`.
"""

import math

from relayd.scheduler.floor import Floor
from relayd.scheduler.residency import COMING, Residency, Stage

_LOOK_SECONDS = 1.0
"""How often the wait of a model that can grow is looked at."""

_LOOKS_A_SHRINK = 4
"""How often slots are looked at before a replica is surplus."""


class Growth:
    """Finds replicas that pay, and those that are surplus.

    Args:
        floor: What is known of memory.
    """

    def __init__(self, floor: Floor) -> None:
        self._floor = floor
        self._surplus_since: dict[str, float] = {}

    def __repr__(self) -> str:
        return f"<Growth: {len(self._surplus_since)} may be surplus>"

    def paying(self, now: float) -> list[Residency]:
        """Return the replicas that are to be loaded: at most one of each model."""
        found = dict[str, Residency]()
        for one in self._floor.growing:
            if one.model not in found and self._pays(one, now):
                found[one.model] = one
        return list(found.values())

    def surplus(self, now: float) -> list[Residency]:
        """Return the replicas beyond `replicas.min` that are not needed: at most one of each model."""
        found = dict[str, Residency]()
        for one in self._floor.growing:
            if not self._can_shrink(one):
                self._surplus_since.pop(one.name, None)
            elif not self._is_spare(one):
                self._surplus_since[one.name] = now
            elif self._spare_until(one, now) <= now:
                found.setdefault(one.model, one)
        return list(found.values())

    def due(self, now: float) -> float:
        """Return when to look again (monotonic seconds)."""
        can_grow = any(
            one.may_be_called(now) and self._floor.waiting(one.model) for one in self._floor.growing
        )
        due = now + _LOOK_SECONDS if can_grow else math.inf
        look_seconds = max(self._floor.policy.shrink_after_seconds / _LOOKS_A_SHRINK, 0.01)
        return min(due, now + look_seconds) if self._surplus_since else due

    def _pays(self, one: Residency, now: float) -> bool:
        floor, siblings = self._floor, list(self._floor.residencies.of(one.model))
        working = [other for other in siblings if other.stage is Stage.LOADED]
        if not floor.is_loadable(one) or not one.may_be_called(now) or not working:
            return False
        if any(other.stage in COMING for other in siblings):
            return False
        slots = sum(capacity.slots for capacity in floor.replicas.capacities(one.model))
        wait_seconds = floor.service.wait_seconds(one.model, floor.waiting(one.model), slots)
        return wait_seconds > floor.load_seconds(one) and floor.has_room_beside(working[0])

    def _can_shrink(self, one: Residency) -> bool:
        siblings = [other for other in self._floor.residencies.of(one.model) if other is not one]
        is_alone = not any(other.stage is Stage.LOADED and other.leaving is None for other in siblings)
        is_kept = not one.resident.growth or one.resident.pin or one.leaving is not None
        return one.stage is Stage.LOADED and not is_alone and not is_kept

    def _is_spare(self, one: Residency) -> bool:
        """Return whether the other replicas have slots for all that this one works on."""
        capacity = self._floor.capacity(one)
        others = [other for other in self._floor.replicas.capacities(one.model) if other is not capacity]
        free = sum(other.free for other in others if other.accepting)
        work = capacity.slots - capacity.free if capacity else 0
        return not self._floor.waiting(one.model) and work <= free

    def _spare_until(self, one: Residency, now: float) -> float:
        since = self._surplus_since.setdefault(one.name, now)
        return since + self._floor.policy.shrink_after_seconds

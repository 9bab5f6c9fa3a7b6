"""Which replicas come and go while no request asks for it (idleness, home)?

A replica is unloaded `idle_seconds` after its last request, unless it is pinned or at home. Home replicas are
loaded again when no request has run or waited for `home_after_seconds`; they may take the memory of those
that are idle and not at home.
"""

import math

from relayd.scheduler.floor import Floor
from relayd.scheduler.residency import COMING, Residency, Stage

AT_ONCE_SECONDS = 1.0
"""A replica that may be idle for less is looked at whenever it has nothing to do."""


class IdleReplicas:
    """Finds replicas that have been idle for too long, and those that come home.

    Args:
        floor: What is known of memory.
    """

    def __init__(self, floor: Floor) -> None:
        self._floor = floor
        self._quiet_since = 0.0

    def __repr__(self) -> str:
        return f"<IdleReplicas: quiet since {self._quiet_since:.1f}>"

    def expired(self, now: float) -> list[Residency]:
        """Return the replicas that have been idle for as long as they may."""
        return [one for one in self._floor.present if self._expires_at(one) <= now]

    def returning(self, now: float) -> list[Residency]:
        """Return the home replicas that are to be loaded."""
        if not self._away(now):
            return []
        self._observe(now)
        is_due = self._quiet_since + self._floor.policy.home_after_seconds <= now
        return self._away(now) if is_due else []

    def due(self, now: float) -> float:
        """Return when time alone may unload or bring back a replica (monotonic seconds)."""
        due = min((self._look_at(one, now) for one in self._floor.present), default=math.inf)
        if self._away(now):
            home_at = self._quiet_since + self._floor.policy.home_after_seconds
            due = min(due, home_at if home_at > now else now + self._floor.policy.home_after_seconds)
        failures = (one.failure.retry_at for one in self._floor.homes if one.failure)
        return min(due, *(moment for moment in failures if moment > now), math.inf)

    def _expires_at(self, one: Residency) -> float:
        """Return when a replica has been idle for too long; infinity while it works, or may stay."""
        capacity, policy = self._floor.capacity(one), one.resident
        is_kept = policy.idle_seconds is None or policy.pin or policy.home
        if is_kept or one.stage is not Stage.LOADED or one.leaving is not None or capacity is None:
            return math.inf
        if capacity.running or self._floor.waiting(one.model) or policy.idle_seconds is None:
            return math.inf
        return capacity.used_at + policy.idle_seconds

    def _look_at(self, one: Residency, now: float) -> float:
        """Return when a replica may have been idle for too long; one that works now is idle later."""
        expires_at, seconds = self._expires_at(one), one.resident.idle_seconds
        is_working = expires_at == math.inf and one.stage is Stage.LOADED and one.leaving is None
        if is_working and seconds is not None:
            return now + max(seconds, AT_ONCE_SECONDS)
        return expires_at

    def _away(self, now: float) -> list[Residency]:
        return [one for one in self._floor.homes if one.may_be_called(now) and not one.is_unloaded]

    def _observe(self, now: float) -> None:
        """Take note of the last moment at which a request ran or waited, or a load was under way."""
        for one in self._floor.present:
            capacity = self._floor.capacity(one)
            if (capacity and capacity.running) or one.stage in COMING or self._floor.waiting(one.model):
                self._quiet_since = now
            elif capacity:
                self._quiet_since = max(self._quiet_since, capacity.used_at)

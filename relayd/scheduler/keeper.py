"""What follows from each event for the memory of replicas (the scheduler's part that owns memory)?"""

from collections.abc import Mapping

from relayd.scheduler.capacity import Absence
from relayd.scheduler.events import Forgotten, Gone, Lost, Ready, ReplicaEvent, Unloaded
from relayd.scheduler.eviction import Eviction
from relayd.scheduler.floor import Floor
from relayd.scheduler.loads import Loads
from relayd.scheduler.memory import (
    Holds,
    Load,
    LoadFailed,
    LoadWanted,
    Measured,
    MemoryAsked,
    MemoryEffect,
    MemoryEvent,
    MemoryFreed,
    MemoryPolicy,
    MemoryRoom,
    MemoryTakenBack,
    OthersHold,
    ResidenceSet,
    Resident,
    StartWanted,
    UnloadWanted,
)
from relayd.scheduler.residency import Residency
from relayd.scheduler.swapping import Swapper
from relayd.scheduler.tracking import Tracking


class MemoryKeeper:
    """Takes events in; what they change is decided by `settle`, which follows each of them.

    Args:
        floor: What is known of replicas, their queues, and their memory.
        eviction: Chooses who leaves memory.
    """

    def __init__(self, floor: Floor, eviction: Eviction | None = None) -> None:
        self.floor = floor
        self.loads = Loads(floor)
        self.swapper = Swapper(floor, self.loads, eviction)
        self._tracking = Tracking(floor, self.loads)
        self._failed: list[LoadFailed] = []
        self.growing: frozenset[str] = frozenset()
        """Models that may have several replicas."""

    def __repr__(self) -> str:
        return f"<MemoryKeeper {self.floor!r} {self.loads!r} {self.swapper!r}>"

    def configure(self, policy: MemoryPolicy) -> None:
        """Replace when models give way to each other."""
        self.floor.policy = policy

    def follow(self, event: ReplicaEvent, now: float) -> None:
        """Take note of what a replica has become."""
        match event:
            case Ready(name, model):
                self._tracking.ready(name, model, now)
            case Lost(name):
                self._tracking.lost(name, now)
            case Gone(name):
                self._tracking.gone(name, now)
            case Unloaded(name, model, reason):
                self._tracking.unloaded(name, model, reason, now)
            case Forgotten(name):
                self._tracking.forgotten(name)
                self._note_policies()

    def handle(self, event: MemoryEvent, now: float) -> list[MemoryEffect]:
        """Take a memory event in, and return what it orders by itself."""
        match event:
            case MemoryRoom(rooms):
                self.floor.ledger.limit(rooms)
                self.loads.forget_failures()
            case OthersHold(by_account):
                self.floor.ledger.note_others(by_account)
            case Measured(name, by_account):
                self.floor.ledger.measure(name, by_account)
            case ResidenceSet(name, model, policy):
                self._set_policy(self.floor.residencies.enter(name, model), policy)
            case Holds(name):
                known = self.floor.replicas.get(name)
                self._tracking.held(event, known.model if known else name.rpartition("#")[0])
            case LoadFailed():
                self._failed += [event] if self._tracking.failed(event, now) else []
            case LoadWanted(model):
                return [*self.loads.insist(model, now)]
            case StartWanted(name):
                if one := self.floor.residencies.get(name):
                    self.loads.insist_on(one, now)
            case UnloadWanted(name, force):
                return self.swapper.unload(name, force=force)
            case MemoryAsked() | MemoryTakenBack() | MemoryFreed():
                return [*self._answer(event, now)]
        return []

    def absence(self, event: Unloaded, now: float) -> Absence:
        """Return why a replica is not in memory: for a while after a failed load, the reason of that."""
        one = self.floor.residencies.get(event.replica)
        failure = one.failure if one is not None else None
        if failure is None or failure.retry_at <= now:
            return Absence(event.reason, loadable=True)
        return Absence(failure.reason, loadable=True, has_failed=True)

    def take_failed(self) -> list[LoadFailed]:
        """Return the loads that have failed since the last time."""
        failed, self._failed = [*self._failed, *self.swapper.take_broken()], []
        return failed

    def retry_seconds(self, model: str, now: float) -> float:
        """Return when a model that failed to load may be asked for again; 0 when it has not failed."""
        return self.loads.retry_seconds(model, now)

    def load_seconds(self, model: str) -> float:
        """Return how long a load of a model takes; 0 when it cannot be loaded."""
        return min(map(self.floor.load_seconds, self.floor.residencies.of(model)), default=0.0)

    def resume(self, load_seconds: Mapping[str, float]) -> None:
        """Take up what another daemon has learned."""
        self.floor.times.resume(load_seconds)

    def _answer(self, event: MemoryAsked | MemoryTakenBack | MemoryFreed, now: float) -> list[Load]:
        match event:
            case MemoryAsked():
                self._tracking.asked(event, now)
            case MemoryTakenBack(name):
                self._tracking.taken_back(name)
            case MemoryFreed():
                return self._tracking.freed(event)
        return []

    def _set_policy(self, one: Residency, policy: Resident) -> None:
        before, one.policy = one.resident, policy
        has_siblings = len(self.floor.residencies.of(one.model)) > 1
        if has_siblings or before.home or before.growth or policy.home or policy.growth:
            self._note_policies()

    def _note_policies(self) -> None:
        self.floor.sort()
        self.growing = frozenset(one.model for one in self.floor.growing)

"""What does each report of the supervisor make of a replica's place in memory?"""

from relayd.scheduler.floor import Floor
from relayd.scheduler.loads import Loads
from relayd.scheduler.memory import Holds, Load, LoadFailed, MemoryAsked, MemoryFreed
from relayd.scheduler.residency import COMING, Residency, Stage


class Tracking:
    """Keeps stages and ledger as the supervisor reports them.

    Args:
        floor: What is known of memory.
        loads: Takes note of loads that end.
    """

    def __init__(self, floor: Floor, loads: Loads) -> None:
        self._floor = floor
        self._loads = loads

    def __repr__(self) -> str:
        return f"<Tracking {self._floor.residencies!r}>"

    def ready(self, name: str, model: str, now: float) -> None:
        """Take note that a replica takes work; one that is to leave does not."""
        one = self._floor.residencies.enter(name, model)
        if one.stage is not Stage.LOADED:
            self._loads.succeed(one, now)
        if capacity := self._floor.capacity(one):
            capacity.used_at = max(capacity.used_at, now)
            if one.leaving is not None:
                capacity.give_way(0)

    def lost(self, name: str, now: float) -> None:
        """Take note that the process of a replica has ended."""
        one = self._floor.residencies.get(name)
        if one is not None and one.stage in (Stage.LOADED, Stage.ADOPTED, Stage.HELD):
            self._floor.note_demand(one, now)
            self._floor.end(one)

    def gone(self, name: str, now: float) -> None:
        """Take note that a replica has no process, and gets none by itself."""
        if one := self._floor.residencies.get(name):
            self._floor.note_demand(one, now)
            one.is_called_back = one.is_insisted = False
            self._floor.end(one)

    def unloaded(self, name: str, model: str, reason: str, now: float) -> None:
        """Take note that a replica has no process; an answer like this to a load is a failure of it."""
        one = self._floor.residencies.enter(name, model)
        self._floor.note_demand(one, now)
        one.is_called_back = one.is_insisted = False
        if one.stage in COMING and one.leaving is None:
            self._loads.fail(one, LoadFailed(name, reason), now)
        else:
            self._floor.end(one)

    def forgotten(self, name: str) -> None:
        """Forget a replica; what it holds counts until it is freed."""
        one = self._floor.residencies.remove(name)
        if one is not None and not any(self._floor.residencies.of(one.model)):
            self._floor.demand.forget(one.model)
            self._floor.times.forget(one.model)

    def asked(self, event: MemoryAsked, now: float) -> None:
        """Take note that a replica waits for memory."""
        one = self._floor.residencies.enter(event.replica, event.model)
        if one.stage not in (Stage.CALLED, Stage.ASKING):
            self._loads.start(one, now)
        one.leaving, one.is_evicted = None, False
        one.want.sizes, one.want.granted_at = event.sizes or ({},), None
        one.stage = Stage.ASKING

    def taken_back(self, name: str) -> None:
        """Take note that a replica does not start with the memory that it asked for, or was just granted."""
        one = self._floor.residencies.get(name)
        if one is not None and one.stage in (Stage.ASKING, Stage.LOADING):
            self._floor.ledger.release(name)
            one.stage = Stage.CALLED

    def held(self, event: Holds, model: str) -> None:
        """Count a replica that is in memory already."""
        self._floor.ledger.enter(event.replica, event.by_account)
        one = self._floor.residencies.enter(event.replica, model)
        if one.stage is not Stage.LOADED:
            one.stand(Stage.HELD if event.is_anothers else Stage.ADOPTED)

    def freed(self, event: MemoryFreed) -> list[Load]:
        """Take note that the memory of a replica is free, and order the load that waited for it."""
        self._floor.ledger.release(event.replica)
        one = self._floor.residencies.get(event.replica)
        if one is None:
            return []
        if one.stage is Stage.LOADING:
            one.stage = Stage.CALLED  # tried again, or to be reported as failed or unloaded
        elif one.stage in (Stage.ENDING, Stage.LOADED, Stage.ADOPTED, Stage.HELD):
            one.stand(Stage.ABSENT)
        known = self._floor.replicas.get(one.name)
        return [self._loads.order(one, known)] if one.is_called_back and known else []

    def failed(self, event: LoadFailed, now: float) -> Residency | None:
        """Take note that a load failed, and return whose; None when it was being given up anyway."""
        one = self._floor.residencies.get(event.replica)
        if one is None or one.leaving is not None:
            return None
        self._loads.fail(one, event, now)
        return one

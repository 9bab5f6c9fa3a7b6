"""What is in memory, what waits for it, and what came and went (for status and metrics)?"""

from collections.abc import Mapping

from relayd.scheduler.keeper import MemoryKeeper
from relayd.scheduler.ledger import lanes
from relayd.scheduler.memory import EvictionCause
from relayd.scheduler.residency import COMING, Residency, Stage
from relayd.scheduler.views import AccountRow, LoadDone, MemoryWaiter, ResidentRow, TicketProgress


class MemoryView:
    """Reads what the memory of the scheduler knows; it changes nothing.

    Args:
        keeper: Owns memory.
    """

    def __init__(self, keeper: MemoryKeeper) -> None:
        self._keeper = keeper
        self._floor = keeper.floor

    def __repr__(self) -> str:
        return f"<MemoryView of {self._floor!r}>"

    def ledger(self) -> list[AccountRow]:
        """Return each account that has limits."""
        return self._floor.ledger.rows()

    def residents(self) -> list[ResidentRow]:
        """Return the replicas that are in memory, or whose memory is not free yet."""
        return [self._resident(one) for one in self._floor.residencies if self._is_there(one)]

    def waiters(self) -> list[MemoryWaiter]:
        """Return the replicas that wait for memory, the oldest first."""
        swapper = self._keeper.swapper
        waits_for = swapper.decision.waits_for
        asking = [one for one in self._floor.residencies if one.stage is Stage.ASKING]
        asking.sort(key=lambda one: (one.want.at, one.name))
        return [
            MemoryWaiter(
                one.name,
                one.model,
                one.want.at,
                one.want.sizes[-1],
                waits_for.get(one.name, ()),
                swapper.is_wanted(one),
            )
            for one in asking
        ]

    def last_loads(self) -> list[LoadDone]:
        """Return the last loads, the newest first."""
        return self._keeper.loads.last()

    def evictions(self) -> Mapping[EvictionCause, int]:
        """Return how often a replica was unloaded, or its load given up, for each cause."""
        return dict(self._floor.evicted)

    @property
    def load_seconds(self) -> dict[str, float]:
        """How long a load of each model takes, as far as that was learned."""
        return self._floor.times.known()

    def progress(self, ticket_id: int, model: str, now: float) -> TicketProgress | None:
        """Return how far a ticket that waits has come; None when it does not wait."""
        queue = self._floor.queues.get(model)
        position = queue.position(ticket_id) if queue else 0
        if not position:
            return None
        capacities = list(self._floor.replicas.capacities(model))
        coming = [one for one in self._floor.residencies.of(model) if one.stage in COMING]
        slots = max(1, sum(capacity.slots for capacity in capacities))
        queue_seconds = self._floor.service.wait_seconds(model, position - 1, slots)
        load_seconds = 0.0 if capacities else min((self._left(one, now) for one in coming), default=0.0)
        is_loading = any(one.stage is Stage.LOADING for one in coming)
        return TicketProgress(position, bool(capacities), is_loading, load_seconds + queue_seconds)

    def _left(self, one: Residency, now: float) -> float:
        """Return what is left of a load, with the wait for its memory."""
        granted_at = one.want.granted_at
        gone = now - granted_at if one.stage is Stage.LOADING and granted_at is not None else 0.0
        left = max(0.0, self._floor.load_seconds(one) - gone)
        return left + self._memory_seconds(one, now) if one.stage is Stage.ASKING else left

    def _memory_seconds(self, one: Residency, now: float) -> float:
        """Return how long the memory of a load is waited for: for those before it, and for who makes room."""
        lanes_here = lanes(one.want.sizes[-1])
        before = [
            self._floor.load_seconds(other)
            for other in self._floor.present
            if other.stage is Stage.ASKING and (other.want.at, other.name) < (one.want.at, one.name)
            if lanes(other.want.sizes[-1]) & lanes_here
        ]
        waits_for = self._keeper.swapper.decision.waits_for.get(one.name, ())
        return sum(before) + max((self._frees_in(name, now) for name in waits_for), default=0.0)

    def _frees_in(self, name: str, now: float) -> float:
        """Return how long a replica still loads, or works before it makes room."""
        one = self._floor.residencies.get(name)
        capacity = self._floor.capacity(one) if one else None
        if one is None or (capacity is not None and not capacity.running):
            return 0.0
        if capacity is None:
            return self._left(one, now) if one.stage in (Stage.LOADING, Stage.ADOPTED) else 0.0
        service_seconds = self._floor.service.seconds(one.model)
        return max(service_seconds, self._keeper.swapper.turn_ends_at(one) - now)

    def _is_there(self, one: Residency) -> bool:
        return one.stage in (
            Stage.LOADING,
            Stage.HELD,
            Stage.LOADED,
        ) or self._floor.ledger.holds(one.name)

    def _resident(self, one: Residency) -> ResidentRow:
        capacity, turn = self._floor.capacity(one), one.turn
        return ResidentRow(
            one.name,
            one.model,
            self._floor.ledger.held(one.name),
            loading_since=one.want.granted_at if one.stage is Stage.LOADING else None,
            used_at=capacity.used_at if capacity else one.loaded_at,
            leaving=one.leaving or (EvictionCause.MEMORY if turn else None),
            leaves_for=turn.asker if turn else "",
            pin=one.resident.pin,
        )

"""What do the rules of memory decide from (the state that they share)?"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from relayd.scheduler.capacity import Capacity
from relayd.scheduler.history import DemandRates, LoadTimes
from relayd.scheduler.ledger import Ledger, fits
from relayd.scheduler.memory import EvictionCause, MemoryPolicy
from relayd.scheduler.queue import Queue
from relayd.scheduler.replicas import KnownReplicas
from relayd.scheduler.residency import Residencies, Residency, Stage
from relayd.scheduler.service import ServiceTimes
from relayd.scheduler.strategies import Strategies

_SPARE_SECONDS = 300.0
"""How long no request may have wanted a model before a batch for another one may have its memory."""


@dataclass(slots=True, eq=False, repr=False)
class Floor:
    """Replicas and their queues as the scheduler keeps them, and what is known of their memory.

    Attributes:
        replicas: Who has slots.
        queues: Model → the tickets that wait for it.
        service: How long requests take.
        policy: When models give way to each other.
        ledger: Bytes.
        residencies: Where each replica stands.
        demand: How often models are wanted.
        times: How long loads take.
        evicted: How often a replica was unloaded, for each cause.
        strategies: Know what replicas have read.
        present: Replicas that are in memory or on their way: a disk may hold hundreds that are not.
        homes: Replicas that come back when the machine is idle.
        growing: Replicas of models that may have several: any of them may come back beside the others.
    """

    replicas: KnownReplicas
    queues: Mapping[str, Queue]
    service: ServiceTimes
    policy: MemoryPolicy
    ledger: Ledger = field(default_factory=Ledger)
    residencies: Residencies = field(default_factory=Residencies)
    demand: DemandRates = field(default_factory=DemandRates)
    times: LoadTimes = field(default_factory=LoadTimes)
    evicted: dict[EvictionCause, int] = field(default_factory=lambda: dict.fromkeys(EvictionCause, 0))
    strategies: Strategies = field(default_factory=Strategies)

    present: Sequence[Residency] = ()
    homes: Sequence[Residency] = ()
    growing: Sequence[Residency] = ()

    def __repr__(self) -> str:
        return f"<Floor {self.residencies!r} {self.ledger!r}>"

    def capacity(self, one: Residency) -> Capacity | None:
        """Return the slots of a replica; None while it has none."""
        known = self.replicas.get(one.name)
        return known.capacity if known else None

    def look(self) -> None:
        """Find the replicas that are present."""
        self.present = [one for one in self.residencies if one.stage is not Stage.ABSENT]

    def sort(self) -> None:
        """Find the replicas that come by themselves, after policies have changed."""
        self.growing = [one for one in self.residencies if one.resident.growth or self._has_siblings(one)]
        self.homes = [one for one in self.residencies if one.resident.home and not one.resident.growth]

    def is_loadable(self, one: Residency) -> bool:
        """Return whether a replica is absent, and neither stopped nor given up."""
        known = self.replicas.get(one.name)
        return known is not None and known.absence is not None and known.absence.loadable

    def is_expected(self, one: Residency) -> bool:
        """Return whether a replica may come without an operator: neither stopped nor given up."""
        known = self.replicas.get(one.name)
        return known is not None and (known.absence is None or known.absence.loadable)

    def is_idle(self, one: Residency) -> bool:
        """Return whether a replica works on nothing."""
        capacity = self.capacity(one)
        return capacity is None or not capacity.running

    def waiting(self, model: str) -> int:
        """Return how many tickets wait for a model."""
        return len(self.queues.get(model, ()))

    def foreground(self, model: str) -> int:
        """Return how many of them are other than lines of batches."""
        queue = self.queues.get(model)
        return queue.foreground if queue is not None else 0

    def works_on_lines(self, one: Residency) -> bool:
        """Return whether a replica works on nothing but lines of batches, or on nothing."""
        capacity = self.capacity(one)
        return capacity is None or (capacity.is_spare and not self.foreground(one.model))

    def spare_at(self, one: Residency) -> float:
        """Return when lines of batches may have the memory of a replica (monotonic seconds), or infinity."""
        capacity = self.capacity(one)
        if capacity is None or capacity.running or self.waiting(one.model):
            return math.inf
        if one.want.is_for_lines:
            return capacity.wanted_at + _SPARE_SECONDS
        return max(capacity.wanted_at, one.loaded_at) + _SPARE_SECONDS

    def deadline(self, model: str) -> float:
        """Return when the oldest request for a model stops waiting (monotonic seconds), or infinity."""
        queue = self.queues.get(model)
        oldest = next(queue.urgent(), None) if queue is not None else None
        deadline = oldest.ticket.ask.deadline if oldest else None
        return math.inf if deadline is None else deadline

    def load_seconds(self, one: Residency) -> float:
        """Return how long a load of a replica takes."""
        return self.times.seconds(one.model, one.resident.reload_seconds)

    def warm_seconds(self, one: Residency) -> float:
        """Return how long it takes to read again what a replica has read; 0 where that is not known."""
        capacity = self.capacity(one)
        return self.strategies.warm_seconds(one.model, capacity) if capacity else 0.0

    def old_at(self, one: Residency) -> float:
        """Return when a replica has been in memory for as long as it is protected (monotonic seconds)."""
        return one.loaded_at + self.policy.resident_seconds(self.load_seconds(one))

    def has_room_beside(self, one: Residency) -> bool:
        """Return whether as much as a replica holds is free."""
        free = self.ledger.free()
        return free is None or fits(self.ledger.held(one.name), free)

    def note_demand(self, one: Residency, now: float) -> None:
        """Add what a replica was given since the last time to what is known of its model's demand."""
        if capacity := self.capacity(one):
            self.demand.note(one.model, capacity.served - one.noted, now)
            one.noted = capacity.served

    def end(self, one: Residency) -> None:
        """Take note that a replica has no process, though its memory may not be free yet."""
        one.stand(Stage.ENDING if self.ledger.holds(one.name) else Stage.ABSENT)

    def _has_siblings(self, one: Residency) -> bool:
        return len(self.residencies.of(one.model)) > 1

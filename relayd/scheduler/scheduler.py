"""Which ticket runs on which replica now?

The whole policy, in order, for a request that arrives:

1. A replica of its model is ready, loading or about to restart: the request waits in line.
2. None is, but one is only not loaded: its load is ordered, here before on another machine, and the request
   waits in line for it. Where it has no policy for memory, or its last load failed a short while ago, the
   request is refused with a reason.
3. None will come without an operator: it is refused with the reason.
4. The first in line runs as soon as a replica has slots for it that it does not avoid; the model's
   strategy chooses among several (`balance`, `affinity`). Those behind it wait, so a wide request cannot
   starve, but for replicas that it avoids: a request that waits for time alone holds no other back. Only
   one that is held for a busy replica, which has read its prompt before, is passed for a while.
5. First in line is who is first by class, then by fair shares among flows, then by arrival (`order`). A
   line longer than `depth` refuses the newest of whom most wait; a deadline that passes refuses whose it is.
6. After a failed attempt a request takes its old place in line and avoids that replica for a while.
7. Two requests whose replica hung up run on no replica together: the next crash shows which one it was.
8. A replica that owes an answer's first byte for too long is chosen when no other is free, and a stream that
   waits there behind an older request is moved once: the oldest may be what holds the replica.
9. A replica that fails one request after the other is left alone, then tried with one (`breaker`).
10. Slots are free when the replica is done with them, not when a client has left.
11. A request may give its slots to a more urgent one: it takes its old place in line; no attempt counts.
12. A line of a batch runs in a slot that is free otherwise, and gives it back to other requests (`yielding`).
13. Who is in memory, and who gives way to whom, is a policy of its own: see `swapping`.
14. What costs less goes first: a replica of ours, then capacity elsewhere by its cost (`costs`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from relayd.endpoint import Endpoint
from relayd.scheduler.balance import Strategy
from relayd.scheduler.capacity import Absence, ReplicaSlots
from relayd.scheduler.events import (
    Abandoned,
    Answering,
    Arrived,
    AttemptFailed,
    Cleared,
    Dormant,
    Draining,
    Effect,
    Event,
    Expected,
    Finished,
    Forgotten,
    GivenBack,
    Gone,
    Idle,
    Inherited,
    KeptSlots,
    Lost,
    Overdue,
    Paused,
    Ready,
    ReplicaEvent,
    SlotEvent,
    SlotsRestored,
    Tick,
    Ticket,
    Unloaded,
)
from relayd.scheduler.floor import Floor
from relayd.scheduler.keeper import MemoryKeeper
from relayd.scheduler.memory import MemoryPolicy
from relayd.scheduler.memoryview import MemoryView
from relayd.scheduler.queue import Queue
from relayd.scheduler.replicas import KnownReplicas
from relayd.scheduler.running import RunningTickets
from relayd.scheduler.service import ServiceTimes
from relayd.scheduler.strategies import Strategies
from relayd.scheduler.tickets import TicketLimits, Tickets

_NONE: Mapping[str, float] = {}


@dataclass(frozen=True, slots=True)
class ModelLoad:
    """How busy a model is: tickets waiting, slots in use, slots there are."""

    waiting: int
    running: int
    slots: int


@dataclass(frozen=True, slots=True)
class Vacancy:
    """The room of one replica: slots there are, slots that a request may have now, and slots in use."""

    model: str
    endpoint: Endpoint
    slots: int
    free: int
    taken: int


class Scheduler:
    """A state machine that owns every decision of where and when a request runs.

    Tickets of one model, class and flow run first in, first out: a ticket that needs more slots
    than are free holds back those behind it, so it cannot starve. No replica ever holds
    more work than it has slots, because what waits inside llama-server cannot be moved.

    Args:
        depth: Tickets that may wait for one model.
        attempts: Dispatches a ticket gets before it is refused.
        avoid_seconds: How long a ticket stays away from where an attempt failed, unless a
            new incarnation is there. A single replica is tried again after it.
        strategy: Chooses among replicas that a ticket fits on, where `configure` sets no other.
        memory: When models give way to each other.
    """

    def __init__(
        self,
        *,
        depth: int,
        attempts: int = 3,
        avoid_seconds: float = 1.0,
        strategy: Strategy | None = None,
        memory: MemoryPolicy | None = None,
    ) -> None:
        self._replicas = KnownReplicas()
        self._strategies = Strategies(strategy)
        self._running = RunningTickets(self._replicas, self._strategies)
        self._queues = dict[str, Queue]()
        self._service = ServiceTimes()
        self._restored: set[str] = set()  # replicas that are about to be ready
        floor = Floor(
            self._replicas,
            self._queues,
            self._service,
            memory or MemoryPolicy(),
            strategies=self._strategies,
        )
        self._keeper = MemoryKeeper(floor)
        limits = TicketLimits(depth, attempts, avoid_seconds)
        self._tickets = Tickets(limits, self._running, self._queues, self._keeper)
        self.place_now = self._tickets.place_now
        """Lets a request run at once: what `Arrived` does where a slot is free, without an event."""
        self.finish = self._tickets.finish
        """Does what `Finished` does."""
        self.memory = MemoryView(self._keeper)

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Take one event in and return what shall be done, in order.

        Args:
            event: What happened.
            now: Monotonic seconds.
        """
        match event:
            case Arrived(ticket):
                return self._tickets.arrive(ticket, now)
            case Finished(ticket_id, exchange):
                return self._tickets.finish(ticket_id, exchange, now)
            case Overdue(ticket_id):
                return self._running.note_overdue(ticket_id, self._tickets.queue_of(ticket_id))
            case Answering(ticket_id):
                self._running.note_answering(ticket_id)
                return []
            case AttemptFailed():
                return self._tickets.retry(event, now)
            case GivenBack() | KeptSlots():
                return self._tickets.give_back(event, now)
            case Cleared(ticket_id):
                return self._tickets.clear(ticket_id, now)
            case Tick():
                return self._tickets.tick(now)
            case Inherited():
                return self._tickets.inherit(event, now)
            case Abandoned(ticket_id, held_id):
                return self._tickets.hold(ticket_id, held_id, now)
        if isinstance(event, ReplicaEvent | SlotEvent):
            return self._tickets.settle(self._change(event, now), now)
        return self._tickets.settle([*self._keeper.handle(event, now)], now)

    def _note_slots(self, event: SlotEvent) -> list[Effect]:
        """Remember which prompts of a replica are on disk, or that it has read them back."""
        if isinstance(event, SlotsRestored):
            self._restored.add(event.replica)
        elif (known := self._replicas.get(event.replica)) and known.capacity is not None:
            self._strategies.keep_prompts(known.model, known.capacity)
        return []

    def _change(self, event: ReplicaEvent | SlotEvent, now: float) -> list[Effect]:
        """Follow what became of a replica, and decide anew for what waits for its model."""
        if isinstance(event, SlotEvent):
            return self._note_slots(event)
        known = self._replicas.get(event.replica)
        effects = self._follow(event, now)
        if known is not None:
            self._running.keep(known.model)
            effects += self._tickets.place(known.model, now)
        return effects

    def _follow(self, event: ReplicaEvent, now: float) -> list[Effect]:
        match event:
            case Ready():
                self._welcome(event, now)
                return self._tickets.place(event.model, now)
            case Expected(name, model, cost):
                self._replicas.put(name, ReplicaSlots(model, cost=cost))
                return []
            case Draining(name):
                return self._drain(name, now)
            case Paused(name):
                self._replicas.pause(name)
                return []
        known = self._replicas.get(event.replica)
        if not isinstance(event, Dormant) and (known is None or not known.cost):
            self._keeper.follow(event, now)  # while the slots are still known
        match event:
            case Lost(name):
                self._replicas.lose(name)
                return []
            case Gone(name, reason):
                given_up = self._replicas.give_up(name, reason)
                return [] if given_up is None else self._tickets.settle_absent(given_up, now)
            case Unloaded(name, model):
                self._replicas.put(name, ReplicaSlots(model, absence=self._keeper.absence(event, now)))
                return self._tickets.settle_absent(model, now)
            case Dormant(name, model, reason, cost):
                absence = Absence(reason, loadable=True, is_elsewhere=True)
                self._replicas.put(name, ReplicaSlots(model, absence=absence, cost=cost))
                return self._tickets.settle_absent(model, now)
            case Forgotten(name):
                return self._forget(name, now)

    def _welcome(self, event: Ready, now: float) -> None:
        """Give a replica its slots, and what it has read back into them."""
        capacity = self._replicas.welcome(event)
        if event.replica in self._restored:
            self._restored.discard(event.replica)
            self._strategies.restore(event.model, capacity)
        if not event.cost:  # what costs something takes no memory here
            self._keeper.follow(event, now)

    def _drain(self, name: str, now: float) -> list[Effect]:
        capacity = self._replicas.pause(name)
        if capacity is None or not capacity.running:
            return [Idle(name)]
        return [*self._tickets.yielding.leave(capacity, now)]

    def _forget(self, name: str, now: float) -> list[Effect]:
        """Remove a replica; with the last one of a model, what was learned of the model."""
        replica = self._replicas.remove(name)
        if replica is None or self._replicas.has_any(replica.model):
            return []
        effects = self._tickets.refuse_waiting(replica.model, now)
        self._queues.pop(replica.model, None)
        self._service.forget(replica.model)
        return effects

    def configure(
        self,
        *,
        depth: int,
        attempts: int,
        avoid_seconds: float,
        memory: MemoryPolicy | None = None,
        flow_depth: int | None = None,
        strategies: Mapping[str, str] | None = None,
        max_hold_seconds: float = 20.0,
    ) -> None:
        """Take new limits and strategies; tickets that wait already are not refused by them.

        Args:
            depth: Tickets that may wait for one model.
            attempts: Dispatches a ticket gets before it is refused.
            avoid_seconds: How long a ticket stays away from where an attempt failed.
            memory: When models give way to each other.
            flow_depth: Tickets of one flow that may wait for one model; None limits them by `depth` alone.
            strategies: Model → name of the strategy that chooses its replica (`strategies`).
            max_hold_seconds: How long a ticket may be held for a busy replica while others pass it.
        """
        self._tickets.limits = TicketLimits(depth, attempts, avoid_seconds, flow_depth)
        if strategies is not None:
            self._strategies.configure(strategies, max_hold_seconds)
        if memory is not None:
            self._keeper.configure(memory)

    def spread(self, model: str, strategy: str) -> None:
        """Have a strategy choose for a model that `configure` names none for."""
        self._strategies.spread(model, strategy)

    @property
    def tick_due(self) -> float:
        """When a `Tick` is due at the earliest (monotonic seconds); infinite while no ticket waits.

        A lower bound, exact after each `Tick`: keeping it exact would cost a search of the
        queue for every event.
        """
        return self._tickets.tick_due

    def load(self, model: str) -> ModelLoad:
        """Return how busy a model is."""
        capacities = list(self._replicas.capacities(model))
        return ModelLoad(
            waiting=len(self._queues.get(model, ())),
            running=sum(sum(capacity.running.values()) for capacity in capacities),
            slots=sum(capacity.slots for capacity in capacities),
        )

    def serving(self, model: str) -> tuple[Endpoint, ...]:
        """Return where a model takes requests now."""
        return tuple(one.endpoint for one in self._replicas.capacities(model) if one.accepting)

    def vacancy(self, replica: str) -> Vacancy | None:
        """Return how much room a replica has; None where it has no incarnation that was ready."""
        known = self._replicas.get(replica)
        if known is None or known.capacity is None:
            return None
        capacity = known.capacity
        free = max(0, capacity.free) if capacity.accepting else 0
        taken = sum(capacity.running.values())
        return Vacancy(known.model, capacity.endpoint, capacity.slots, free, taken)

    def running_on(self, replica: str) -> int:
        """Return how many requests a replica is working on."""
        known = self._replicas.get(replica)
        return len(known.capacity.running) if known and known.capacity else 0

    def running(self) -> list[Inherited]:
        """Return the requests that run, as a successor inherits them."""
        return [
            Inherited(one.waiting.ticket, one.capacity.endpoint, one.capacity.slots) for one in self._running
        ]

    def waiting(self) -> list[Ticket]:
        """Return the tickets that wait, the longest first."""
        tickets = (entry.ticket for queue in self._queues.values() for entry in queue)
        return sorted(tickets, key=lambda ticket: ticket.id)

    @property
    def service_seconds(self) -> dict[str, float]:
        """How long a request of each model takes, as far as that was learnt."""
        return self._service.known()

    def resume(self, service_seconds: Mapping[str, float], load_seconds: Mapping[str, float] = _NONE) -> None:
        """Take up what another daemon has learnt of models of which nothing is known here."""
        self._service.resume(service_seconds)
        self._keeper.resume(load_seconds)

    def __repr__(self) -> str:
        waiting = sum(map(len, self._queues.values()))
        return f"<Scheduler waiting={waiting} running={len(self._running)} replicas={len(self._replicas)}>"

"""Which ticket runs on which replica now?

The whole policy, in order, for a request that arrives:

1. A replica of its model is ready, loading or about to restart: the request waits in line.
2. None is, but one is only not loaded: it is refused with the reason. (Load on demand starts here.)
3. None will come without an operator: it is refused with the reason.
4. The first in line runs as soon as a replica has slots for it that it does not avoid;
   `Balance` chooses among several. Those behind it wait, so a wide request cannot starve, but for
   replicas that it avoids: a request that waits for time alone holds no other back.
5. A line longer than `depth` refuses its newest; a deadline that passes refuses whose it is.
6. After a failed attempt a request takes its old place in line and avoids that replica for a while.
7. Two requests whose replica hung up run on no replica together: the next crash shows which one it was.
8. A replica that owes an answer's first byte for too long is chosen when no other is free, and a stream that
   waits there behind an older request is moved once: the oldest may be what holds the replica.
9. Slots are free when the replica is done with them, not when a client has left.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from relayd.endpoint import Endpoint
from relayd.scheduler.balance import Balance, LeastBusy
from relayd.scheduler.capacity import Absence, ReplicaSlots
from relayd.scheduler.events import (
    Abandoned,
    Answering,
    Arrived,
    AttemptFailed,
    Cleared,
    Draining,
    Effect,
    Event,
    Expected,
    Finished,
    Forgotten,
    Gone,
    Idle,
    Inherited,
    Lost,
    Overdue,
    Ready,
    Refusal,
    Refuse,
    ReplicaEvent,
    Tick,
    Ticket,
    Unloaded,
)
from relayd.scheduler.exchange import Exchange
from relayd.scheduler.memory import Grant, MemoryAsked, MemoryEvent
from relayd.scheduler.queue import Queue, Waiting
from relayd.scheduler.replicas import KnownReplicas
from relayd.scheduler.running import RunningTickets
from relayd.scheduler.service import ServiceTimes

_OPERATOR_SECONDS = 30.0
"""When to ask again for a model that only an operator brings back."""


@dataclass(frozen=True, slots=True)
class ModelLoad:
    """How busy a model is: tickets waiting, slots in use, slots there are."""

    waiting: int
    running: int
    slots: int


class Scheduler:
    """A state machine that owns every decision of where and when a request runs.

    Tickets of one model run strictly first in, first out: a ticket that needs more slots
    than are free holds back those behind it, so it cannot starve. No replica ever holds
    more work than it has slots, because what waits inside llama-server cannot be moved.

    Args:
        depth: Tickets that may wait for one model.
        attempts: Dispatches a ticket gets before it is refused.
        avoid_seconds: How long a ticket stays away from where an attempt failed, unless a
            new incarnation is there. A single replica is tried again after it.
        balance: Chooses among replicas that a ticket fits on.
    """

    def __init__(
        self,
        *,
        depth: int,
        attempts: int = 3,
        avoid_seconds: float = 1.0,
        balance: Balance | None = None,
    ) -> None:
        self._depth = depth
        self._attempts = attempts
        self._avoid_seconds = avoid_seconds
        self._replicas = KnownReplicas()
        self._running = RunningTickets(self._replicas, balance or LeastBusy())
        self._queues: dict[str, Queue] = {}
        self._models: dict[int, str] = {}
        self._service = ServiceTimes()
        self._tick_due = math.inf

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Take one event in and return what shall be done, in order.

        Args:
            event: What happened.
            now: Monotonic seconds.
        """
        match event:
            case Arrived(ticket):
                return self._arrive(ticket, now)
            case Finished(ticket_id, exchange):
                return self._finish(ticket_id, exchange, now)
            case Overdue(ticket_id):
                return self._running.note_overdue(
                    ticket_id, self._queues.get(self._models.get(ticket_id, ""))
                )
            case Answering(ticket_id):
                self._running.note_answering(ticket_id)
                return []
            case AttemptFailed():
                return self._retry(event, now)
            case Cleared(ticket_id):
                return self._clear(ticket_id, now)
            case Tick():
                return self._tick(now)
            case Inherited():
                return self._inherit(event, now)
            case Abandoned(ticket_id, held_id):
                return self._hold(ticket_id, held_id, now)
        return self._follow(event, now)

    def _follow(self, event: ReplicaEvent | MemoryEvent, now: float) -> list[Effect]:
        match event:
            case Ready():
                self._replicas.welcome(event)
                return self._place(event.model, now)
            case Expected(name, model):
                self._replicas.put(name, ReplicaSlots(model))
                return []
            case Draining(name):
                return self._drain(name)
            case Lost(name):
                self._replicas.lose(name)
                return []
            case Gone(name, reason):
                given_up = self._replicas.give_up(name, reason)
                return [] if given_up is None else self._settle_absent(given_up, now)
            case Unloaded(name, model, reason):
                self._replicas.put(name, ReplicaSlots(model, absence=Absence(reason, loadable=True)))
                return self._settle_absent(model, now)
            case Forgotten(name):
                return self._forget(name)
        return self._count(event)

    def _count(self, event: MemoryEvent) -> list[Effect]:
        match event:
            case MemoryAsked(name):
                return [Grant(name, 0)]
        return []

    def configure(self, *, depth: int, attempts: int, avoid_seconds: float) -> None:
        """Take new limits; tickets that wait already are not refused by them."""
        self._depth, self._attempts, self._avoid_seconds = depth, attempts, avoid_seconds

    @property
    def tick_due(self) -> float:
        """When a `Tick` is due at the earliest (monotonic seconds); infinite while no ticket waits.

        A lower bound, exact after each `Tick`: keeping it exact would cost a search of the
        queue for every event.
        """
        return self._tick_due

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

    def resume(self, service_seconds: Mapping[str, float]) -> None:
        """Take up what another daemon has learnt of models of which nothing is known here."""
        self._service.resume(service_seconds)

    def __repr__(self) -> str:
        waiting = sum(map(len, self._queues.values()))
        return f"<Scheduler waiting={waiting} running={len(self._running)} replicas={len(self._replicas)}>"

    # Every handler below leaves the capacities exact before it returns effects.

    def _arrive(self, ticket: Ticket, now: float) -> list[Effect]:
        model = ticket.ask.model
        if not self._replicas.is_coming(model):
            return [self._refuse_absent(ticket)]
        self._models[ticket.id] = model
        waiting, queue = Waiting(ticket), self._queues.get(model)
        if not queue and (capacity := self._running.choose(waiting, now)):
            return [self._running.dispatch(waiting, capacity, now)]
        self._enqueue(waiting, now)
        effects = self._place(model, now) if queue else []
        queue = self._queues[model]
        if len(queue) > self._depth and queue.remove(ticket.id):
            reason = f"{len(queue)} requests already wait for {model!r}"
            effects.append(self._refuse(ticket, Refusal.QUEUE_FULL, reason))
        return effects

    def _inherit(self, event: Inherited, now: float) -> list[Effect]:
        self._models[event.ticket.id] = event.ticket.ask.model
        self._running.inherit(event, now)
        return []

    def _hold(self, ticket_id: int, held_id: int, now: float) -> list[Effect]:
        if held := self._running.hold(ticket_id, held_id, now):
            self._models[held_id] = held.ask.model
        return []

    def _finish(self, ticket_id: int, exchange: Exchange | None, now: float) -> list[Effect]:
        model = self._models.pop(ticket_id, None)
        if model is None:
            return []
        running = self._running.end(ticket_id)
        if running is None:
            self._queues[model].remove(ticket_id)
            return self._place(model, now)
        if exchange is not None and exchange.is_complete:
            placed = running.started if exchange.placed_at is None else exchange.placed_at
            began = min(placed, running.started)  # one that was taken over began earlier
            self._service.learn(model, now - began)
        return [*self._running.free(running), *self._place(model, now)]

    def _clear(self, ticket_id: int, now: float) -> list[Effect]:
        """Let a ticket run beside others again that may have ended a replica."""
        model = self._models.get(ticket_id)
        if model is None:
            return []
        if running := self._running.get(ticket_id):
            running.waiting.is_suspect = False
            if running.capacity.suspect == ticket_id:
                running.capacity.suspect = None
        queue = self._queues.get(model)
        if queue and (waiting := queue.get(ticket_id)):
            waiting.is_suspect = False
        return self._place(model, now)

    def _retry(self, event: AttemptFailed, now: float) -> list[Effect]:
        ticket_id = event.ticket_id
        running = self._running.end(ticket_id)
        if running is None:
            return []
        freed = self._running.free(running)
        waiting, model = running.waiting, running.waiting.ticket.ask.model
        waiting.stay_away(running.capacity, now + self._avoid_seconds)
        waiting.is_suspect = waiting.is_suspect or event.hung_up
        if waiting.attempts >= self._attempts:
            reason = f"{waiting.attempts} attempts failed"
            freed.append(self._refuse(waiting.ticket, Refusal.ATTEMPTS_SPENT, reason))
        elif not self._replicas.is_coming(model):
            del self._models[ticket_id]
            freed.append(self._refuse_absent(waiting.ticket))
        else:
            self._enqueue(waiting, now)
        return [*freed, *self._place(model, now)]

    def _tick(self, now: float) -> list[Effect]:
        effects: list[Effect] = []
        for model, queue in self._queues.items():
            for waiting in queue.overdue(now):
                reason = f"no slot of {model!r} became free in time"
                effects.append(self._refuse(waiting.ticket, Refusal.TIMED_OUT, reason))
            effects += self._place(model, now)
        self._tick_due = min((queue.due() for queue in self._queues.values()), default=math.inf)
        return effects

    def _drain(self, name: str) -> list[Effect]:
        capacity = self._replicas.pause(name)
        return [] if capacity and capacity.running else [Idle(name)]

    def _forget(self, name: str) -> list[Effect]:
        """Remove a replica; with the last one of a model, what was learned of the model."""
        replica = self._replicas.remove(name)
        if replica is None or self._replicas.has_any(replica.model):
            return []
        effects = self._refuse_waiting(replica.model)
        self._queues.pop(replica.model, None)
        self._service.forget(replica.model)
        return effects

    def _settle_absent(self, model: str, now: float) -> list[Effect]:
        """Refuse what waits for a model of which no replica is coming any more."""
        return self._place(model, now) if self._replicas.is_coming(model) else self._refuse_waiting(model)

    def _refuse_waiting(self, model: str) -> list[Effect]:
        queue, effects = self._queues.get(model, Queue()), list[Effect]()
        for waiting in list(queue):
            queue.remove(waiting.ticket.id)
            del self._models[waiting.ticket.id]
            effects.append(self._refuse_absent(waiting.ticket))
        return effects

    def _enqueue(self, waiting: Waiting, now: float) -> None:
        self._queues.setdefault(waiting.ticket.ask.model, Queue()).add(waiting, now)
        self._tick_due = min(self._tick_due, *waiting.moments(now), math.inf)

    def _place(self, model: str, now: float) -> list[Effect]:
        queue = self._queues.get(model)
        return [*self._running.place(queue, model, now)] if queue else []

    def _refuse_absent(self, ticket: Ticket) -> Refuse:
        """Refuse a ticket of a model that no replica serves; one that could be loaded gets the reason."""
        refusal, reason = self._replicas.why_absent(ticket.ask.model)
        return Refuse(ticket.id, refusal, reason, _OPERATOR_SECONDS)

    def _refuse(self, ticket: Ticket, refusal: Refusal, reason: str) -> Refuse:
        del self._models[ticket.id]
        return Refuse(ticket.id, refusal, reason, self._estimate_seconds(ticket.ask.model))

    def _estimate_seconds(self, model: str) -> float:
        """Return when the queue of today has probably run (mean service time times rounds), at least 1."""
        load = self.load(model)
        rounds = (load.waiting + 1) / max(load.slots, 1)
        return max(1.0, self._service.seconds(model) * rounds)

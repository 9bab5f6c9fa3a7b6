"""What becomes of each ticket: it runs, waits, comes back or is refused."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from relayd.endpoint import Endpoint
from relayd.scheduler.ask import BACKGROUND
from relayd.scheduler.capacity import Capacity
from relayd.scheduler.events import (
    AttemptFailed,
    Dispatch,
    Effect,
    GivenBack,
    Inherited,
    KeptSlots,
    LoadElsewhere,
    Preempt,
    Refuse,
    Ticket,
)
from relayd.scheduler.exchange import Exchange
from relayd.scheduler.keeper import MemoryKeeper
from relayd.scheduler.queue import Queue
from relayd.scheduler.refusals import Refusals
from relayd.scheduler.running import NOTHING, Nothing, RunningTickets
from relayd.scheduler.waiting import Waiting
from relayd.scheduler.yielding import Yielding

_GROWTH_SECONDS = 1.0
"""When the wait of a ticket is looked at, whose model may get another replica."""


@dataclass(frozen=True, slots=True)
class TicketLimits:
    """What a ticket may use up.

    Attributes:
        depth: Tickets that may wait for one model.
        attempts: Dispatches a ticket gets before it is refused.
        avoid_seconds: How long a ticket stays away from where an attempt failed, unless a new incarnation is
            there. A single replica is tried again after it.
        flow_depth: Tickets that may wait for one model and flow; None limits them by `depth` alone.
    """

    depth: int
    attempts: int
    avoid_seconds: float
    flow_depth: int | None = None


class Tickets:
    """Every ticket that waits or runs.

    Args:
        limits: What a ticket may use up.
        running: Tickets that have slots.
        keeper: Owns memory, and knows replicas and queues.
    """

    def __init__(
        self, limits: TicketLimits, running: RunningTickets, queues: dict[str, Queue], keeper: MemoryKeeper
    ) -> None:
        self.limits = limits
        self._running = running
        self._queues = queues
        self._keeper = keeper
        self._replicas, self._service = keeper.floor.replicas, keeper.floor.service
        self._refusals = Refusals(self._replicas, queues, self._service, keeper)
        self._models: dict[int, str] = {}
        self.yielding = Yielding(running)
        self.tick_due = math.inf
        """When time alone changes something at the earliest (monotonic seconds)."""

    def __repr__(self) -> str:
        waiting = sum(map(len, self._queues.values()))
        return f"<Tickets waiting={waiting} running={len(self._running)}>"

    def queue_of(self, ticket_id: int) -> Queue | None:
        """Return the queue of a ticket's model."""
        return self._queues.get(self._models.get(ticket_id, ""))

    # Every handler below leaves the capacities exact before it returns effects.

    def place_now(self, ticket: Ticket, now: float) -> Endpoint | None:
        """Let a ticket run at once and return where.

        None changes nothing; `arrive` then lets the ticket wait, or refuses it.
        """
        model = ticket.ask.model
        queue = self._queues.get(model)
        if queue is not None and queue.entries:
            return None
        waiting = Waiting(ticket)
        choice = self._running.choose(waiting, now)
        if type(choice) is not Capacity or choice.background:
            return None
        self._models[ticket.id] = model
        return self._running.dispatch(waiting, choice, now)

    def arrive(self, ticket: Ticket, now: float) -> list[Effect]:
        """Let a ticket run, wait or be refused."""
        model = ticket.ask.model
        if not self._replicas.is_coming(model):
            return self._arrive_absent(ticket, now)
        self._models[ticket.id] = model
        waiting, queue = Waiting(ticket), self._queues.get(model)
        choice = None if queue else self._running.choose(waiting, now)
        if isinstance(choice, Capacity):
            place = self._running.dispatch(waiting, choice, now)
            return [Dispatch(ticket.id, place), *self._stop_reading(waiting, choice, now)]
        self._enqueue(waiting, now)
        effects = self.place(model, now, NOTHING) if queue or choice else self._make_room(model, now)
        return [*effects, *self._bound(waiting)]

    def _bound(self, newest: Waiting) -> list[Refuse]:
        """Refuse a ticket where more wait than may, of the flow that has most of them."""
        ask = newest.ticket.ask
        queue, limits = self._queues[ask.model], self.limits
        if len(queue) > limits.depth:
            surplus = queue.surplus(newest)
        elif limits.flow_depth is not None and queue.size_of(ask.flow) > limits.flow_depth:
            surplus = newest
        else:
            return []
        ticket = surplus.ticket
        if queue.get(ticket.id) is None:  # the newest runs already
            return []
        queue.remove(ticket.id)
        del self._models[ticket.id]
        return [self._refusals.full(ticket)]

    def _arrive_absent(self, ticket: Ticket, now: float) -> list[Effect]:
        """Let a ticket wait for the load of its model, or refuse it where nothing loads it."""
        loads = self._call(ticket.ask.model, now)
        if loads is None:
            return [self._refusals.absent(ticket, now)]
        self._models[ticket.id] = ticket.ask.model
        self._enqueue(Waiting(ticket), now)
        return [*loads]

    def inherit(self, event: Inherited, now: float) -> list[Effect]:
        """Take note of a ticket that an earlier daemon has placed."""
        self._models[event.ticket.id] = event.ticket.ask.model
        self._running.inherit(event, now)
        return []

    def hold(self, ticket_id: int, held_id: int, now: float) -> list[Effect]:
        """Keep the slots of a ticket that was left, under another id."""
        if held := self._running.hold(ticket_id, held_id, now):
            self._models[held_id] = held.ask.model
        return []

    def finish(self, ticket_id: int, exchange: Exchange | None, now: float) -> list[Effect]:
        """Take the slots of a ticket back, or take it out of its queue."""
        model = self._models.pop(ticket_id, None)
        if model is None:
            return []
        running = self._running.end(ticket_id)
        if running is None:
            self._queues[model].remove(ticket_id)
            return [*self.place(model, now, NOTHING), *self._give_up(model, now)]
        whole = exchange if exchange is not None and exchange.is_complete else None
        queue, capacity = self._queues.get(model), running.capacity
        self._running.settle(running, whole, queue, now)
        is_awaited = queue is not None and bool(queue.entries)
        if is_awaited:
            self._service.departed(model, now)
        if whole is not None:
            began = running.started
            if whole.placed_at is not None and whole.placed_at < began:
                began = whole.placed_at  # one that was taken over began earlier
            self._service.learn(model, now - began)
        freed = self._running.free(running)
        capacity.used_at = now
        if running.waiting.ticket.ask.klass == BACKGROUND:
            self.yielding.ended(ticket_id)
        else:
            capacity.wanted_at = now
        effects = [*freed, *self.place(model, now, capacity)] if is_awaited else freed
        return self.settle(effects, now) if capacity.is_watched and not capacity.running else effects

    def clear(self, ticket_id: int, now: float) -> list[Effect]:
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
        return self.place(model, now)

    def retry(self, event: AttemptFailed, now: float) -> list[Effect]:
        """Let a ticket whose attempt failed run again, unless it has had all its attempts."""
        ticket_id = event.ticket_id
        running = self._running.end(ticket_id)
        if running is None:
            return []
        freed = self._running.free(running)
        waiting, model = running.waiting, running.waiting.ticket.ask.model
        if event.sent:
            ask = msgspec.structs.replace(waiting.ticket.ask, deadline=event.deadline)
            waiting.ticket = Ticket(ticket_id, ask)
        self._running.settle(running, None, None, now)
        self._running.note_failed(running.capacity, now)
        waiting.stay_away(running.capacity, now + self.limits.avoid_seconds)
        waiting.is_suspect = waiting.is_suspect or event.hung_up
        if waiting.attempts >= self.limits.attempts:
            del self._models[ticket_id]
            freed.append(self._refusals.spent(waiting.ticket, waiting.attempts))
        elif self._replicas.is_coming(model):
            self._enqueue(waiting, now)
        elif (loads := self._call(model, now)) is None:
            del self._models[ticket_id]
            freed.append(self._refusals.absent(waiting.ticket, now))
        else:
            self._enqueue(waiting, now)
            freed += loads
        return self.settle([*freed, *self.place(model, now)], now)

    def give_back(self, event: GivenBack | KeptSlots, now: float) -> list[Effect]:
        """Let a ticket wait again that has given its slots to others, or ask another one; nothing failed."""
        if isinstance(event, KeptSlots):
            return self._ask_another(event.ticket_id, now)
        running = self._running.end(event.ticket_id)
        if running is None:
            return []
        freed = self._running.free(running)
        waiting = running.waiting
        waiting.yielded += self.yielding.gave(event.ticket_id)
        model = waiting.ticket.ask.model
        ask = msgspec.structs.replace(waiting.ticket.ask, deadline=event.deadline)
        waiting.ticket, waiting.attempts = Ticket(event.ticket_id, ask), waiting.attempts - 1
        self._running.settle(running, None, None, now)
        self._enqueue(waiting, now)
        return self.settle([*freed, *self.settle_absent(model, now)], now)

    def tick(self, now: float) -> list[Effect]:
        """Refuse what has waited for too long, and place what time alone lets run."""
        effects: list[Effect] = []
        for model, queue in self._queues.items():
            overdue = queue.overdue(now)
            for waiting in overdue:
                del self._models[waiting.ticket.id]
                effects.append(self._refusals.late(waiting.ticket))
            effects += self.place(model, now, NOTHING)
            if overdue and not queue:
                effects += self._keeper.swapper.give_up(model, have_timed_out=True)
        dues = (queue.due() for queue in self._queues.values())
        self.tick_due = min(self.yielding.due(now), *dues) if self._queues else math.inf
        return self.settle(effects, now)

    def _give_up(self, model: str, now: float) -> list[Effect]:
        """Give up the loads of a model when the last ticket that waited for it has left."""
        if self._queues[model]:
            return []
        return self.settle([*self._keeper.swapper.give_up(model, have_timed_out=False)], now)

    def settle(self, effects: list[Effect], now: float) -> list[Effect]:
        """Add to effects what memory makes of what has changed."""
        effects = [*effects, *self._keeper.swapper.settle(now)]
        for capacity in self._keeper.swapper.left_by_lines():
            effects += self.yielding.leave(capacity, now)
        for model in self._keeper.swapper.take_opened():
            effects += self.place(model, now)
        for failed in self._keeper.take_failed():
            if model_failed := self._replicas.fail(failed.replica, failed.reason):
                effects += self.settle_absent(model_failed, now)
        self.tick_due = min(self.tick_due, self._keeper.swapper.due)
        return effects

    def settle_absent(self, model: str, now: float) -> list[Effect]:
        """Load a model of which no replica is coming any more for what waits for it, or refuse that."""
        if self._replicas.is_coming(model):
            return self.place(model, now)
        loads = self._call(model, now) if self._queues.get(model) else None
        return self.refuse_waiting(model, now) if loads is None else [*loads]

    def _call(self, model: str, now: float) -> Sequence[Effect] | None:
        """Order the load of a model here, or else on another machine; None where nothing loads it."""
        loads = self._keeper.swapper.call(model, now)
        if loads is None and self._replicas.is_dormant(model):
            return [LoadElsewhere(model)]
        return loads

    def refuse_waiting(self, model: str, now: float) -> list[Effect]:
        """Refuse what waits for a model that no replica serves."""
        queue, effects = self._queues.get(model, Queue()), list[Effect]()
        for waiting in list(queue):
            queue.remove(waiting.ticket.id)
            del self._models[waiting.ticket.id]
            effects.append(self._refusals.absent(waiting.ticket, now))
        return effects

    def _enqueue(self, waiting: Waiting, now: float) -> None:
        model, due = waiting.ticket.ask.model, self.tick_due
        queue = self._queues.get(model)
        if queue is None:
            queue = self._queues[model] = Queue()
        if not queue:
            self._service.line_begins(model)
        due = min(due, queue.add(waiting, now))
        self.tick_due = min(due, now + _GROWTH_SECONDS) if model in self._keeper.growing else due

    def place(self, model: str, now: float, changed: Capacity | Nothing | None = None) -> list[Effect]:
        """Give slots to the tickets of a model that can run now; see `RunningTickets.place` for `changed`."""
        queue = self._queues.get(model)
        if not queue:
            return []
        placed = self._running.place(queue, model, now, changed)
        self.tick_due = min(self.tick_due, queue.due())
        effects: list[Effect] = [*placed]
        for one in placed if self._running.lines else ():
            if (running := self._running.get(one.ticket_id)) is not None:
                effects += self._stop_reading(running.waiting, running.capacity, now)
        return [*effects, *self._make_room(model, now)]

    def _stop_reading(self, waiting: Waiting, capacity: Capacity, now: float) -> list[Preempt]:
        if not capacity.background or waiting.ticket.ask.klass == BACKGROUND:
            return []
        return self.yielding.stop_reading(capacity, now)

    def _ask_another(self, ticket_id: int, now: float) -> list[Effect]:
        """Have another line give way for one that keeps its slots for now."""
        self.yielding.kept(ticket_id, now)
        self.tick_due = min(self.tick_due, self.yielding.due(now))
        model = self._models.get(ticket_id)
        return [] if model is None else self._make_room(model, now)

    def _make_room(self, model: str, now: float) -> list[Effect]:
        """Have lines of batches give way to what waits for a model."""
        if not self._running.lines:
            return []
        queue = self._queues.get(model)
        if queue is None or not queue.foreground:
            return []
        return [*self.yielding.make_room(queue, self._replicas.capacities(model), now)]

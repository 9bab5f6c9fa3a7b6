"""Which replica does a ticket get, and what runs where?"""

from collections.abc import Iterator, Sequence
from enum import Enum
from itertools import filterfalse
from operator import attrgetter

import msgspec

from relayd.endpoint import Endpoint
from relayd.scheduler.ask import BACKGROUND, Ask
from relayd.scheduler.breaker import CircuitBreaker
from relayd.scheduler.capacity import Capacity
from relayd.scheduler.costs import affordable
from relayd.scheduler.events import Dispatch, Effect, Idle, Inherited, Move, Ticket
from relayd.scheduler.exchange import Exchange
from relayd.scheduler.prices import Prices
from relayd.scheduler.queue import Ahead, Queue
from relayd.scheduler.replicas import KnownReplicas
from relayd.scheduler.resuming import resumable
from relayd.scheduler.strategies import Strategies
from relayd.scheduler.waiting import Choice, Hold, Waiting

_OVERDUE = attrgetter("overdue")
"""Whether a replica owes a first byte."""

_NONE: Ahead = {}


class Nothing(Enum):
    """No replica."""

    NOTHING = "nothing"


NOTHING = Nothing.NOTHING


class Running(msgspec.Struct, eq=False):
    """A ticket on a replica.

    Attributes:
        waiting: The ticket, and what has become of it so far.
        capacity: Whose slots it has.
        started: When it got them (monotonic seconds).
        charged: What its flow was charged for it (tokens); 0 where it did not wait.
    """

    waiting: Waiting
    capacity: Capacity
    started: float
    charged: float = 0.0


class RunningTickets:
    """Every ticket that has slots; it keeps the capacities exact.

    Args:
        replicas: Who has slots.
        strategies: Choose among replicas that a ticket fits on.
    """

    def __init__(self, replicas: KnownReplicas, strategies: Strategies) -> None:
        self._replicas = replicas
        self._strategies = strategies
        self._prices = Prices()
        self._breaker = CircuitBreaker()
        self._running: dict[int, Running] = {}
        self._moving: set[int] = set()
        self._dispatches = 0
        self.lines = 0
        """Lines of batches that have slots, and what is left of such on a replica."""

    def __len__(self) -> int:
        return len(self._running)

    def __repr__(self) -> str:
        return f"<RunningTickets running={len(self._running)} moving={len(self._moving)}>"

    def __iter__(self) -> Iterator[Running]:
        return iter(self._running.values())

    def get(self, ticket_id: int) -> Running | None:
        """Return a ticket that runs; None when it does not."""
        return self._running.get(ticket_id)

    def place(
        self, queue: Queue, model: str, now: float, changed: Capacity | Nothing | None = None
    ) -> list[Dispatch]:
        """Give slots to the tickets of a queue that can run at `now` (monotonic seconds).

        Args:
            queue: Those of a model.
            model: Which one.
            now: Monotonic seconds.
            changed: The only replica at which something has changed since the last call but starts, and
                NOTHING where that is so of none; every held ticket is decided anew otherwise.
        """
        dispatched: list[Dispatch] = []
        queue.is_stale = queue.is_stale or changed is None or bool(self._breaker.failing)
        if not self._replicas.opened(model).has_free:
            return dispatched
        if queue.is_stale:
            queue.forget_holds()
        freed = changed if isinstance(changed, Capacity) else None

        def place(waiting: Waiting, among: frozenset[Capacity] | None, ahead: Ahead) -> Choice:
            held = waiting.held
            if held is not None and held.stands(now) and not self._suits(freed, waiting, held, now):
                return held
            choice = self.choose(waiting, now, among, ahead)
            waiting.held = choice if isinstance(choice, Hold) and not waiting.avoid else None
            return choice

        def away(waiting: Waiting) -> frozenset[Capacity]:
            return waiting.away(self._replicas.capacities(model), now)

        while found := queue.next(place, away, now):
            waiting, capacity = found
            dispatched.append(Dispatch(waiting.ticket.id, self.dispatch(waiting, capacity, now)))
            running = self._running[waiting.ticket.id]
            running.charged = self._prices.of(waiting, capacity)
            queue.charge(waiting.ticket.ask, running.charged)
            if not self._replicas.opened(model).has_free:
                break
        return dispatched

    def _suits(self, freed: Capacity | None, waiting: Waiting, held: Hold, now: float) -> bool:
        """Return whether a held ticket is to be decided anew because of a replica where something ended."""
        if freed is None or not freed.fits(waiting.ticket.ask.width):
            return False
        strategy = self._strategies.learning(waiting.ticket.ask)
        return strategy is None or strategy.is_better(waiting, held, freed, now)

    def dispatch(self, waiting: Waiting, capacity: Capacity, now: float) -> Endpoint:
        """Give a ticket slots of a replica that has them, and return where that is."""
        ticket = waiting.ticket
        self._dispatches += 1
        waiting.attempts += 1
        capacity.take(ticket.id, ticket.ask.width, self._dispatches)
        if waiting.is_suspect:
            capacity.suspect = ticket.id
        if self._breaker.failing:
            self._breaker.tried(capacity, now)
        self._running[ticket.id] = Running(waiting, capacity, now)
        if ticket.ask.klass == BACKGROUND:
            self.lines += 1
            capacity.background.add(ticket.id)
            if waiting.yielded:
                capacity.resumed.add(ticket.id)
        if (learner := waiting.learner) is not None:
            learner.started(waiting, capacity, now)
        return capacity.endpoint

    def choose(
        self,
        waiting: Waiting,
        now: float,
        among: frozenset[Capacity] | None = None,
        ahead: Ahead | None = None,
    ) -> Choice:
        """Return the replica that the model's strategy chooses among those the ticket fits on.

        Args:
            waiting: What is to run.
            now: Monotonic seconds.
            among: The replicas that it may run on; None for all of its model.
            ahead: How many tickets in front are held for a replica.
        """
        ask, replicas = waiting.ticket.ask, self._replicas
        is_special = among is not None or self._breaker.failing or replicas.has_costs
        if not (is_special or ask.width > 1 or waiting.avoid or waiting.is_suspect or waiting.yielded):
            found = replicas.opened(ask.model)
            if free := found.free:
                return self._choose_of(waiting, ask, free, found.busy, now, ahead)
        return self._choose_of_fitting(waiting, ask, now, among, ahead)

    def _choose_of_fitting(
        self,
        waiting: Waiting,
        ask: Ask,
        now: float,
        among: frozenset[Capacity] | None,
        ahead: Ahead | None,
    ) -> Choice:
        """Do the same where not every replica that has a free slot will do."""
        free, late, busy = list[Capacity](), list[Capacity](), list[Capacity]()
        for one in self._replicas.capacities(ask.model):
            if not one.accepting:
                continue
            if ask.width <= one.free or one.slots == one.free:  # as `fits` does
                (late if one.overdue else free).append(one)
            elif not one.overdue:
                busy.append(one)
        if waiting.avoid or waiting.is_suspect:
            free, late, busy = (
                [one for one in some if not waiting.avoids(one, now)] for some in (free, late, busy)
            )
        if among is not None:
            free, late = ([one for one in some if one in among] for some in (free, late))
        if self._breaker.failing:
            allowed = self._breaker.allowed([*free, *late], self._replicas.capacities(ask.model), now)
            free, late = [*filterfalse(_OVERDUE, allowed)], [*filter(_OVERDUE, allowed)]
        fitting = free or late
        if not fitting:
            return None
        if self._replicas.has_costs or waiting.yielded:
            found = self._permitted(waiting, fitting, now)
            if isinstance(found, Hold):
                return found
            fitting = found
        return self._choose_of(waiting, ask, fitting, busy, now, ahead)

    def _choose_of(
        self,
        waiting: Waiting,
        ask: Ask,
        fitting: Sequence[Capacity],
        busy: Sequence[Capacity],
        now: float,
        ahead: Ahead | None,
    ) -> Choice:
        """Have the model's strategy choose, of replicas where a ticket fits and ones that it may wait for."""
        strategy = waiting.learner = self._strategies.learning(ask)
        if strategy is not None:
            return strategy.choose(waiting, fitting, busy, now, ahead or _NONE)
        return fitting[0] if len(fitting) == 1 else self._strategies.of(ask.model).pick(fitting)

    def _permitted(self, waiting: Waiting, fitting: list[Capacity], now: float) -> list[Capacity] | Hold:
        """Return those of the replicas with room for a ticket it may run on now; or what it waits for."""
        ask = waiting.ticket.ask
        if waiting.yielded and ask.klass == BACKGROUND:
            found = resumable(fitting, self._replicas.capacities(ask.model), now)
            if isinstance(found, Hold):
                return found
            fitting = found
        if self._replicas.has_costs:
            return affordable(waiting, fitting, self._replicas.of(ask.model), now)
        return fitting

    def best(self, waiting: Waiting, capacities: Sequence[Capacity], now: float) -> Capacity:
        """Return which of some replicas suits a ticket best, whether they have slots for it or not."""
        chosen = self._choose_of(waiting, waiting.ticket.ask, capacities, (), now, None)
        return chosen if isinstance(chosen, Capacity) else capacities[0]

    def inherit(self, event: Inherited, now: float) -> None:
        """Take note of a ticket that an earlier daemon has placed."""
        replica = self._replicas.get(event.endpoint.replica)
        capacity = replica.capacity if replica else None
        if capacity is None or capacity.endpoint != event.endpoint:
            capacity = Capacity(event.endpoint, event.slots)
            if replica and replica.capacity is None:
                capacity.admit(is_well=False)  # until this daemon finds it ready
                self._replicas.set_capacity(replica, capacity)
        ticket = event.ticket
        capacity.take(ticket.id, ticket.ask.width, self._dispatches)
        self._running[ticket.id] = Running(Waiting(ticket, attempts=1), capacity, now)
        self.lines += ticket.ask.klass == BACKGROUND

    def hold(self, ticket_id: int, held_id: int, now: float) -> Ticket | None:
        """Keep the slots of a ticket that was left, under another id, and return what holds them."""
        running = self._running.get(ticket_id)
        if running is None:
            return None
        held = Ticket(held_id, running.waiting.ticket.ask)
        running.capacity.hold(ticket_id, held_id)
        self._running[held_id] = Running(Waiting(held, attempts=1), running.capacity, now)
        self.lines += held.ask.klass == BACKGROUND
        return held

    def end(self, ticket_id: int) -> Running | None:
        """Take out a ticket, whose slots are still to be freed; None when it does not run."""
        if self._moving:
            self._moving.discard(ticket_id)
        running = self._running.pop(ticket_id, None)
        if self.lines and running is not None and running.waiting.ticket.ask.klass == BACKGROUND:
            self.lines -= 1
        return running

    def settle(self, running: Running, exchange: Exchange | None, queue: Queue | None, now: float) -> None:
        """Learn from a ticket that was taken out; `exchange` is None where its answer is not whole."""
        ask = running.waiting.ticket.ask
        if exchange is not None and self._breaker.failing:
            self._breaker.served(running.capacity)
        if (learner := running.waiting.learner) is not None:
            learner.ended(running.waiting, running.capacity, exchange, now)
        if running.charged and exchange is not None and exchange.usage is not None:
            worth = self._prices.learn(ask, exchange.usage)
            if queue is not None:
                queue.charge(ask, worth - running.charged)

    def keep(self, model: str) -> None:
        """Forget what was learned of replicas of a model that are no more."""
        self._strategies.keep(model, set(self._replicas.capacities(model)))
        if self._breaker.failing:
            self._breaker.keep(self._is_there)

    def note_failed(self, capacity: Capacity, now: float) -> None:
        """Take note that an attempt failed at a replica."""
        self._breaker.failed(capacity, now)

    def _is_there(self, capacity: Capacity) -> bool:
        known = self._replicas.get(capacity.endpoint.replica)
        return known is not None and known.capacity is capacity

    def free(self, running: Running) -> list[Effect]:
        """Take the slots back of a ticket that was taken out."""
        capacity = running.capacity
        capacity.release(running.waiting.ticket.id)
        if capacity.is_well or capacity.running:
            return []
        name = capacity.endpoint.replica
        known = self._replicas.get(name)
        is_of_another_incarnation = known is None or known.capacity is not capacity
        return [] if is_of_another_incarnation else [Idle(name)]

    def note_overdue(self, ticket_id: int, queue: Queue | None) -> list[Effect]:
        """Prefer other replicas to that of a ticket, and move the ticket if that is free of harm.

        Only a stream is moved, as no byte of it means that no work was done for it; only once, and only
        from behind an older one: the oldest may be what holds the replica, and would hold the next.

        Args:
            ticket_id: Which one.
            queue: What waits for its model.
        """
        running = self._running.get(ticket_id)
        if running is None:
            return []
        self._moving.discard(ticket_id)
        waiting, capacity = running.waiting, running.capacity
        capacity.owe(ticket_id)
        can_move = waiting.ticket.ask.stream and waiting.attempts == 1 and not queue
        if not (can_move and capacity.owes_older(ticket_id) and self._has_room(waiting.ticket)):
            return []
        self._moving.add(ticket_id)
        return [Move(ticket_id)]

    def note_answering(self, ticket_id: int) -> None:
        """Take note that the answer to an overdue ticket has begun."""
        self._moving.discard(ticket_id)
        if running := self._running.get(ticket_id):
            running.capacity.owe_no_more(ticket_id)

    def _has_room(self, ticket: Ticket) -> bool:
        """Return whether replicas that owe nothing have slots for a ticket besides those about to move."""
        model, width = ticket.ask.model, ticket.ask.width
        free = [one for one in self._replicas.capacities(model) if one.accepting and not one.overdue]
        fitting = [one for one in free if one.fits(width)]
        moving = (self._running[ticket_id].waiting.ticket.ask for ticket_id in self._moving)
        taken = sum(ask.width for ask in moving if ask.model == model)
        return bool(fitting) and sum(one.free for one in free) >= taken + fitting[0].need(width)

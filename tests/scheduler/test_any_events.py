"""No sequence of events makes the scheduler lose, repeat, misplace or over-commit anything."""

from collections import Counter
from collections.abc import Callable
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.endpoint import Endpoint
from relayd.scheduler import (
    Abandoned,
    Answering,
    Arrived,
    Ask,
    AttemptFailed,
    Cleared,
    Dispatch,
    Dormant,
    Draining,
    Effect,
    Ended,
    Event,
    Exchange,
    Expected,
    Finished,
    Forgotten,
    GivenBack,
    Gone,
    Idle,
    Inherited,
    KeptSlots,
    Lost,
    Move,
    Overdue,
    Paused,
    Ready,
    Refuse,
    Scheduler,
    Tick,
    Ticket,
    Unloaded,
)
from relayd.scheduler.events import ReplicaEvent, RequestEvent
from tests.scheduler.script import endpoint, model_of

pytestmark = pytest.mark.pure

MODELS = ("m", "n")
REPLICAS = ("m#0", "m#1", "m#2", "n#0", "n#1")
SLOTS = 2
DEPTH = 3


class World:
    """What daemon and clients believe, kept beside a scheduler that is told all of it.

    Attributes:
        models: Every ticket's model.
        widths: The slots each ticket takes.
        live: Tickets that wait or run.
        running: Where those that run are.
        settled: How often each ticket came to an end.
        up: Incarnations that take work.
        there: Incarnations that exist, whether they take work or not.
        held: What replicas still work on although it was left.
        follows: What happens right after the last event.
        planned: Replicas that are part of the plan; the daemon announces each before it inherits work.
    """

    def __init__(self) -> None:
        self.scheduler = Scheduler(depth=DEPTH, attempts=2)
        self.models: dict[int, str] = {}
        self.widths: dict[int, int] = {}
        self.live: set[int] = set()
        self.running: dict[int, Endpoint] = {}
        self.settled: Counter[int] = Counter()
        self.up: dict[str, Endpoint] = {}
        self.there: dict[str, Endpoint] = {}
        self.planned: set[str] = set()
        self.incarnation = 0
        self.now = 0.0
        self.held: set[int] = set()
        self.follows: Event | None = None

    def ticket(self, model: str, number: int) -> Ticket:
        ticket = Ticket(
            len(self.models) + 1,
            Ask(model, width=1 + number % 3, stream=number % 2 == 0, deadline=self.now + 5),
        )
        self.models[ticket.id] = model
        self.widths[ticket.id] = min(ticket.ask.width, SLOTS)
        self.live.add(ticket.id)
        return ticket

    def incarnate(self, replica: str) -> Endpoint:
        if replica not in self.there:
            self.incarnation += 1
            self.there[replica] = endpoint(replica, self.incarnation)
        return self.there[replica]

    def end(self, replica: str) -> None:
        self.up.pop(replica, None)
        self.there.pop(replica, None)

    def arrive(self, replica: str, number: int) -> Event:
        return Arrived(self.ticket(model_of(replica), number))

    def inherit(self, replica: str, _number: int) -> Event:
        where = self.incarnate(replica)
        if replica not in self.planned or replica in self.up or self.width_on(where) >= SLOTS:
            return Tick()
        ticket = self.ticket(model_of(replica), 0)
        self.running[ticket.id] = where
        return Inherited(ticket, where, SLOTS)

    def finish(self, _replica: str, number: int) -> Event:
        if not self.live:
            return Tick()
        ticket_id = sorted(self.live)[number % len(self.live)]
        self.live.discard(ticket_id)
        self.running.pop(ticket_id, None)
        self.settled[ticket_id] += 1
        ended = tuple(Ended)[number % len(Ended)]
        return Finished(ticket_id, Exchange(ask=Ask(self.models[ticket_id]), ended=ended) if number else None)

    def abandon(self, _replica: str, number: int) -> Event:
        running = sorted(self.running.keys() - self.held)
        if not running:
            return Tick()
        ticket_id = running[number % len(running)]
        held_id = len(self.models) + 1
        self.models[held_id], self.widths[held_id] = self.models[ticket_id], self.widths[ticket_id]
        self.running[held_id] = self.running.pop(ticket_id)
        self.live.add(held_id)
        self.held.add(held_id)
        if number % 2:
            self.live.discard(ticket_id)
            self.settled[ticket_id] += 1
        self.follows = Finished(ticket_id) if number % 2 else AttemptFailed(ticket_id)
        return Abandoned(ticket_id, held_id)

    def fail(self, _replica: str, number: int) -> Event:
        running = sorted(self.running.keys() - self.held)
        if not running:
            return Tick()
        ticket_id = running[number % len(running)]
        del self.running[ticket_id]
        return AttemptFailed(ticket_id, sent=number % 2 == 0, hung_up=number % 3 == 0)

    def give_back(self, _replica: str, number: int) -> Event:
        running = sorted(self.running.keys() - self.held)
        if not running:
            return Tick()
        ticket_id = running[number % len(running)]
        del self.running[ticket_id]
        return GivenBack(ticket_id, self.now + 5)

    def keep(self, _replica: str, number: int) -> Event:
        running = sorted(self.running.keys() - self.held) or [0]
        return KeptSlots(running[number % len(running)])

    def overdue(self, _replica: str, number: int) -> Event:
        running = sorted(self.running.keys() - self.held) or [0]
        return Overdue(running[number % len(running)])

    def answer(self, _replica: str, number: int) -> Event:
        known = sorted(self.live) or [0]
        return Answering(known[number % len(known)])

    def clear(self, _replica: str, number: int) -> Event:
        known = sorted(self.live) or [0]
        return Cleared(known[number % len(known)])

    def expect(self, replica: str, _number: int) -> Event:
        self.planned.add(replica)
        return Tick() if replica in self.there else Expected(replica, model_of(replica))

    def ready(self, replica: str, _number: int) -> Event:
        self.planned.add(replica)
        self.up[replica] = self.incarnate(replica)
        return Ready(replica, model_of(replica), SLOTS, self.up[replica])

    def drain(self, replica: str, _number: int) -> Event:
        self.up.pop(replica, None)
        return Draining(replica)

    def pause(self, replica: str, _number: int) -> Event:
        self.up.pop(replica, None)
        return Paused(replica)

    def lose(self, replica: str, _number: int) -> Event:
        self.end(replica)
        return Lost(replica)

    def give_up(self, replica: str, _number: int) -> Event:
        self.end(replica)
        return Gone(replica, "out of memory")

    def unload(self, replica: str, _number: int) -> Event:
        self.end(replica)
        self.planned.add(replica)
        return Unloaded(replica, model_of(replica), "no room")

    def rest(self, replica: str, _number: int) -> Event:
        self.end(replica)
        self.planned.add(replica)
        return Dormant(replica, model_of(replica), "it sleeps", 0.01)

    def forget(self, replica: str, _number: int) -> Event:
        self.end(replica)
        self.planned.discard(replica)
        return Forgotten(replica)

    def tick(self, _replica: str, _number: int) -> Event:
        return Tick()

    def width_on(self, where: Endpoint) -> int:
        return sum(self.widths[ticket_id] for ticket_id, at in self.running.items() if at == where)

    def absorb(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Dispatch(ticket_id, where):
                    assert where in self.up.values(), "dispatched to a replica that is not ready"
                    assert self.models[ticket_id] == model_of(where.replica)
                    assert ticket_id in self.live
                    assert ticket_id not in self.running
                    self.running[ticket_id] = where
                case Refuse(ticket_id):
                    assert ticket_id in self.live
                    assert ticket_id not in self.running
                    self.live.discard(ticket_id)
                    self.settled[ticket_id] += 1
                case Move(ticket_id):
                    where = self.running[ticket_id]
                    free = (SLOTS - self.width_on(up) for up in self.up.values() if up != where)
                    assert ticket_id not in self.held
                    assert any(free), "moved although no other replica is free"
                case Idle(replica):
                    assert replica not in self.up, "a replica that takes work was called idle"

    def check(self) -> None:
        assert all(self.width_on(where) <= SLOTS for where in self.running.values())
        for model in MODELS:
            mine = {ticket_id for ticket_id in self.live if self.models[ticket_id] == model}
            load = self.scheduler.load(model)
            assert len(mine - self.running.keys()) == load.waiting
            assert load.running <= load.slots


Act = Callable[[World, str, int], Event]

ACTS: tuple[Act, ...] = (
    *(World.arrive,) * 8,
    *(
        World.inherit,
        World.finish,
        World.finish,
        World.fail,
        World.fail,
        World.abandon,
        World.give_back,
        World.keep,
        World.clear,
        World.overdue,
        World.overdue,
        World.answer,
        World.tick,
    ),
    *(World.ready, World.ready, World.ready, World.expect, World.drain, World.pause),
    *(World.lose, World.give_up, World.unload, World.rest, World.forget),
)


@given(
    st.lists(
        st.tuples(st.sampled_from(ACTS), st.sampled_from(REPLICAS), st.integers(0, 9)),
        min_size=30,
        max_size=80,
    )
)
def test_no_sequence_of_events_over_commits_loses_or_repeats_a_ticket(
    acts: list[tuple[Act, str, int]],
) -> None:
    world = World()
    for act, replica, number in acts:
        world.now += 0.4
        world.absorb(world.scheduler.handle(act(world, replica, number), world.now))
        if world.follows:
            world.absorb(world.scheduler.handle(world.follows, world.now))
            world.follows = None
        world.check()

    assert all(count == 1 for count in world.settled.values())


def test_every_kind_of_event_is_drawn() -> None:
    drawn: set[type] = set()
    for act in ACTS:
        world = World()
        for first, replica in ((World.ready, "m#0"), (World.arrive, "m#0"), (World.unload, "m#1")):
            world.absorb(world.scheduler.handle(first(world, replica, 1), 0.0))
        drawn.add(type(act(world, "m#1" if act in (World.inherit, World.expect) else "m#0", 1)))

    assert set(get_args(RequestEvent | ReplicaEvent)) == drawn

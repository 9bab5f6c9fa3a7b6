"""Random requests, ends, aborts, failures and losses on the pure scheduler: does any counter drift?"""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from relayd.scheduler import (
    Abandoned,
    Arrived,
    Ask,
    AttemptFailed,
    Dispatch,
    Effect,
    Ended,
    Event,
    Exchange,
    Finished,
    GivenBack,
    Lost,
    Ready,
    Refuse,
    Scheduler,
    Tick,
    Ticket,
    Usage,
)
from relayd.scheduler.ask import RANKED
from relayd.scheduler.prefixes import COVERED_BITS
from tests.scheduler.script import endpoint

REPLICAS, SLOTS = 4, 4
ROUND = 20_000
"""Aborts between two looks at a scheduler that has nothing to do."""


@dataclass(slots=True)
class Storm:
    """What clients and replicas believe, beside a scheduler that is given all of it."""

    random: Random
    scheduler: Scheduler
    live: list[int] = field(default_factory=list)
    places: dict[int, int] = field(default_factory=dict)
    running: set[int] = field(default_factory=set)
    held: list[int] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    incarnations: dict[str, int] = field(default_factory=dict)
    last_id: int = 0
    now: float = 0.0

    def step(self) -> None:
        self.now += self.random.expovariate(20.0)
        acts = (
            *(self._arrive, self._finish, self._abort, self._leave_behind),
            *(self._fail, self._tick, self._lose, self._give_back),
        )
        self.random.choices(acts, (42, 20, 20, 8, 6, 3.5, 0.5, 2))[0]()

    def drain(self) -> None:
        """End everything that is open."""
        while self.live or self.held:
            self.now += 0.1
            self._finish() if self.live else self._end_held()

    def _post(self, event: Event) -> None:
        self._absorb(self.scheduler.handle(event, self.now))

    def _absorb(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Dispatch):
                self.running.add(effect.ticket_id)
                self._count("dispatched")
            elif isinstance(effect, Refuse):
                self._forget(effect.ticket_id)
                self._count("refused")

    def _count(self, name: str) -> None:
        self.counts[name] = self.counts.get(name, 0) + 1

    def _forget(self, ticket_id: int) -> None:
        self.running.discard(ticket_id)
        place = self.places.pop(ticket_id)
        last = self.live.pop()
        if last != ticket_id:
            self.live[place], self.places[last] = last, place

    def _new(self) -> int:
        self.last_id += 1
        return self.last_id

    def _arrive(self) -> None:
        random, ticket_id = self.random, self._new()
        chain = self._chain(random.randrange(40), random.randrange(1, 12))
        ask = Ask(
            "m",
            random.choice((1, 1, 1, 2, 5)),
            klass=random.choice(RANKED),
            prefix=chain,
            deadline=self.now + random.uniform(0.5, 30),
            stream=random.random() < 0.5,
            session=f"s{random.randrange(50)}",
            flow=f"f{random.randrange(7)}",
            body_bytes=random.randrange(100, 50_000),
        )
        self.places[ticket_id] = len(self.live)
        self.live.append(ticket_id)
        self._count("arrived")
        self._post(Arrived(Ticket(ticket_id, ask)))

    @staticmethod
    def _chain(number: int, length: int) -> tuple[int, ...]:
        return tuple(
            (hash((number, at)) & (1 << 39) - 1) << COVERED_BITS | 512 * at for at in range(1, length + 1)
        )

    def _any(self, *, running: bool) -> int | None:
        for _ in range(4):
            found = self.random.choice(self.live) if self.live else None
            if found is not None and (not running or found in self.running):
                return found
        return None

    def _finish(self) -> None:
        if (ticket_id := self._any(running=False)) is not None:
            usage = Usage(self.random.randrange(1, 9000), self.random.randrange(9000), 50, 500.0, 800.0)
            self._forget(ticket_id)
            self._post(Finished(ticket_id, Exchange(ask=Ask("m"), ended=Ended.DONE, usage=usage)))

    def _abort(self) -> None:
        if (ticket_id := self._any(running=False)) is not None:
            self._forget(ticket_id)
            self._count("aborted")
            self._post(Finished(ticket_id, Exchange(ask=Ask("m"), ended=Ended.CANCELLED)))

    def _leave_behind(self) -> None:
        """Abort a request whose replica works on for a while."""
        if (ticket_id := self._any(running=True)) is not None:
            held_id = self._new()
            self._post(Abandoned(ticket_id, held_id))
            self.held.append(held_id)
            self._forget(ticket_id)
            self._count("aborted")
            self._post(Finished(ticket_id))
        if len(self.held) > 3:
            self._end_held()

    def _end_held(self) -> None:
        self._post(Finished(self.held.pop(self.random.randrange(len(self.held)))))

    def _fail(self) -> None:
        if (ticket_id := self._any(running=True)) is not None:
            self.running.discard(ticket_id)
            self._post(AttemptFailed(ticket_id, hung_up=self.random.random() < 0.1))

    def _give_back(self) -> None:
        if (ticket_id := self._any(running=True)) is not None:
            self.running.discard(ticket_id)
            self._post(GivenBack(ticket_id, self.now + self.random.uniform(0.5, 30)))

    def _tick(self) -> None:
        self._post(Tick())

    def _lose(self) -> None:
        name = f"m#{self.random.randrange(REPLICAS)}"
        self._post(Lost(name))
        self.ready(name)

    def ready(self, name: str) -> None:
        self.incarnations[name] = self.incarnations.get(name, 0) + 1
        self._post(Ready(name, "m", SLOTS, endpoint(name, self.incarnations[name]), 20_000.0))


def storm(
    aborts: int,
    seed: int,
    strategy: str = "prefix_affinity",
    report: Callable[[dict[str, int]], None] = lambda _: None,
) -> tuple[dict[str, int], list[str]]:
    """Return what happened until so many requests were aborted, and what was left over when all had ended.

    The same scheduler is looked at, with nothing open, every so many aborts; `report` follows these rounds.
    """
    scheduler = Scheduler(depth=60)
    scheduler.configure(depth=60, attempts=3, avoid_seconds=1.0, strategies={"m": strategy})
    world, left = Storm(Random(seed), scheduler), list[str]()
    for number in range(REPLICAS):
        world.ready(f"m#{number}")
    while (aborted := world.counts.get("aborted", 0)) < aborts and not left:
        most = min(aborts, aborted + ROUND)
        while world.counts.get("aborted", 0) < most:
            world.step()
        world.drain()
        left = leftovers(scheduler)
        report(world.counts)
    return world.counts, left


def leftovers(scheduler: Scheduler) -> list[str]:
    """Return the counters of an idle scheduler that are not what they were at its beginning."""
    found = []
    load = scheduler.load("m")
    if (load.waiting, load.running) != (0, 0):
        found.append(f"{load.waiting} wait, {load.running} run")
    found += [
        f"{capacity.endpoint.replica}: {capacity.free} of {capacity.slots} free"
        for capacity in scheduler._replicas.capacities("m")
        if capacity.free != capacity.slots or capacity.running or capacity.left
    ]
    for klass, line in zip(RANKED, scheduler._queues["m"]._lines, strict=True):
        if len(line) or line._active or line._aside or any(flow.size for flow in line._flows.values()):
            found.append(f"{klass}: {line!r}")
    if scheduler._running.lines:
        found.append(f"{scheduler._running.lines} lines of batches are counted")
    if scheduler._tickets._models:
        found.append(f"{len(scheduler._tickets._models)} tickets are remembered")
    strategy = scheduler._strategies.of("m")
    if any(work.runs for work in getattr(strategy, "_work", {}).values()):
        found.append("the strategy counts requests at work")
    return found

"""Which lines of batches give their slots to whom, and when (preemption)?

A request that waits for a slot has one line of a batch give way for each slot that it needs, on the replica
that has read most of its prompt, else on the one with most lines. A line that was asked may keep its slots
for a while (`KeptSlots`): one that gave way before first gets on by 256 tokens. Another one is asked then.

An engine reads prompts one after the other: lines whose prompts are being read beside a request that begins
give way too, and read on behind it.

Lines also give way where their replica has to leave memory, or takes no more work.
"""

import math
from collections.abc import Iterable, Sequence

from relayd.scheduler.capacity import Capacity
from relayd.scheduler.events import Preempt
from relayd.scheduler.queue import Queue
from relayd.scheduler.running import Running, RunningTickets
from relayd.scheduler.waiting import Waiting

KEPT_SECONDS = 0.1
"""How long a line that keeps its slots is not asked again."""

_READING_SECONDS = 5.0
"""A line that runs for so long is past its prompt, and leaves at once: a prompt ends with its batch."""


class Yielding:
    """Asks lines of batches for their slots.

    Args:
        running: Everything that has slots.
    """

    def __init__(self, running: RunningTickets) -> None:
        self._running = running
        self._asked: dict[int, float] = {}
        self._while_reading: set[int] = set()

    def __repr__(self) -> str:
        return f"<Yielding asked={len(self._asked)}>"

    def ended(self, ticket_id: int) -> None:
        """Take note that a line has no slots any more."""
        self._asked.pop(ticket_id, None)
        self._while_reading.discard(ticket_id)

    def gave(self, ticket_id: int) -> bool:
        """Take note that a line has given its slots back; return whether its answer had begun."""
        was_reading = ticket_id in self._while_reading
        self.ended(ticket_id)
        return not was_reading

    def kept(self, ticket_id: int, now: float) -> None:
        """Take note that a line keeps its slots for now."""
        if ticket_id in self._asked:
            self._asked[ticket_id] = now + KEPT_SECONDS
            self._while_reading.discard(ticket_id)

    def due(self, now: float) -> float:
        """Return when a line that kept its slots may be asked again (monotonic seconds), or infinity."""
        for ticket_id in [one for one, at in self._asked.items() if at <= now]:
            del self._asked[ticket_id]
        return min((at for at in self._asked.values() if at < math.inf), default=math.inf)

    def make_room(self, queue: Queue, capacities: Iterable[Capacity], now: float) -> list[Preempt]:
        """Have lines give way to the requests that wait for a model.

        Args:
            queue: What waits.
            capacities: The replicas of the model.
            now: Monotonic seconds.
        """
        usable = [one for one in capacities if one.accepting and one.background]
        if not usable or not queue.foreground:
            return []
        coming = sum(self._coming(one) for one in usable)
        effects: list[Preempt] = []
        for waiting in queue.urgent():
            able: list[Capacity] | None = None
            for _ in range(waiting.ticket.ask.width):
                if coming > 0:
                    coming -= 1
                    continue
                able = self._able(waiting, usable, now) if able is None else able
                if (asked := self._ask_one(able, now)) is not None:
                    effects.append(asked)
        return effects

    def _able(self, waiting: Waiting, usable: Sequence[Capacity], now: float) -> list[Capacity]:
        """Return the replicas of which lines may leave for a ticket, the one that suits it best in front."""
        if waiting.held is not None:  # it declined what was free elsewhere
            return [one for one in usable if one is waiting.held.goal]
        able = [one for one in usable if not waiting.avoids(one, now)]
        if len(able) > 1:
            best = self._running.best(waiting, able, now)
            able.sort(key=lambda one: (one is not best, -waiting.warm.get(one, 0), -len(one.background)))
        return able

    def leave(self, capacity: Capacity, now: float) -> list[Preempt]:
        """Have every line of a replica give way: it takes no more work."""
        return [one for ticket_id in [*capacity.background] if (one := self._ask(ticket_id, now)) is not None]

    def stop_reading(self, capacity: Capacity, now: float) -> list[Preempt]:
        """Have lines that read their prompts let a request go first that has just got slots beside them."""
        lines = [one for ticket_id in capacity.background if (one := self._running.get(ticket_id))]
        young = [one.waiting.ticket.id for one in lines if now - one.started < _READING_SECONDS]
        found = (self._ask(ticket_id, now, while_reading=True) for ticket_id in young)
        return [one for one in found if one is not None]

    def _coming(self, capacity: Capacity) -> int:
        """Return how many slots of a replica are about to be free."""
        asked = sum(
            capacity.running.get(one, 0) for one in capacity.background if self._asked.get(one) == math.inf
        )
        return asked + sum(capacity.running.get(one, 0) for one in capacity.left)

    def _ask_one(self, capacities: list[Capacity], now: float) -> Preempt | None:
        """Ask a line of the first of some replicas that has one to ask."""
        for capacity in capacities:
            lines = [one for ticket_id in capacity.background if (one := self._running.get(ticket_id))]
            lines.sort(key=lambda one: _cost(one, now))
            for line in lines:
                if (asked := self._ask(line.waiting.ticket.id, now)) is not None:
                    return asked
        return None

    def _ask(self, ticket_id: int, now: float, *, while_reading: bool = False) -> Preempt | None:
        if self._asked.get(ticket_id, -math.inf) > now:
            return None
        self._asked[ticket_id] = math.inf
        if while_reading:
            self._while_reading.add(ticket_id)
        return Preempt(ticket_id, while_reading)


def _cost(line: Running, now: float) -> tuple[int, bool, float]:
    """Return what it costs to have a line give way: how often it did, whether it still reads, and its age."""
    age = now - line.started
    return line.waiting.yielded, age < _READING_SECONDS, age

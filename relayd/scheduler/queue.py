"""Which tickets of one model wait, and in which order?"""

import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from heapq import heapify, heappop, heappush

import msgspec

from relayd.scheduler.capacity import Capacity
from relayd.scheduler.events import Ticket


class Waiting(msgspec.Struct, eq=False):
    """A ticket on its way to a slot.

    Attributes:
        ticket: What waits.
        attempts: Dispatches so far.
        avoid: Where an attempt failed, and until when (monotonic seconds) it is avoided.
        is_suspect: It may have ended a replica: it runs beside no other of which that is so.
    """

    ticket: Ticket
    attempts: int = 0
    avoid: Mapping[Capacity, float] = {}
    is_suspect: bool = False

    def stay_away(self, capacity: Capacity, until: float) -> None:
        """Avoid a replica until then (monotonic seconds)."""
        self.avoid = {**self.avoid, capacity: until}

    def avoids(self, capacity: Capacity, now: float) -> bool:
        """Return whether an attempt failed there too recently, or another suspect runs there."""
        return self.avoid.get(capacity, now) > now or (self.is_suspect and capacity.suspect is not None)

    def away(self, capacities: Iterable[Capacity], now: float) -> frozenset[Capacity]:
        """Return those of some replicas that are avoided at `now` (monotonic seconds)."""
        if not (self.avoid or self.is_suspect):
            return frozenset()
        return frozenset(capacity for capacity in capacities if self.avoids(capacity, now))

    def moments(self, now: float) -> Iterator[float]:
        """Yield when time alone changes something for this ticket (monotonic seconds)."""
        if (deadline := self.ticket.ask.deadline) is not None:
            yield deadline
        yield from (until for until in self.avoid.values() if until > now)


Place = Callable[[Waiting, frozenset[Capacity] | None], Capacity | None]
"""Returns where a ticket can run now, of some replicas; None as the second stands for all of them."""


Away = Callable[[Waiting], frozenset[Capacity]]
"""Returns the replicas that a ticket stays away from, though they serve its model."""


class Queue:
    """Tickets in the order of their arrival, which is the order of their ids.

    A ticket that comes back from a failed attempt takes its old place again. What a ticket costs does not
    grow with how many wait: they are kept by id, and their moments in a heap that may hold more of them.
    """

    def __init__(self) -> None:
        self._entries: OrderedDict[int, Waiting] = OrderedDict()
        self._moments: list[tuple[float, int]] = []

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Waiting]:
        return iter(self._entries.values())

    def get(self, ticket_id: int) -> Waiting | None:
        """Return a ticket; None when it is not here."""
        return self._entries.get(ticket_id)

    def next(self, place: Place, away: Away) -> tuple[Waiting, Capacity] | None:
        """Take out the ticket that runs next and return it with its place; None when none can.

        First in, first out: while there is no place for the oldest ticket, those behind it wait too. Only
        from where it stays away for a while after a failed attempt does it not keep them.

        Args:
            place: Returns where a ticket can run now, of the replicas that no older ticket waits for.
            away: Returns the replicas that a ticket stays away from.
        """
        among: frozenset[Capacity] | None = None
        for ticket_id, waiting in self._entries.items():
            if capacity := place(waiting, among):
                del self._entries[ticket_id]
                return waiting, capacity
            avoided = away(waiting)
            among = avoided if among is None else among & avoided
            if not among:
                break
        return None

    def overdue(self, now: float) -> list[Waiting]:
        """Take out the tickets whose deadline has passed at `now` (monotonic seconds)."""
        passed: list[Waiting] = []
        while self._moments and self._moments[0][0] <= now:
            ticket_id = heappop(self._moments)[1]
            waiting = self._entries.get(ticket_id)
            if waiting is not None and waiting.ticket.ask.is_overdue(now):
                del self._entries[ticket_id]
                passed.append(waiting)
        return passed

    def due(self) -> float:
        """Return when time alone changes something for a ticket here (monotonic seconds), or infinity."""
        while self._moments and self._moments[0][1] not in self._entries:
            heappop(self._moments)
        return self._moments[0][0] if self._moments else math.inf

    def add(self, waiting: Waiting, now: float) -> None:
        """Put a ticket in its place."""
        entries, ticket_id = self._entries, waiting.ticket.id
        is_last = not entries or ticket_id > next(reversed(entries))
        is_first = not is_last and ticket_id < next(iter(entries))
        entries[ticket_id] = waiting
        if is_first:
            entries.move_to_end(ticket_id, last=False)
        elif not is_last:
            self._entries = OrderedDict(sorted(entries.items()))
        for moment in waiting.moments(now):
            heappush(self._moments, (moment, ticket_id))
        if len(self._moments) > 64 + 4 * len(entries):
            self._forget_moments(now)

    def remove(self, ticket_id: int) -> Waiting | None:
        """Take a ticket out; None when it is not here."""
        return self._entries.pop(ticket_id, None)

    def _forget_moments(self, now: float) -> None:
        """Drop the moments of tickets that have left."""
        self._moments = [
            (moment, ticket_id)
            for ticket_id, waiting in self._entries.items()
            for moment in waiting.moments(now)
        ]
        heapify(self._moments)

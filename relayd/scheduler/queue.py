"""Which tickets of one model wait, and which of them runs next?"""

import math
from collections import OrderedDict
from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush
from itertools import chain

from relayd.scheduler.ask import BACKGROUND, NORMAL, RANKED, Ask, rank
from relayd.scheduler.capacity import Capacity
from relayd.scheduler.order import MOST_PASSED, ClassLine
from relayd.scheduler.waiting import Choice, Hold, Waiting

_LAST = rank(BACKGROUND)
"""The class that waits until no other one does, however long that is."""

Ahead = dict[Capacity, int]
"""How many tickets in front are held for a replica."""

Place = Callable[[Waiting, frozenset[Capacity] | None, Ahead], Choice]
"""Returns where a ticket can run now, of some replicas; None as the second stands for all of them."""

Away = Callable[[Waiting], frozenset[Capacity]]
"""Returns the replicas that a ticket stays away from, though they serve its model."""


class Queue:
    """Tickets of one model, in the order in which they run: by class, then fair among flows, then by arrival.

    A ticket that comes back from a failed attempt takes its old place again. What a ticket costs does not
    grow with how many wait: they are kept by id, and their moments in a heap that may hold more of them.

    Attributes:
        entries: The tickets by id, those that came first in front.
        is_stale: Something has changed that every held ticket is to be decided anew for.
    """

    def __init__(self) -> None:
        self.entries: OrderedDict[int, Waiting] = OrderedDict()
        self._lines = tuple(ClassLine() for _ in RANKED)
        self._moments: list[tuple[float, int]] = []
        self.is_stale = False

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[Waiting]:
        """Yield every ticket, those that came first in front."""
        return iter(self.entries.values())

    def __repr__(self) -> str:
        return f"<Queue {self._lines!r}>"

    @property
    def foreground(self) -> int:
        """How many tickets wait besides lines of batches."""
        return len(self.entries) - len(self._lines[_LAST])

    def urgent(self) -> Iterator[Waiting]:
        """Yield the tickets besides lines of batches, those that came first in front."""
        return (one for one in self.entries.values() if one.ticket.ask.klass != BACKGROUND)

    def get(self, ticket_id: int) -> Waiting | None:
        """Return a ticket; None when it is not here."""
        return self.entries.get(ticket_id)

    def next(self, place: Place, away: Away, now: float) -> tuple[Waiting, Capacity] | None:
        """Take out the ticket that runs next and return it with its place; None when none can.

        While there is no place for the ticket whose turn it is, those behind it wait too. Only a ticket that
        is held for a busy replica is passed; and from where it stays away for a while after a failed attempt,
        it does not keep others.

        Args:
            place: Returns where a ticket can run now, of the replicas that no ticket in front waits for.
            away: Returns the replicas that a ticket stays away from.
            now: Monotonic seconds.
        """
        among: frozenset[Capacity] | None = None
        ahead: Ahead = {}
        for line in self._in_order():
            for waiting in line.turns():
                choice = place(waiting, among, ahead)
                if isinstance(choice, Capacity):
                    self._start(line, waiting)
                    return waiting, choice
                line.set_aside(waiting)
                if isinstance(choice, Hold):
                    ahead[choice.goal] = ahead.get(choice.goal, 0) + 1
                    self._note(waiting.ticket.id, choice.look_at, now)
                    continue
                avoided = away(waiting)
                among = avoided if among is None else among & avoided
                if not among:
                    return None
        return None

    def forget_holds(self) -> None:
        """Have every held ticket decided anew."""
        self.is_stale = False
        for line in self._lines:
            for waiting in line.aside():
                waiting.held = None

    def charge(self, ask: Ask, tokens: float) -> None:
        """Take note of what the flow of a ticket was given, or by how much that was misjudged (tokens)."""
        self._lines[rank(ask.klass)].charge(ask.flow, tokens)

    def position(self, ticket_id: int) -> int:
        """Return the place in which a ticket probably runs, from 1; 0 when it is not here."""
        waiting = self.entries.get(ticket_id)
        if waiting is None:
            return 0
        own = rank(waiting.ticket.ask.klass)
        return 1 + sum(map(len, self._lines[:own])) + self._lines[own].before(waiting)

    def size_of(self, flow: str) -> int:
        """Return how many tickets of a flow wait."""
        return sum(line.size_of(flow) for line in self._lines)

    def surplus(self, newest: Waiting) -> Waiting:
        """Return the ticket that leaves when there are too many: of the worst class, of whom most wait.

        Args:
            newest: The ticket that came last, which leaves where no flow of its class has more than its own.
        """
        ask = newest.ticket.ask
        for line in reversed(self._lines[rank(ask.klass) :]):
            longest = line.longest() if line else None
            if longest is None:
                continue
            if line is self._lines[rank(ask.klass)] and longest.size <= line.size_of(ask.flow):
                return newest
            return line.newest_of(longest.name) or newest
        return newest

    def overdue(self, now: float) -> list[Waiting]:
        """Take out the tickets whose deadline has passed at `now` (monotonic seconds)."""
        passed: list[Waiting] = []
        while self._moments and self._moments[0][0] <= now:
            ticket_id = heappop(self._moments)[1]
            waiting = self.entries.get(ticket_id)
            if waiting is not None and waiting.ticket.ask.is_overdue(now):
                self.remove(ticket_id)
                passed.append(waiting)
        return passed

    def due(self) -> float:
        """Return when time alone changes something for a ticket here (monotonic seconds), or infinity."""
        while self._moments and self._moments[0][1] not in self.entries:
            heappop(self._moments)
        return self._moments[0][0] if self._moments else math.inf

    def add(self, waiting: Waiting, now: float) -> float:
        """Put a ticket in its place; return when time alone changes something for it (monotonic seconds)."""
        entries, ticket_id = self.entries, waiting.ticket.id
        is_last = not entries or ticket_id > next(reversed(entries))
        is_first = not is_last and ticket_id < next(iter(entries))
        entries[ticket_id] = waiting
        if is_first:
            entries.move_to_end(ticket_id, last=False)
        elif not is_last:
            self.entries = OrderedDict(sorted(entries.items()))
        self._lines[rank(waiting.ticket.ask.klass)].add(waiting)
        due = math.inf
        for moment in waiting.moments(now):
            due = min(due, moment)
            self._note(ticket_id, moment, now)
        return due

    def remove(self, ticket_id: int) -> Waiting | None:
        """Take a ticket out; None when it is not here."""
        if (waiting := self.entries.pop(ticket_id, None)) is not None:
            self._lines[rank(waiting.ticket.ask.klass)].remove(waiting)
        return waiting

    def _in_order(self) -> Iterator[ClassLine]:
        """Yield the classes, a class that was passed too often in front."""
        if len(first := self._lines[rank(NORMAL)]) == len(self.entries):
            return iter((first,))
        lines = [line for line in self._lines if len(line)]
        last = self._lines[_LAST]
        passed = [line for line in lines if line.passed >= MOST_PASSED and line is not last]
        return chain(passed, (line for line in lines if line not in passed))

    def _start(self, line: ClassLine, waiting: Waiting) -> None:
        del self.entries[waiting.ticket.id]
        line.remove(waiting)
        line.passed = 0
        if len(self.entries) > len(line):
            self._note_passed(line)

    def _note_passed(self, line: ClassLine) -> None:
        for other in reversed(self._lines):
            if other is line:
                break
            other.passed = other.passed + 1 if len(other) else 0

    def _note(self, ticket_id: int, moment: float, now: float) -> None:
        """Keep a moment at which something may change for a ticket."""
        heappush(self._moments, (moment, ticket_id))
        if len(self._moments) > 64 + 4 * len(self.entries):
            self._forget_moments(now)

    def _forget_moments(self, now: float) -> None:
        """Drop the moments of tickets that have left."""
        self._moments = [
            (moment, ticket_id)
            for ticket_id, waiting in self.entries.items()
            for moment in waiting.moments(now)
        ]
        heapify(self._moments)

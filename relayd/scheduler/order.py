"""Whose turn is it among those who wait for one model (fair shares, classes)?

Deficit round robin with a quantum of one token, whose rounds are counted instead of walked: a flow that was
given work worth 900 tokens has its next turn 900 rounds later. A flow that comes anew joins the current
round, so that no flow saves up turns, and a debt is kept while others wait.

Classes come before shares. A class that was passed `MOST_PASSED` times runs next, whatever else waits: that
bounds how long batches wait for people.
"""

from collections.abc import Iterable, Iterator
from heapq import heapify, heappop, heappush

import msgspec

from relayd.scheduler.waiting import Waiting

MOST_PASSED = 16
"""Tickets of better classes that may start in a row while one of a worse class waits."""

_MOST_FLOWS = 1024
"""Flows that are remembered, beyond those that wait."""


class Flow(msgspec.Struct, eq=False):
    """Tickets that share slots as one: those of a key, of a session, or of an address.

    Attributes:
        name: Whose they are.
        turn: The round in which it may start its next ticket.
        tickets: Those whose turn has not come, by id.
        aside: How many wait whose turn has come.
    """

    name: str
    turn: float
    tickets: dict[int, Waiting]
    aside: int = 0

    @property
    def size(self) -> int:
        """How many tickets wait."""
        return len(self.tickets) + self.aside

    def first(self) -> int | None:
        """Return the id of its oldest ticket whose turn has not come."""
        return next(iter(self.tickets), None)


class ClassLine:
    """Tickets of one model and class: fair among flows, first in, first out within each.

    A ticket whose turn has come and that cannot run, because it is held for a replica or stays away from one,
    is set aside: it stands in front until it runs.

    Attributes:
        passed: How many tickets of better classes have started since one of these did, or was alone.
    """

    def __init__(self) -> None:
        self.passed = 0
        self._flows: dict[str, Flow] = {}
        self._order: list[tuple[float, int, str]] = []  # a heap; what is no longer so is passed over
        self._aside: dict[int, Waiting] = {}
        self._round = 0.0
        self._waiting = 0
        self._active = 0  # flows that wait

    def __repr__(self) -> str:
        return f"<ClassLine waiting={self._waiting} aside={len(self._aside)} flows={len(self._flows)}>"

    def __len__(self) -> int:
        return self._waiting

    def turns(self) -> Iterator[Waiting]:
        """Yield tickets in the order in which they may run; each is taken or set aside before the next."""
        if self._aside:
            yield from [self._aside[ticket_id] for ticket_id in sorted(self._aside)]
        while (waiting := self._first()) is not None:
            yield waiting

    def aside(self) -> Iterable[Waiting]:
        """Return the tickets that were set aside."""
        return self._aside.values()

    def add(self, waiting: Waiting) -> None:
        """Put a ticket in its place; one that comes back from a failed attempt has had its turn."""
        flow = self._flow(waiting.ticket.ask.flow)
        ticket_id = waiting.ticket.id
        self._waiting += 1
        self._active += not flow.size
        if waiting.attempts:
            self._aside[ticket_id] = waiting
            flow.aside += 1
            return
        if not flow.tickets:
            flow.turn = max(flow.turn, self._round)
        is_last = not flow.tickets or ticket_id > next(reversed(flow.tickets))
        flow.tickets[ticket_id] = waiting
        if not is_last:
            flow.tickets = dict(sorted(flow.tickets.items()))
        if flow.first() == ticket_id:
            self._enter(flow)

    def remove(self, waiting: Waiting) -> None:
        """Take a ticket out."""
        flow = self._flows[waiting.ticket.ask.flow]
        self._waiting -= 1
        if self._aside.pop(waiting.ticket.id, None) is not None:
            flow.aside -= 1
        else:
            self._leave(flow, waiting.ticket.id)
        self._active -= not flow.size

    def set_aside(self, waiting: Waiting) -> None:
        """Keep a ticket in front whose turn has come."""
        ticket_id = waiting.ticket.id
        if ticket_id not in self._aside:
            flow = self._flows[waiting.ticket.ask.flow]
            flow.aside += 1
            self._leave(flow, ticket_id)
            self._aside[ticket_id] = waiting

    def charge(self, name: str, tokens: float) -> None:
        """Take note of what a flow was given, or of how much less or more that was than expected (tokens)."""
        flow = self._flow(name)
        flow.turn += tokens
        self._round += tokens / max(self._active, 1)
        self._enter(flow)

    def before(self, waiting: Waiting) -> int:
        """Return how many tickets probably start before one, if all are worth the same."""
        ticket_id, ask = waiting.ticket.id, waiting.ticket.ask
        ahead = sum(1 for other in self._aside if other < ticket_id)
        if ticket_id in self._aside:
            return ahead
        own = self._flows[ask.flow]
        rank = list(own.tickets).index(ticket_id)
        return ahead + sum(
            rank if flow is own else min(rank + 1, len(flow.tickets)) for flow in self._flows.values()
        )

    def longest(self) -> Flow | None:
        """Return the flow of which most tickets wait."""
        return max(self._flows.values(), key=lambda flow: flow.size, default=None)

    def size_of(self, name: str) -> int:
        """Return how many tickets of a flow wait."""
        flow = self._flows.get(name)
        return flow.size if flow else 0

    def newest_of(self, name: str) -> Waiting | None:
        """Return the newest ticket of a flow."""
        flow = self._flows.get(name)
        if flow is None or not flow.tickets:
            return None
        return next(reversed(flow.tickets.values()))

    def _first(self) -> Waiting | None:
        """Return the ticket whose turn it is."""
        order = self._order
        while order:
            turn, ticket_id, name = order[0]
            flow = self._flows.get(name)
            if flow is not None and turn == flow.turn and flow.first() == ticket_id:
                return flow.tickets[ticket_id]
            heappop(order)
        return None

    def _leave(self, flow: Flow, ticket_id: int) -> None:
        was_first = flow.first() == ticket_id
        del flow.tickets[ticket_id]
        if was_first:
            self._enter(flow)

    def _enter(self, flow: Flow) -> None:
        first = flow.first()
        if first is None:
            return
        heappush(self._order, (flow.turn, first, flow.name))
        if len(self._order) > 64 + 4 * len(self._flows):
            flows = (one for one in self._flows.values() if one.tickets)
            self._order = [(one.turn, one.first() or 0, one.name) for one in flows]
            heapify(self._order)

    def _flow(self, name: str) -> Flow:
        if flow := self._flows.get(name):
            return flow
        if len(self._flows) >= _MOST_FLOWS + self._waiting:
            kept = [one for one in self._flows.values() if one.size or one.turn > self._round]
            if len(kept) >= _MOST_FLOWS + self._waiting:
                kept = [one for one in kept if one.size]
            self._flows = {one.name: one for one in kept}
        flow = self._flows[name] = Flow(name, self._round, {})
        return flow

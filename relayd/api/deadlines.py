"""When is a connection's time up: one timer for all of them (timer wheel)?

A deadline that is moved back, or taken back, is only written down: when the old one comes, it is seen that
there is a later one, or none. So a connection that carries one request after the other is looked at once in
a while, and not for each of them.
"""

import asyncio
from heapq import heappop, heappush
from itertools import count
from math import inf
from typing import Protocol


class Owner(Protocol):
    """Who has a deadline."""

    def overdue(self) -> None:
        """Its time is up."""
        ...


class _Entry:
    """The deadline of one owner.

    Attributes:
        owner: Whose it is; None once that was forgotten.
        due: When its time is up; infinite while it has all the time there is.
        look_at: When it is looked at, which is not later.
    """

    __slots__ = ("due", "look_at", "owner")

    def __init__(self, owner: Owner) -> None:
        self.owner: Owner | None = owner
        self.due = self.look_at = inf


class Deadlines:
    """Deadlines of many connections, at most one each, behind a single timer of the loop.

    Args:
        loop: The running loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._time = loop.time
        self._entries: dict[Owner, _Entry] = {}
        self._looks: list[tuple[float, int, _Entry]] = []  # a heap; an entry's own `look_at` is what counts
        self._order = count()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = inf

    def __repr__(self) -> str:
        waiting = sum(entry.due < inf for entry in self._entries.values())
        return f"<Deadlines waiting={waiting} looks={len(self._looks)}>"

    def give(self, owner: Owner, seconds: float) -> None:
        """Give `owner` a deadline in place of the one that it has."""
        entry = self._entries.get(owner)
        if entry is None:
            entry = self._entries[owner] = _Entry(owner)
        entry.due = due = self._time() + seconds
        if due < entry.look_at:
            self._enter(entry)

    def drop(self, owner: Owner) -> None:
        """Take the deadline of `owner` back, if it has one."""
        if (entry := self._entries.get(owner)) is not None:
            entry.due = inf

    def forget(self, owner: Owner) -> None:
        """Keep nothing of an owner that gets no deadline any more."""
        if (entry := self._entries.pop(owner, None)) is not None:
            entry.due, entry.owner = inf, None

    def close(self) -> None:
        """Forget every deadline."""
        self._entries.clear()
        self._looks.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer, self._timer_due = None, inf

    def _enter(self, entry: _Entry) -> None:
        """Look at an entry when it is due."""
        entry.look_at = entry.due
        heappush(self._looks, (entry.due, next(self._order), entry))
        if entry.due < self._timer_due:
            self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_due = self._looks[0][0]
        self._timer = self._loop.call_at(self._timer_due, self._look)

    def _look(self) -> None:
        """End what is overdue, and set the timer for what is to be looked at next."""
        self._timer, self._timer_due = None, -inf  # set again below, once
        now = self._time() + 0.001  # a timer may come a little early
        looks = self._looks
        try:
            while looks and looks[0][0] <= now:
                look_at, _, entry = heappop(looks)
                if look_at == entry.look_at:  # else it was looked at before, or will be
                    self._judge(entry, now)
        finally:
            self._timer_due = inf
            if looks:
                self._set_timer()

    def _judge(self, entry: _Entry, now: float) -> None:
        """End what is overdue, and look again later at what has more time."""
        entry.look_at = inf
        if now < entry.due < inf:
            self._enter(entry)
        elif (owner := entry.owner) is not None:
            del self._entries[owner]
            if entry.due < inf:
                owner.overdue()

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


class _DueTime:
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

    Attributes:
        time: Returns the loop's time.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.time = loop.time
        self._deadlines: dict[Owner, _DueTime] = {}
        self._looks: list[tuple[float, int, _DueTime]] = []  # a heap; the own `look_at` is what counts
        self._order = count()
        self.timer: asyncio.TimerHandle | None = None
        self.timer_due = inf

    def __repr__(self) -> str:
        waiting = sum(given.due < inf for given in self._deadlines.values())
        return f"<Deadlines waiting={waiting} looks={len(self._looks)}>"

    def give(self, owner: Owner, seconds: float) -> None:
        """Give `owner` a deadline in place of the one that it has."""
        given = self._deadlines.get(owner)
        if given is None:
            given = self._deadlines[owner] = _DueTime(owner)
        given.due = due = self.time() + seconds
        if due < given.look_at:
            self._enter(given)

    def drop(self, owner: Owner) -> None:
        """Take the deadline of `owner` back, if it has one."""
        if (given := self._deadlines.get(owner)) is not None:
            given.due = inf

    def forget(self, owner: Owner) -> None:
        """Keep nothing of an owner that gets no deadline any more."""
        if (given := self._deadlines.pop(owner, None)) is not None:
            given.due, given.owner = inf, None

    def close(self) -> None:
        """Forget every deadline."""
        self._deadlines.clear()
        self._looks.clear()
        if self.timer is not None:
            self.timer.cancel()
            self.timer, self.timer_due = None, inf

    def _enter(self, given: _DueTime) -> None:
        """Look at a deadline when it is due."""
        given.look_at = given.due
        heappush(self._looks, (given.due, next(self._order), given))
        if given.due < self.timer_due:
            self._set_timer()

    def _set_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
        self.timer_due = self._looks[0][0]
        self.timer = self._loop.call_at(self.timer_due, self._look)

    def _look(self) -> None:
        """End what is overdue, and set the timer for what is to be looked at next."""
        self.timer, self.timer_due = None, -inf  # set again below, once
        now = self.time() + 0.001  # a timer may come a little early
        looks = self._looks
        try:
            while looks and looks[0][0] <= now:
                look_at, _, given = heappop(looks)
                if look_at == given.look_at:  # else it was looked at before, or will be
                    self._judge(given, now)
        finally:
            self.timer_due = inf
            if looks:
                self._set_timer()

    def _judge(self, given: _DueTime, now: float) -> None:
        """End what is overdue, and look again later at what has more time."""
        given.look_at = inf
        if now < given.due < inf:
            self._enter(given)
        elif (owner := given.owner) is not None:
            del self._deadlines[owner]
            if given.due < inf:
                owner.overdue()

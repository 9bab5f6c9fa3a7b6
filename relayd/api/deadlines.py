"""When is a connection's time up: one timer for all of them (timer wheel)?

Each kind of deadline has a length of its own, so the connections that were given one wait in the
order in which they are due, and only the first of each kind is looked at.
"""

import asyncio
from typing import Protocol


class Owner(Protocol):
    """Who has a deadline."""

    def overdue(self) -> None:
        """Its time is up."""
        ...


class Deadlines:
    """Deadlines of many connections, at most one each, behind a single timer of the loop.

    Args:
        loop: The running loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._kinds: dict[float, dict[Owner, float]] = {}
        self._kind_of: dict[Owner, dict[Owner, float]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = 0.0

    def __repr__(self) -> str:
        return f"<Deadlines waiting={len(self._kind_of)} kinds={len(self._kinds)}>"

    def give(self, owner: Owner, seconds: float) -> None:
        """Give `owner` a deadline in place of the one that it has."""
        if (kind := self._kind_of.get(owner)) is not None:
            del kind[owner]
        kind = self._kinds.setdefault(seconds, {})
        self._kind_of[owner] = kind
        kind[owner] = due = self._loop.time() + seconds
        if self._timer is None or due < self._timer_due:
            self._set_timer(due)

    def drop(self, owner: Owner) -> None:
        """Take the deadline of `owner` back, if it has one."""
        if (kind := self._kind_of.pop(owner, None)) is not None:
            del kind[owner]

    def close(self) -> None:
        """Forget every deadline."""
        self._kinds.clear()
        self._kind_of.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_due = due
        self._timer = self._loop.call_at(due, self._look)

    def _look(self) -> None:
        """End what is overdue, and set the timer for what is due next."""
        self._timer = None
        now = self._loop.time() + 0.001  # a timer may come a little early
        for seconds, kind in list(self._kinds.items()):
            while kind:
                owner, due = next(iter(kind.items()))
                if due > now:
                    break
                self.drop(owner)
                owner.overdue()
            if not kind:
                self._kinds.pop(seconds, None)
        dues = [next(iter(kind.values())) for kind in self._kinds.values() if kind]
        if dues and self._timer is None:
            self._set_timer(min(dues))

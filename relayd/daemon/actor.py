"""Who feeds the scheduler, and who carries out what it decides?"""

import asyncio
import math
from collections import deque
from collections.abc import Callable
from typing import Any

from relayd.clock import Clock
from relayd.scheduler import Effect, Event, Scheduler, Tick

Executor = Callable[[Any], None]
"""Carries out one kind of effect; returns at once, reports back as an event."""


class Actor:
    """The one owner of a scheduler.

    Events are handled one after the other, in the order they were posted, also when an
    executor posts while it runs. Nothing here waits for anything.

    Args:
        scheduler: Decides.
        clock: Stamps events.
    """

    def __init__(self, scheduler: Scheduler, clock: Clock) -> None:
        self._scheduler = scheduler
        self._clock = clock
        self._executors: dict[type[Effect], Executor] = {}
        self._inbox: deque[Event] = deque()
        self._busy = False
        self._timer: asyncio.TimerHandle | None = None

    def on(self, effect: type[Effect], executor: Executor) -> None:
        """Have every effect of one kind carried out by `executor`."""
        self._executors[effect] = executor

    def post(self, event: Event) -> None:
        """Tell the scheduler what happened; effects run before this returns, unless nested."""
        self._inbox.append(event)
        if self._busy:
            return
        self._busy = True
        try:
            while self._inbox:
                for effect in self._scheduler.handle(self._inbox.popleft(), self._clock.monotonic()):
                    self._executors[type(effect)](effect)
        finally:
            self._busy = False
        self._set_timer()

    def close(self) -> None:
        """Stop the timer; events posted from now on still run."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self) -> None:
        due = self._scheduler.tick_due
        if self._timer is not None and self._timer.when() <= due:
            return
        self.close()
        if due < math.inf:
            delay = max(0.0, due - self._clock.monotonic())
            self._timer = asyncio.get_running_loop().call_later(delay, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self.post(Tick())

"""The one owner of the scheduler: it feeds events in and has effects carried out (actor)."""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, assert_never, cast

from relayd.clock import Clock
from relayd.endpoint import Endpoint
from relayd.scheduler import (
    Dispatch,
    Effect,
    Event,
    Evict,
    Exchange,
    Finished,
    Grant,
    Idle,
    Load,
    LoadElsewhere,
    Move,
    Preempt,
    Refuse,
    Scheduler,
    Tick,
    Ticket,
)


class Timer(Protocol):
    """A call that is due later."""

    def cancel(self) -> None:
        """Do not make it."""
        ...


CallLater = Callable[[float, Callable[[], None]], Timer]
"""Has a function called in so many seconds."""


@dataclass(frozen=True, slots=True)
class Executors:
    """What carries out each kind of effect: it returns at once, and reports back as an event."""

    dispatch: Callable[[Dispatch], None]
    refuse: Callable[[Refuse], None]
    idle: Callable[[Idle], None]
    move: Callable[[Move], None] = lambda _: None
    preempt: Callable[[Preempt], None] = lambda _: None
    grant: Callable[[Grant], None] = lambda _: None
    load: Callable[[Load], None] = lambda _: None
    evict: Callable[[Evict], None] = lambda _: None
    load_elsewhere: Callable[[LoadElsewhere], None] = lambda _: None

    def carry_out(self, effect: Effect) -> None:
        """Hand an effect to its executor; a kind without one is an error of the type checker."""
        match effect:
            case Dispatch():
                self.dispatch(effect)
            case Refuse():
                self.refuse(effect)
            case Move():
                self.move(effect)
            case Preempt():
                self.preempt(effect)
            case Idle():
                self.idle(effect)
            case Grant():
                self.grant(effect)
            case Load():
                self.load(effect)
            case Evict():
                self.evict(effect)
            case LoadElsewhere():
                self.load_elsewhere(effect)
            case _:
                assert_never(effect)


class Actor:
    """Owns a scheduler.

    Events are handled one after the other, in the order they were posted, also when an
    executor posts while it runs. Nothing here waits for anything.

    Args:
        scheduler: Decides.
        clock: Stamps events.
        call_later: Makes the timer for the scheduler's next tick; by default the running loop.
    """

    def __init__(self, scheduler: Scheduler, clock: Clock, call_later: CallLater | None = None) -> None:
        self._scheduler = scheduler
        self._clock = clock
        self._call_later = call_later or _call_later
        self._executors: Executors | None = None
        self._inbox: deque[Event] = deque()
        self._busy = False
        self._timer: Timer | None = None
        self._timer_due = math.inf

    def __repr__(self) -> str:
        timer = "set" if self._timer else "none"
        return f"<Actor inbox={len(self._inbox)} timer={timer} {self._scheduler!r}>"

    def start(self, executors: Executors) -> None:
        """Have effects carried out by these executors; events can be posted from now on."""
        self._executors = executors

    def post(self, event: Event) -> None:
        """Give the scheduler an event; effects run before this returns, unless nested.

        Raises:
            RuntimeError: There are no executors yet, so an effect would be lost.
        """
        if self._busy:
            self._inbox.append(event)
            return
        if self._executors is None:
            raise RuntimeError(f"{event!r} was posted before there were executors")
        self._carry_out(self._scheduler.handle(event, self._clock.monotonic()))

    def place_now(self, ticket: Ticket, now: float) -> Endpoint | None:
        """Let a request run at `now`, and return where; None, where it has to wait, asks for `Arrived`."""
        return None if self._busy else self._scheduler.place_now(ticket, now)

    def finish(self, ticket_id: int, exchange: Exchange | None, now: float) -> None:
        """Take a request's slots back: what posting `Finished` does, without an event where none waits."""
        if self._busy:
            self._inbox.append(Finished(ticket_id, exchange))
        elif effects := self._scheduler.finish(ticket_id, exchange, now):
            self._carry_out(effects)
        elif self._scheduler.tick_due < self._timer_due:
            self._set_timer()

    def _carry_out(self, effects: Iterable[Effect]) -> None:
        """Carry out effects, then what is posted meanwhile."""
        scheduler, executors, inbox = self._scheduler, cast("Executors", self._executors), self._inbox
        self._busy = True
        try:
            for effect in effects:
                executors.carry_out(effect)
            while inbox:
                for effect in scheduler.handle(inbox.popleft(), self._clock.monotonic()):
                    executors.carry_out(effect)
        finally:
            self._busy = False
        if scheduler.tick_due < self._timer_due:
            self._set_timer()

    def close(self) -> None:
        """Stop the timer; events posted from now on still run."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer, self._timer_due = None, math.inf

    def _set_timer(self) -> None:
        self.close()
        self._timer_due = due = self._scheduler.tick_due
        self._timer = self._call_later(max(0.0, due - self._clock.monotonic()), self._tick)

    def _tick(self) -> None:
        self._timer, self._timer_due = None, math.inf
        self.post(Tick())


def _call_later(seconds: float, callback: Callable[[], None]) -> Timer:
    return asyncio.get_running_loop().call_later(seconds, callback)

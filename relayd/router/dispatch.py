"""How does a request wait for its slot, and how is the slot surely given back (lease)?"""

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from types import TracebackType
from typing import Protocol, Self

from relayd.clock import Clock
from relayd.endpoint import Endpoint
from relayd.errors import (
    NotLoadedError,
    QueueFullError,
    QueueTimeoutError,
    ReplicaStoppedError,
    RequestError,
    StoppingError,
    UnavailableError,
    UpstreamError,
)
from relayd.router.eager import Cancellable, Pause, current
from relayd.router.exchange import ExchangeRecord
from relayd.router.headers import Call
from relayd.router.suspects import Suspects
from relayd.router.upstream import Upstream
from relayd.scheduler import (
    Abandoned,
    Answering,
    Arrived,
    Ask,
    AttemptFailed,
    Cleared,
    Dispatch,
    Event,
    Exchange,
    Finished,
    Inherited,
    Move,
    Overdue,
    Refusal,
    Refuse,
    Ticket,
)

_REFUSALS: dict[Refusal, tuple[type[RequestError], str, str]] = {
    Refusal.QUEUE_FULL: (QueueFullError, "The queue is full", "Try again later, or raise queue.depth."),
    Refusal.TIMED_OUT: (
        QueueTimeoutError,
        "The request waited too long",
        "Try again later, or add slots or replicas.",
    ),
    Refusal.UNAVAILABLE: (
        UnavailableError,
        "The model cannot serve",
        "`relayd status` and `relayd logs` on the server show why.",
    ),
    Refusal.NOT_LOADED: (
        NotLoadedError,
        "The model is not loaded",
        "Ask an operator to free memory or to load it: `relayd status` on the server shows what holds it.",
    ),
    Refusal.ATTEMPTS_SPENT: (
        UpstreamError,
        "every replica that was tried failed",
        "`relayd logs` shows why.",
    ),
}


ENDING = StoppingError(
    "This relayd was stopped or replaced before the request was finished.",
    remedy="Send it again.",
    retry_after_seconds=1,
)
"""Ends the requests that outlast a daemon's drain timeout."""

STOPPED = ReplicaStoppedError(
    "The replica was stopped before the answer was finished.",
    remedy="Send the request again.",
    retry_after_seconds=1,
)
"""Ends the answers that outlast a replica's drain timeout."""


class Lease:
    """One request's place in the schedule; leaving the `with` block gives its slot back.

    The scheduler is asked on entering, and has often answered before the block begins: `placed`
    then returns at once. Whatever ends the block (an answer, an error, a client that left) ends
    the lease and the record, and exactly once: slots cannot leak.

    Attributes:
        record: Where it is noted what happens to the request.
        call: What replicas get of it; None until one does.
    """

    def __init__(self, dispatcher: "Dispatcher", ticket: Ticket, record: ExchangeRecord) -> None:
        self.record = record
        self._dispatcher = dispatcher
        self._ticket = ticket
        self._place: Endpoint | RequestError | None = None
        self._pause: Pause | None = None
        self.call: Call | None = None
        self._owing: Upstream | None = None
        self._is_moved = False
        self._runner: Cancellable | None = None
        self._interruption: RequestError | None = None

    @property
    def suspects(self) -> Suspects:
        """The requests that may have crashed replicas."""
        return self._dispatcher.suspects

    async def placed(self) -> Endpoint:
        """Wait for a slot and return where it is.

        Raises:
            RequestError: The queue is full, the wait was too long, no replica can serve,
                or every attempt failed.
        """
        while self._place is None:
            self._pause = Pause()
            await self._pause
        if isinstance(self._place, RequestError):
            raise self._place
        self.record.placed(self._place)
        return self._place

    def hold(self) -> Callable[[], None]:
        """Keep the slots of a replica that still works on this request, until what is returned is called."""
        release, endpoint, call = self._dispatcher.hold(self._ticket), self.record.endpoint, self.call

        def ended() -> None:
            if endpoint and call:
                self._dispatcher.suspects.lost(endpoint, call)
            release()

        return ended

    def hung_up(self) -> None:
        """Take note that the replica hung up on this request, whose fault that may be."""
        if self.record.endpoint and self.call:
            clear = partial(self._dispatcher.clear, self._ticket)
            self._dispatcher.suspects.lost(self.record.endpoint, self.call, clear)

    def failed(self, *, sent: bool = False, hung_up: bool = False) -> None:
        """Report a failed attempt; `placed` then waits for the next replica.

        Args:
            sent: Whether the client has seen a part of the answer.
            hung_up: Whether the replica hung up, so that this request may have ended it.
        """
        self._place = None
        self._dispatcher.post(AttemptFailed(self._ticket.id, sent, hung_up))

    def sent_on(self, upstream: Upstream | None) -> None:
        """Take note of the connection on which the request was sent; None once its answer has begun."""
        self._owing = upstream

    def waits_since(self, moment: float) -> bool:
        """Return whether a replica has owed the first byte since a moment (monotonic seconds)."""
        placed_at = self.record.placed_at
        return self._owes_first_byte() and placed_at is not None and placed_at <= moment

    def _owes_first_byte(self) -> bool:
        return self._owing is not None and not self._owing.answered

    def move(self) -> None:
        """Have the request tried elsewhere, unless a byte of its answer has come."""
        if self._owes_first_byte() and self._runner and not self._interruption:
            self._is_moved = True
            self._runner.cancel()

    def moved(self) -> bool:
        """Return whether the attempt was ended to be made elsewhere, and not by the client."""
        is_moved, self._is_moved = self._is_moved, False
        return is_moved and self._runner is not None and not self._runner.uncancel()

    def runs_on(self, endpoint: Endpoint) -> bool:
        """Return whether an incarnation works on this request."""
        return self._place is not None and self.record.endpoint == endpoint

    def settle(self, answer: Dispatch | Refuse) -> None:
        """Take the scheduler's answer."""
        if self._place is None:
            self._settle(answer.endpoint if isinstance(answer, Dispatch) else _refusal(answer))

    def _settle(self, place: Endpoint | RequestError) -> None:
        self._place = place
        if self._pause is not None:
            self._pause.go_on()

    def interrupt(self, error: RequestError) -> None:
        """End the request with `error` where it is: as a refusal before its answer, else within it."""
        if self._place is None:
            self._settle(error)
        elif self._runner and not self._interruption:
            self._interruption = error
            self._runner.cancel()

    def interrupt_on(self, endpoint: Endpoint, error: RequestError) -> None:
        """End the request with `error` if a replica has begun to answer it; else it goes elsewhere.

        Args:
            endpoint: The incarnation that is about to be ended.
            error: Why.
        """
        if self.record.first_byte_at and self.record.endpoint == endpoint:
            self.interrupt(error)

    def interrupted(self) -> RequestError | None:
        """Return why the request was interrupted, which is to be answered now; None when its client left."""
        if self._interruption and self._runner:
            self._runner.uncancel()
        return self._interruption

    def __enter__(self) -> Self:
        self._runner = current()
        self.record.queued(self._ticket.ask)
        self._dispatcher.enter(self._ticket, self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._dispatcher.leave(self._ticket, self.record.end(error))


class Holder(Protocol):
    """Who is answered for a ticket: its lease here, or a daemon that has handed over."""

    def settle(self, answer: Dispatch | Refuse) -> None:
        """Take the scheduler's answer."""
        ...

    def interrupt(self, error: RequestError) -> None:
        """End the request, if it is served here."""
        ...

    def interrupt_on(self, endpoint: Endpoint, error: RequestError) -> None:
        """End the request, if it is served here and this incarnation has begun to answer it."""
        ...


class Dispatcher:
    """Turns requests into tickets, and the scheduler's effects into answers.

    Args:
        post: Gives the scheduler an event.
        clock: Gives tickets their deadline.
        max_wait_seconds: How long a request may wait for a slot.
        suspect_seconds: How long a replica may owe the first byte of an answer before others are preferred.
        on_starved: Called with the name of a replica in which an allocation has failed.

    Attributes:
        suspects: The requests that may have crashed replicas.
    """

    def __init__(
        self,
        post: Callable[[Event], None],
        clock: Clock,
        *,
        max_wait_seconds: float,
        suspect_seconds: float = 60,
        on_starved: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._post = post
        self._clock = clock
        self._max_wait_seconds = max_wait_seconds
        self._suspect_seconds = suspect_seconds
        self._overdue: set[int] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        self._ids = count(1)
        self._holders: dict[int, Holder] = {}
        self.suspects = Suspects(clock, self._calls_on, on_starved)
        self._closed: RequestError | None = None
        self._handed_over = False

    def __repr__(self) -> str:
        return f"<Dispatcher open={len(self._holders)}>"

    def open(self, ask: Ask, record: ExchangeRecord) -> Lease:
        """Return a lease for what `ask` asks for."""
        return Lease(self, Ticket(self.next_id(), ask), record)

    def deadline(self) -> float:
        """Return until when a request that arrives now may wait (monotonic seconds)."""
        return self._clock.monotonic() + self._max_wait_seconds

    def next_id(self) -> int:
        """Return the id of a new ticket, which is behind all that have one already."""
        return next(self._ids)

    def configure(self, *, max_wait_seconds: float, suspect_seconds: float) -> None:
        """Take new limits, for requests that come from now on."""
        self._max_wait_seconds = max_wait_seconds
        self._suspect_seconds = suspect_seconds
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._schedule_sweep()

    @property
    def open_count(self) -> int:
        """How many requests wait or run."""
        return len(self._holders)

    def post(self, event: Event) -> None:
        """Post what happened to a request."""
        self._post(event)

    def redirect(self, post: Callable[[Event], None]) -> None:
        """Post elsewhere from now on: to the scheduler of a daemon that has taken over."""
        self._post = post
        self._handed_over = True

    def enter(self, ticket: Ticket, holder: Holder) -> None:
        """Ask for a ticket's slot on behalf of its holder."""
        self._holders[ticket.id] = holder
        if self._sweeper is None:
            self._schedule_sweep()
        if self._closed:
            holder.interrupt(self._closed)
        else:
            self.post(Arrived(ticket))

    def inherit(self, running: Inherited, holder: Holder) -> None:
        """Take note of a request that runs already."""
        self._holders[running.ticket.id] = holder
        self.post(running)

    def hold(self, ticket: Ticket) -> Callable[[], None]:
        """Keep the slots of a ticket whose replica still works on it, until what is returned is called.

        A daemon that has handed over does not: its successor counts them as free a moment too early.
        """
        if self._handed_over:
            return lambda: None
        held_id = self.next_id()
        self.post(Abandoned(ticket.id, held_id))
        return lambda: self.post(Finished(held_id))

    def on_move(self, effect: Move) -> None:
        """Have a request tried elsewhere that waits for its first byte."""
        if isinstance(holder := self._holders.get(effect.ticket_id), Lease):
            holder.move()

    def _schedule_sweep(self) -> None:
        loop = asyncio.get_running_loop()
        self._sweeper = loop.call_later(max(self._suspect_seconds / 4, 0.01), self._sweep)

    def _sweep(self) -> None:
        """Report whose first byte is overdue, and whose has come after all."""
        self._sweeper = None
        self._overdue &= self._holders.keys()
        if self._handed_over or not self._holders:
            return
        since = self._clock.monotonic() - self._suspect_seconds
        for ticket_id, holder in tuple(self._holders.items()):
            if isinstance(holder, Lease) and holder.waits_since(since):
                self._overdue.add(ticket_id)
                self.post(Overdue(ticket_id))
            elif ticket_id in self._overdue:
                self._overdue.remove(ticket_id)
                self.post(Answering(ticket_id))
        self._schedule_sweep()

    def clear(self, ticket: Ticket) -> None:
        """Take note that a request did not end its replica."""
        if ticket.id in self._holders and not self._handed_over:
            self.post(Cleared(ticket.id))

    def _calls_on(self, endpoint: Endpoint) -> Iterator[Call]:
        for holder in self._holders.values():
            if isinstance(holder, Lease) and holder.call and holder.runs_on(endpoint):
                yield holder.call

    def leave(self, ticket: Ticket, exchange: Exchange | None = None) -> None:
        """Forget a ticket and give its slot back; `exchange` is None when what happened is not known."""
        del self._holders[ticket.id]
        self.post(Finished(ticket.id, exchange))

    def close(self, error: RequestError) -> None:
        """End every request that is open with `error`, and each that comes from now on: the daemon ends."""
        self._closed = error
        for holder in tuple(self._holders.values()):
            holder.interrupt(error)

    def interrupt_on(self, endpoint: Endpoint, error: RequestError) -> None:
        """End every answer that an incarnation has begun with `error`: it is about to be ended."""
        for holder in tuple(self._holders.values()):
            holder.interrupt_on(endpoint, error)

    def on_answer(self, effect: Dispatch | Refuse) -> None:
        """Pass the scheduler's decision on to the ticket's holder."""
        if holder := self._holders.get(effect.ticket_id):
            holder.settle(effect)


def _refusal(refuse: Refuse) -> RequestError:
    kind, summary, remedy = _REFUSALS[refuse.refusal]
    message = f"{summary}: {refuse.reason}."
    return kind(message, remedy=remedy, retry_after_seconds=refuse.retry_after_seconds)

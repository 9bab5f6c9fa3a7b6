"""Who asks the scheduler for slots, and who gets its answers (dispatcher)?"""

from collections.abc import Callable, Iterator
from itertools import count
from typing import Protocol

from relayd.clock import Clock
from relayd.endpoint import Endpoint
from relayd.errors import (
    ReplicaStoppedError,
    RequestError,
    StoppingError,
    UpstreamError,
)
from relayd.router.exchange import ExchangeRecord
from relayd.router.headers import Call
from relayd.router.lease import Lease
from relayd.router.longwaits import LongWaits
from relayd.router.suspects import Suspects
from relayd.scheduler import (
    Abandoned,
    Arrived,
    Ask,
    Cleared,
    Dispatch,
    Event,
    Exchange,
    Finished,
    Inherited,
    KeptSlots,
    Move,
    Preempt,
    Refuse,
    Ticket,
)

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


SILENT = UpstreamError("The replica fell silent in the middle of this answer.", remedy="Send it again.")
"""Ends the answers of a stalled replica that cannot be continued."""


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


class DirectSchedule(Protocol):
    """A scheduler that is here, so that it can be called where it needs no event: the daemon's `Actor`."""

    def place_now(self, ticket: Ticket, now: float) -> Endpoint | None:
        """Let a request run at once, and return where; None, where it has to wait, asks for `Arrived`."""
        ...

    def finish(self, ticket_id: int, exchange: Exchange | None, now: float) -> None:
        """Take a request's slots back, as `Finished` does."""
        ...


class Dispatcher:
    """Turns requests into tickets, and the scheduler's effects into answers.

    Args:
        post: Gives the scheduler an event.
        clock: Gives tickets their deadline.
        max_wait_seconds: How long a request may wait for a slot; None is without limit.
        suspect_seconds: How long a replica may owe the first byte of an answer before others are preferred.
        head_hold_seconds: How long the head of a stream is held back; 0 holds it until its answer begins.
        on_starved: Called with the name of a replica in which an allocation has failed.
        schedule: Takes what most requests ask for without an event; None leaves it to `post`.

    Attributes:
        suspects: The requests that may have crashed replicas.
        post: Posts what happened to a request.
    """

    def __init__(
        self,
        post: Callable[[Event], None],
        clock: Clock,
        *,
        max_wait_seconds: float | None,
        suspect_seconds: float = 60,
        head_hold_seconds: float = 0,
        on_starved: Callable[[str], None] = lambda _: None,
        schedule: DirectSchedule | None = None,
    ) -> None:
        self.post = post
        self._schedule = schedule
        self._clock = clock
        self._max_wait_seconds = max_wait_seconds
        self._long_waits = LongWaits(
            self.leases,
            self._report,
            clock,
            suspect_seconds=suspect_seconds,
            head_hold_seconds=head_hold_seconds,
        )
        self._handed_over = False
        self._ids = count(1)
        self._holders: dict[int, Holder] = {}
        self.suspects = Suspects(clock, self._calls_on, on_starved)
        self._closed: RequestError | None = None

    def __repr__(self) -> str:
        return f"<Dispatcher open={len(self._holders)}>"

    def open(self, ask: Ask, record: ExchangeRecord) -> Lease:
        """Return a lease for what `ask` asks for."""
        return Lease(self, Ticket(next(self._ids), ask), record)

    def deadline(self) -> float | None:
        """Return until when a request that arrives now may wait (monotonic seconds); None: no limit."""
        return self.deadline_from(self._clock.monotonic())

    def deadline_from(self, now: float) -> float | None:
        """Return until when a request that arrives at `now` may wait, likewise."""
        seconds = self._max_wait_seconds
        return None if seconds is None else now + seconds

    def next_id(self) -> int:
        """Return the id of a new ticket, which is behind all that have one already."""
        return next(self._ids)

    def configure(
        self, *, max_wait_seconds: float | None, suspect_seconds: float, head_hold_seconds: float = 0
    ) -> None:
        """Take new limits, for requests that come from now on."""
        self._max_wait_seconds = max_wait_seconds
        self._long_waits.configure(suspect_seconds=suspect_seconds, head_hold_seconds=head_hold_seconds)

    def leases(self) -> Iterator[Lease]:
        """Yield every request that waits or runs here, in the order of arrival."""
        yield from (holder for holder in tuple(self._holders.values()) if isinstance(holder, Lease))

    @property
    def open_count(self) -> int:
        """How many requests wait or run."""
        return len(self._holders)

    def redirect(self, post: Callable[[Event], None]) -> None:
        """Post elsewhere from now on: to the scheduler of a daemon that has taken over."""
        self.post = post
        self._schedule = None
        self._handed_over = True
        self._long_waits.report_no_more()

    def enter(self, ticket: Ticket, holder: Holder, now: float | None = None) -> Endpoint | None:
        """Ask for a ticket's slot on behalf of its holder, and return where it has it at once.

        Args:
            ticket: Of the request.
            holder: Who is answered otherwise, later.
            now: Monotonic seconds; None asks the clock.
        """
        self._holders[ticket.id] = holder
        if self._long_waits.timer is None:
            self._long_waits.begin()
        if self._closed:
            holder.interrupt(self._closed)
            return None
        if (schedule := self._schedule) is not None:
            now = self._clock.monotonic() if now is None else now
            if (place := schedule.place_now(ticket, now)) is not None:
                return place
        self.post(Arrived(ticket))
        return None

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

    def on_preempt(self, effect: Preempt) -> None:
        """Have a request give its slots to others, or report that it keeps them for now."""
        if not self.give_back(effect.ticket_id, while_reading=effect.while_reading):
            self.post(KeptSlots(effect.ticket_id))

    def _report(self, event: Event) -> None:
        self.post(event)

    def clear(self, ticket: Ticket) -> None:
        """Take note that a request did not end its replica."""
        if ticket.id in self._holders and not self._handed_over:
            self.post(Cleared(ticket.id))

    def _calls_on(self, endpoint: Endpoint) -> Iterator[Call]:
        for holder in self._holders.values():
            if isinstance(holder, Lease) and holder.call and holder.runs_on(endpoint):
                yield holder.call

    def leave(self, ticket: Ticket, exchange: Exchange | None = None, now: float | None = None) -> None:
        """Forget a ticket and give its slot back.

        Args:
            ticket: Of the request.
            exchange: What happened to it; None when that is not known.
            now: Monotonic seconds; None asks the clock.
        """
        ticket_id = ticket.id
        del self._holders[ticket_id]
        if (schedule := self._schedule) is None:
            self.post(Finished(ticket_id, exchange))
        else:
            schedule.finish(ticket_id, exchange, self._clock.monotonic() if now is None else now)

    def close(self, error: RequestError) -> None:
        """End every request that is open with `error`, and each that comes from now on: the daemon ends."""
        self._closed = error
        for holder in tuple(self._holders.values()):
            holder.interrupt(error)

    def interrupt_on(self, endpoint: Endpoint, error: RequestError) -> None:
        """End every answer that an incarnation has begun with `error`: it is about to be ended."""
        for holder in tuple(self._holders.values()):
            holder.interrupt_on(endpoint, error)

    def give_back(self, ticket_id: int, *, while_reading: bool = False) -> bool:
        """Have a request give its slots to a more urgent one and go on later, where that is sound.

        Args:
            ticket_id: Which one.
            while_reading: Only while its prompt is being read.

        Returns:
            Whether it does: not one that waits, nor one whose answer cannot be continued.
        """
        holder = self._holders.get(ticket_id)
        return (
            isinstance(holder, Lease)
            and not self._handed_over
            and holder.give_back(while_reading=while_reading)
        )

    def leave_silent(
        self, replica: str, silent_seconds: float, can_go: Callable[[str], bool] = lambda _: True
    ) -> None:
        """Have what a replica works on tried, or continued, elsewhere.

        Args:
            replica: One that does not answer its probes, so that it is not busy with a long prefill.
            silent_seconds: How long nothing has come of what is moved.
            can_go: Returns whether another replica of a model takes requests.
        """
        since = self._clock.monotonic() - silent_seconds
        for holder in tuple(self._holders.values()):
            if isinstance(holder, Lease) and holder.is_silent_on(replica, since) and can_go(holder.model):
                holder.leave(SILENT)

    def on_answer(self, effect: Dispatch | Refuse) -> None:
        """Pass the scheduler's decision on to the ticket's holder."""
        if (holder := self._holders.get(effect.ticket_id)) is not None:
            holder.settle(effect)

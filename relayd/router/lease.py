"""How does a request wait for its slot, and how is the slot surely given back (lease)?"""

from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Protocol, Self

import msgspec

from relayd.endpoint import Endpoint
from relayd.errors import (
    ReplicaStoppedError,
    RequestError,
)
from relayd.router.eager import Cancellable, Pause, current
from relayd.router.early import Answering, takes_comments, write_comment
from relayd.router.exchange import ExchangeRecord
from relayd.router.givenback import SlotReturns
from relayd.router.headers import Call
from relayd.router.prefill import PromptProgress
from relayd.router.refused import refusal_of
from relayd.router.suspects import Suspects
from relayd.router.upstream import Upstream
from relayd.scheduler import (
    BACKGROUND,
    AttemptFailed,
    Dispatch,
    Event,
    Exchange,
    GivenBack,
    Refuse,
    Ticket,
)

GIVEN_BACK = ReplicaStoppedError(
    "A more urgent request took the slot of this one.", remedy="Send it again.", retry_after_seconds=1
)
"""Interrupts an answer that goes on later."""


class Resumable(Protocol):
    """An answer that its client has a part of, and that another replica can go on with."""

    def hindrance(self) -> str:
        """Return what prevents it from being continued now; empty when nothing does."""
        ...


class Lessor(Protocol):
    """Who gives leases: `Dispatcher`."""

    suspects: Suspects

    @property
    def post(self) -> Callable[[Event], None]:
        """Posts what happened to a request."""
        ...

    def deadline(self) -> float | None:
        """Return until when what begins to wait now may wait (monotonic seconds); None: no limit."""
        ...

    def enter(self, ticket: Ticket, holder: "Lease", now: float) -> Endpoint | None:
        """Ask for a ticket's slot on behalf of its holder, and return where it has it at once."""
        ...

    def hold(self, ticket: Ticket) -> Callable[[], None]:
        """Keep the slots of a ticket whose replica still works on it, until what is returned is called."""
        ...

    def clear(self, ticket: Ticket) -> None:
        """Take note that a request did not end its replica."""
        ...

    def leave(self, ticket: Ticket, exchange: Exchange | None, now: float) -> None:
        """Forget a ticket and give its slot back."""
        ...


def _nothing() -> None:
    return None


class Lease(msgspec.Struct, eq=False):
    """One request's place in the schedule; leaving the `with` block gives its slot back.

    The scheduler is asked on entering, unless `enter` has asked it before, and has often answered before the
    block begins: `placed` then returns at once. Whatever ends the block (an answer, an error, a client that
    left) ends the lease and the record, and exactly once: slots cannot leak.

    Attributes:
        record: Where it is noted what happens to the request.
        call: What replicas get of it; None until one does.
        answering: Who waits for its answer; None until that is known.
        may_continue: Another replica may go on with its answer.
        is_given_back: It is about to give its slots to a more urgent one.
        is_refused: A node has given its slot to others: it waits for another one, and no attempt counts.
        relaying: What has it go on even where its client has a part of that; None while nothing does.
        returns: How often it has given its slots back, and what came of it meanwhile.
    """

    _lessor: Lessor
    _ticket: Ticket
    record: ExchangeRecord
    call: Call | None = None
    answering: Answering | None = None
    may_continue: bool = True
    is_given_back: bool = False
    is_refused: bool = False
    relaying: Resumable | None = None
    returns: SlotReturns | None = None
    _place: Endpoint | RequestError | None = None
    _pause: Pause | None = None
    _owing: Upstream | None = None
    _is_moved: bool = False
    _reason: RequestError | None = None
    _runner: Cancellable | None = None
    _interruption: RequestError | None = None

    @property
    def suspects(self) -> Suspects:
        """The requests that may have crashed replicas."""
        return self._lessor.suspects

    @property
    def ticket_id(self) -> int:
        """The id of its ticket."""
        return self._ticket.id

    @property
    def sent_bytes(self) -> int:
        """Bytes of its answer that its client was sent, so far."""
        return self.record.sent_bytes if self.answering is None else self.answering[0].sent_bytes

    @property
    def width(self) -> int:
        """Slots that it takes."""
        return self._ticket.ask.width

    @property
    def can_wait(self) -> bool:
        """Whether it is a line of a batch."""
        return self._ticket.ask.klass == BACKGROUND

    @property
    def model(self) -> str:
        """The model that it asks for."""
        return self._ticket.ask.model

    def taken(self) -> Endpoint | None:
        """Return where it has its slot already; None where `placed` waits for it, or raises."""
        return place if isinstance(place := self._place, Endpoint) else None

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
        return self._place

    def hold(self) -> Callable[[], None]:
        """Keep the slots of a replica that still works on this request, until what is returned is called."""
        release, endpoint, call = self._lessor.hold(self._ticket), self.record.endpoint, self.call
        done = self._lessor.suspects.left(endpoint, call) if endpoint and call else _nothing

        def ended() -> None:
            done()
            release()

        return ended

    def hung_up(self) -> None:
        """Take note that the replica hung up on this request, whose fault that may be."""
        if self.record.endpoint and self.call:
            clear = partial(self._lessor.clear, self._ticket)
            self._lessor.suspects.lost(self.record.endpoint, self.call, clear)

    def failed(self, *, sent: bool = False, hung_up: bool = False) -> None:
        """Report a failed attempt; `placed` then waits for the next replica.

        Args:
            sent: Whether the client has seen a part of the answer.
            hung_up: Whether the replica hung up, so that this request may have ended it.
        """
        self._place = self._owing = None
        if self.is_refused:
            self.is_refused = False
            self._lessor.post(GivenBack(self._ticket.id, self._ticket.ask.deadline))
            return
        if self.is_given_back:
            self.is_given_back = False
            self._lessor.post(GivenBack(self._ticket.id, self._deadline()))
            return
        deadline = self._deadline() if sent else None
        self._lessor.post(AttemptFailed(self._ticket.id, sent, hung_up, deadline))

    def _deadline(self) -> float | None:
        """Return until when it may wait to go on; one that waits without limit goes on so."""
        return None if self._ticket.ask.deadline is None else self._lessor.deadline()

    def sent_on(self, upstream: Upstream) -> None:
        """Take note of the connection on which the request is sent."""
        self._owing = upstream

    def arrived_before(self, moment: float) -> bool:
        """Return whether it has come before a moment (monotonic seconds), and nothing is answered yet."""
        return self.record.arrived_at <= moment and not self.record.status

    def comment(self, text: bytes) -> bool:
        """Write a comment to the client of a stream that takes them; return whether that was possible.

        Args:
            text: What follows the colon.
        """
        if self.answering is None or self.call is None or not self.call.answers_events:
            return False
        client, dialect, _ = self.answering
        if client.is_gone or not takes_comments(client, dialect):
            return False
        write_comment(self.answering, self.record.request_id, text)
        return True

    def waits_since(self, moment: float) -> bool:
        """Return whether a replica has owed the first byte since a moment (monotonic seconds)."""
        placed_at = self.record.placed_at
        return self._owes_first_byte() and placed_at is not None and placed_at <= moment

    def _owes_first_byte(self) -> bool:
        return self._owing is not None and not self._owing.answered

    @property
    def last_byte_at(self) -> float:
        """When the replica sent something for the last time (monotonic seconds); 0 before it did."""
        return self._owing.moved_at if self._owing is not None else 0.0

    @property
    def is_placed(self) -> bool:
        """Whether it has its slot."""
        return isinstance(self._place, Endpoint)

    @property
    def progress(self) -> PromptProgress | None:
        """How far the replica has read the prompt, as it reported last."""
        return self._owing.progress if self._owing is not None else None

    def move(self) -> None:
        """Have the request tried elsewhere, unless a byte of its answer has come."""
        if self._owes_first_byte() and self._runner and not self._interruption:
            self._is_moved = True
            self._runner.cancel()

    def moved(self) -> bool:
        """Return whether the attempt was ended to be made elsewhere, and not by the client."""
        is_moved, self._is_moved = self._is_moved, False
        return is_moved and self._runner is not None and not self._runner.uncancel()

    def leave(self, error: RequestError) -> None:
        """Have the request tried, or its answer continued, elsewhere.

        Args:
            error: What ends it where that cannot be done.
        """
        if self._place is not None and self._runner and not self._interruption and not self._is_moved:
            self._is_moved, self._reason = True, error
            self._runner.cancel()

    def give_back(self, *, while_reading: bool = False) -> bool:
        """Have the request give its slots to a more urgent one and go on later; return whether it does.

        Args:
            while_reading: Only while its prompt is being read.
        """
        if self.record.first_byte_at and (self.relaying is None or self.relaying.hindrance()):
            return False
        returns = self.returns = self.returns or SlotReturns()
        if not (returns.rereads(self.progress) if while_reading else returns.yields()):
            return False
        self.leave(GIVEN_BACK)
        self.is_given_back = self._is_moved
        return self.is_given_back

    def left(self) -> RequestError | None:
        """Return why the request has left its replica, and not by its client; None when it has not."""
        return self._reason if self.moved() else None

    def is_silent_on(self, replica: str, since: float) -> bool:
        """Return whether a replica has sent nothing of this answer since a moment (monotonic seconds)."""
        owing, endpoint = self._owing, self.record.endpoint
        is_there = self._place is not None and endpoint is not None and endpoint.replica == replica
        if not is_there or owing is None or owing.moved_at > since:
            return False
        return self.relaying is not None or not self.record.first_byte_at

    def runs_on(self, endpoint: Endpoint) -> bool:
        """Return whether an incarnation works on this request."""
        return self._place is not None and self.record.endpoint == endpoint

    def settle(self, answer: Dispatch | Refuse) -> None:
        """Take the scheduler's answer."""
        if self._place is None:
            if isinstance(answer, Dispatch):
                self._place = answer.endpoint
                self.record.placed(answer.endpoint, self.record.clock.monotonic())
            else:
                self._place = refusal_of(answer)
            if self._pause is not None:
                self._pause.go_on()

    def interrupt(self, error: RequestError) -> None:
        """End the request with `error` where it is: as a refusal before its answer, else within it."""
        if self._place is None:
            self._place = error
            if self._pause is not None:
                self._pause.go_on()
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
            if self.relaying is not None:
                self.leave(error)
            else:
                self.interrupt(error)

    def interrupted(self) -> RequestError | None:
        """Return why the request was interrupted, which is to be answered now; None when its client left."""
        if self._interruption and self._runner:
            self._runner.uncancel()
        return self._interruption

    def enter(self, runner: Cancellable | None, now: float) -> Endpoint | None:
        """Ask the scheduler for a slot, and return where it has given one at once.

        Args:
            runner: What is cancelled to end the request.
            now: Monotonic seconds.
        """
        self._runner, record = runner, self.record
        record.ask = self._ticket.ask
        record.queued_at = now
        if (place := self._lessor.enter(self._ticket, self, now)) is not None:
            self._place = record.endpoint = place
            record.attempts += 1
            record.placed_at = now
        return place

    def begin(self, call: Call, answering: Answering, upstream: Upstream) -> None:
        """Take note that the request is about to be sent.

        Args:
            call: What the replica gets.
            answering: Who waits for its answer.
            upstream: On which connection.
        """
        self.call, self.answering, self._owing = call, answering, upstream

    def close(self, error: BaseException | None, now: float) -> None:
        """Give the slot back, and end the record.

        Args:
            error: What ended the request; None when it was answered.
            now: Monotonic seconds.
        """
        self._lessor.leave(self._ticket, self.record.end(error, now), now)

    def __enter__(self) -> Self:
        if self.record.queued_at is None:
            self.enter(current(), self.record.clock.monotonic())
        else:
            self._runner = current()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(error, self.record.clock.monotonic())

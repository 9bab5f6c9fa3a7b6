"""Who makes the `Exchange` of a request, once, and who reads it (request log, metrics, limits)?"""

from collections import deque
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

import msgspec

from relayd.clock import Clock
from relayd.endpoint import Endpoint
from relayd.errors import RelaydError, RequestError
from relayd.router.dialect import Problem
from relayd.scheduler.ask import Ask
from relayd.scheduler.exchange import Ended, Exchange, Usage

_PATH_LENGTH = 200
"""Characters kept of a path that no route may know."""

Listener = Callable[[Exchange], None]
"""Reads a finished request on the event loop, so it must not wait for anything."""


class Exchanges:
    """Opens a record for each request, and keeps the last ones.

    Args:
        clock: Time.
        keep: How many finished requests are remembered.
    """

    def __init__(self, clock: Clock, *, keep: int = 1000) -> None:
        self._clock = clock
        self._recent: deque[Exchange] = deque(maxlen=keep)
        self._listeners: list[Listener] = []

    def __repr__(self) -> str:
        return f"<Exchanges kept={len(self._recent)} listeners={len(self._listeners)}>"

    def listen(self, *listeners: Listener) -> None:
        """Call each listener with every exchange from now on."""
        self._listeners.extend(listeners)

    def recent(self) -> tuple[Exchange, ...]:
        """Return the last exchanges, the oldest first."""
        return tuple(self._recent)

    def newest(self) -> Iterator[Exchange]:
        """Yield the last exchanges, the newest first."""
        return reversed(self._recent)

    def begin(self, request_id: str, path: str, key: str = "") -> "ExchangeRecord":
        """Return the record of a request that has arrived; leaving its `with` block ends it."""
        return ExchangeRecord(self._clock, self.add, request_id, path, key, self._clock.monotonic())

    def refused(self, request_id: str, path: str, error: RequestError) -> None:
        """Add a request that was refused before any route could serve it."""
        self.begin(request_id, path[:_PATH_LENGTH]).end(error)

    def add(self, exchange: Exchange) -> None:
        """Keep a finished request, and hand it to every listener."""
        self._recent.append(exchange)
        for listener in self._listeners:
            listener(exchange)


class ExchangeRecord(msgspec.Struct, eq=False):
    """The exchange of one request while it runs; times are monotonic seconds.

    The code that serves the request notes here what happens. However it ends, `end` makes the value once.
    """

    clock: Clock
    done: Listener
    request_id: str
    path: str
    key: str
    arrived_at: float
    ask: Ask | None = None
    queued_at: float | None = None
    placed_at: float | None = None
    first_placed_at: float | None = None
    first_byte_at: float | None = None
    endpoint: Endpoint | None = None
    attempts: int = 0
    status: int = 0
    code: str = ""
    ended: Ended = Ended.DONE
    sent_bytes: int = 0
    usage: Usage | None = None
    continued: int = 0
    collected_events: int = 0
    exchange: Exchange | None = None

    def placed(self, endpoint: Endpoint, now: float) -> None:
        """Note which replica gets the request at `now` (monotonic seconds)."""
        if self.attempts == 1:
            self.first_placed_at = self.placed_at
        self.endpoint = endpoint
        self.attempts += 1
        self.placed_at = now

    @property
    def queue_ms(self) -> str:
        """How long the request waited for the slot that it has, failed attempts included (milliseconds)."""
        if self.placed_at is None or self.queued_at is None or self.placed_at == self.queued_at:
            return "0"
        return str(round(1000 * (self.placed_at - self.queued_at)))

    def began(self, status: int) -> None:
        """Note that the answer begins."""
        self.status = status
        self.first_byte_at = self.clock.monotonic()

    def refused(self, problem: Problem) -> None:
        """Note that the client gets an error."""
        self.status, self.code, self.ended = problem.status, problem.code, Ended.REFUSED

    def end(self, error: BaseException | None, now: float | None = None) -> Exchange:
        """Return what happened to the request, which is over now; a second call changes nothing.

        Args:
            error: What ended it; None when it was answered, with a success or not.
            now: Monotonic seconds; None asks the clock.
        """
        if (exchange := self.exchange) is None:
            if error is not None:
                self._blame(error)
            exchange = self.exchange = self._make(self.clock.monotonic() if now is None else now)
            self.done(exchange)
        return exchange

    def _blame(self, error: BaseException) -> None:
        if isinstance(error, RequestError) and not self.first_byte_at:
            self.refused(Problem.of(error))
        elif isinstance(error, Exception) and not isinstance(error, ConnectionError):
            self.code = error.code if isinstance(error, RequestError) else RelaydError.code
            self.ended = Ended.CUT if self.first_byte_at else Ended.REFUSED
            self.status = self.status or RelaydError.http_status
        elif self.ended is Ended.DONE:
            self.ended = Ended.CANCELLED

    def _make(self, now: float) -> Exchange:
        where = self.endpoint
        replica, incarnation = (where.replica, where.incarnation) if where is not None else ("", 0)
        return Exchange(  # by position, as a name for each costs as much as the value
            self.ask or Ask(key=self.key), self.request_id, self.path, self.ended, self.status, self.code,
            replica, incarnation, self.attempts, self.arrived_at, self.queued_at, self.placed_at,
            self.first_byte_at, now, self.sent_bytes, self.usage, self.continued,
            self.first_placed_at,
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.exchange is None:
            self.end(error)

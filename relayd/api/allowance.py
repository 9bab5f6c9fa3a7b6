"""How does a request take its part of what its key may use, and give it back (limits and quotas of a key)?"""

import asyncio
from collections.abc import MutableMapping
from types import TracebackType
from typing import Self

import msgspec

from relayd.api.ratelimits import ShownLimit, ShownLimits, refusal
from relayd.clock import Clock
from relayd.errors import QueueTimeoutError, RequestError
from relayd.rights import KeyRights
from relayd.router import ExchangeRecord
from relayd.router.dialect import ShowLimit
from relayd.router.eager import Pause
from relayd.scheduler.limits import Meter, Over, Spending
from relayd.scheduler.views import TicketProgress

_LEARNED = 0.3
"""How much of the mean time of a key's requests the last one replaces."""


class KeyUse(msgspec.Struct, frozen=True, eq=False):
    """One request's part of what its key may use; of a key without limits there is nothing to count."""

    def __enter__(self) -> Self:
        """Count the request.

        Raises:
            RateLimitError: It is one too many.
        """
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Count what it took."""

    def follow(self, record: ExchangeRecord) -> None:
        """Count what another attempt of the request takes too, by its own record."""

    @property
    def needs_turn(self) -> bool:
        """Whether `turn` is to be waited for before the request may run."""
        return False

    async def turn(self, deadline: float | None) -> None:
        """Wait until the key may have one more request in flight (monotonic seconds).

        Raises:
            RateLimitError: Too many wait already.
            QueueTimeoutError: The wait was too long.
        """

    def progress(self) -> TicketProgress | None:
        """Return how far a request that waits for its turn has come; None when it does not."""
        return None


FREE_USE = KeyUse()


class Allowance:
    """What one key may use, and has; it outlives changes of the key's rights.

    Args:
        rights: What the key may do.
        spending: What it has used of its quotas.
        clock: Time.

    Attributes:
        meter: What it has used.
        shown: Its limits, as they are shown to clients.
    """

    __slots__ = ("_turn_seconds", "clock", "meter", "shown")

    def __init__(self, rights: KeyRights, spending: Spending, clock: Clock) -> None:
        self.meter: Meter[_TurnWait] = Meter(rights.limits, rights.quotas, spending)
        self.clock = clock
        self._turn_seconds = 1.0
        self._show_those_of(rights)

    def __repr__(self) -> str:
        return f"<Allowance {self.meter!r}>"

    def _show_those_of(self, rights: KeyRights) -> None:
        limits, meter = rights.limits, self.meter
        found = (("requests", limits.rpm, meter.requests), ("tokens", limits.tpm, meter.tokens))
        self.shown = ShownLimits(
            [ShownLimit(what, limit, count) for what, limit, count in found if limit is not None]
        )

    @property
    def spent(self) -> dict[str, int]:
        """How much of each quota is used, by the quota as people write it."""
        meter, now = self.meter, self.clock.wall()
        return {str(quota): meter.spending.used(quota, now) for quota in meter.quotas}

    def configure(self, rights: KeyRights, spending: Spending) -> None:
        """Follow other rights; what was used stays used.

        Args:
            rights: What the key may do.
            spending: What it has used of its quotas, if it had none before.
        """
        if not self.meter.quotas:
            self.meter.spending = spending
        for waiting in self.meter.configure(rights.limits, rights.quotas):
            waiting.begin()
        self._show_those_of(rights)

    def add(self, tokens: int) -> None:
        """Count a request that another daemon has served for this key."""
        self.meter.spending.add(tokens, self.clock.wall())

    def interrupt(self, error: RequestError, request_id: str | None = None) -> int:
        """End the requests that wait for their turn with `error`, or only those of an id; return how many."""
        found = [one for one in self.meter.waiting if request_id in (None, one.record.request_id)]
        for waiting in found:
            waiting.end(error)
        return len(found)

    def waiting(self) -> list[ExchangeRecord]:
        """Return the requests that wait for their turn, the first in line first."""
        return [waiting.record for waiting in self.meter.waiting]

    def use(
        self, record: ExchangeRecord, headers: MutableMapping[str, str], show: ShowLimit | None = None
    ) -> KeyUse:
        """Return the use of one request.

        Args:
            record: Of the request.
            headers: What its answer will carry: they show what is left.
            show: How that is shown besides.
        """
        return _LimitedUse(self, record, headers, show)

    async def turn(self, waiting: "_TurnWait", deadline: float | None) -> None:
        """Wait for a turn, which `end_turn` gives back."""
        answer = self.meter.take_turn(waiting)
        if answer is True:
            return
        if isinstance(answer, Over):
            raise self._one_too_many(answer)
        timer = None
        if deadline is not None:
            seconds = max(0.0, deadline - self.clock.monotonic())
            timer = asyncio.get_running_loop().call_later(seconds, waiting.end, self._too_late())
        try:
            await waiting.pause
        except asyncio.CancelledError:
            if waiting.has_begun:
                self.end_turn()
            else:
                self.meter.give_up(waiting)
            raise
        finally:
            if timer is not None:
                timer.cancel()
        if not waiting.has_begun and waiting.error is not None:
            waiting.error.queue_position = self._place_of(waiting)
            self.meter.give_up(waiting)
            raise waiting.error

    def end_turn(self, began_at: float | None = None) -> None:
        """Give a turn to the request that waits next; `began_at` is when this one had it (monotonic)."""
        if began_at is not None:
            self._turn_seconds += _LEARNED * (self.clock.monotonic() - began_at - self._turn_seconds)
        if (following := self.meter.end_turn()) is not None:
            following.begin()

    def progress(self, waiting: "_TurnWait") -> TicketProgress | None:
        """Return how far a request has come that waits for its turn; None when it does not."""
        place = self._place_of(waiting)
        return TicketProgress(place, seconds=self._seconds_at(place), is_held=True) if place else None

    def _place_of(self, waiting: "_TurnWait") -> int:
        """Return its place in the line, from 1; 0 when it is in none."""
        return next((at for at, one in enumerate(self.meter.waiting, 1) if one is waiting), 0)

    def _seconds_at(self, place: int) -> float:
        """Return in how many seconds a place in the line probably runs."""
        return self._turn_seconds * place / (self.meter.limits.in_flight or 1)

    def _one_too_many(self, over: Over) -> RequestError:
        error = refusal(over, self._seconds_at(1))
        error.queue_position = len(self.meter.waiting) + 1
        return error

    def _too_late(self) -> QueueTimeoutError:
        return QueueTimeoutError(
            f"The request waited too long: its key may have {self.meter.limits.in_flight} in flight.",
            remedy="Send fewer at a time, or ask for a higher limit.",
            retry_after_seconds=max(1.0, self._seconds_at(1)),
        )


class _LimitedUse(KeyUse, frozen=False, eq=False):  # type: ignore[misc]  # what is shared stays frozen
    """The use of a key with limits by one request: counted as it arrives and as it ends, by one call each."""

    allowance: Allowance
    record: ExchangeRecord
    headers: MutableMapping[str, str]
    show: ShowLimit | None
    others: tuple[ExchangeRecord, ...] = ()
    waiting: "_TurnWait | None" = None
    began_at: float | None = None

    def __enter__(self) -> Self:
        allowance, headers = self.allowance, self.headers
        meter, clock = allowance.meter, allowance.clock
        over = meter.admit(now := clock.monotonic(), clock.wall() if meter.quotas else 0.0)
        allowance.shown.add_to(headers, now)
        if (show := self.show) is not None:
            allowance.shown.add_by(show, headers, now, clock.wall())
        if over is not None:
            raise refusal(over)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        record, allowance, tokens = self.record, self.allowance, 0
        meter, clock, is_used = allowance.meter, allowance.clock, record.endpoint is not None
        if (usage := record.usage) is not None:
            tokens = usage.prompt_tokens + usage.completion_tokens
        for other in self.others:
            if (usage := other.usage) is not None:
                tokens += usage.prompt_tokens + usage.completion_tokens
            is_used = is_used or other.endpoint is not None
        wall = clock.wall() if meter.quotas else 0.0
        meter.leave(tokens, clock.monotonic() if tokens else 0.0, wall, used=is_used)
        if self.began_at is not None:
            allowance.end_turn(self.began_at)

    def follow(self, record: ExchangeRecord) -> None:
        self.others = (*self.others, record)

    @property
    def needs_turn(self) -> bool:
        return self.allowance.meter.limits.in_flight is not None

    async def turn(self, deadline: float | None) -> None:
        self.waiting = _TurnWait(self.record)
        await self.allowance.turn(self.waiting, deadline)
        self.began_at = self.record.clock.monotonic()

    def progress(self) -> TicketProgress | None:
        return self.allowance.progress(self.waiting) if self.waiting is not None else None


class _TurnWait:
    """A request that waits for its turn."""

    __slots__ = ("error", "has_begun", "pause", "record")

    def __init__(self, record: ExchangeRecord) -> None:
        self.record = record
        self.pause = Pause()
        self.has_begun = False
        self.error: RequestError | None = None

    def begin(self) -> None:
        """Let it run, in the next turn of the event loop: a thousand that end at once must not nest."""
        self.has_begun = True
        asyncio.get_running_loop().call_soon(self.pause.go_on)

    def end(self, error: RequestError) -> None:
        """Have it refused."""
        if not self.has_begun and self.error is None:
            self.error = error
            self.pause.go_on()

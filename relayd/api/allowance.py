"""How does a request take its part of what its key may use, and give it back (limits and quotas of a key)?"""

import asyncio
from collections.abc import Iterable, MutableMapping
from datetime import UTC, datetime
from math import ceil
from types import TracebackType
from typing import Self

from relayd.clock import Clock
from relayd.errors import QueueTimeoutError, QuotaError, RateLimitError, RequestError
from relayd.rights import KeyRights
from relayd.router import ExchangeRecord
from relayd.router.eager import Pause
from relayd.scheduler.limits import Bound, Meter, MinuteCount, Over, Spending


class KeyUse:
    """One request's part of what its key may use; of a key without limits there is nothing to count."""

    __slots__ = ()

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


FREE_USE = KeyUse()


class Allowance:
    """What one key may use, and has; it outlives changes of the key's rights.

    Args:
        rights: What the key may do.
        spending: What it has used of its quotas.
        clock: Time.
    """

    __slots__ = ("_clock", "_meter")

    def __init__(self, rights: KeyRights, spending: Spending, clock: Clock) -> None:
        self._meter: Meter[_TurnWait] = Meter(rights.limits, rights.quotas, spending)
        self._clock = clock

    def __repr__(self) -> str:
        return f"<Allowance {self._meter!r}>"

    @property
    def spent(self) -> dict[str, int]:
        """How much of each quota is used, by the quota as people write it."""
        meter, now = self._meter, self._clock.wall()
        return {str(quota): meter.spending.used(quota, now) for quota in meter.quotas}

    def configure(self, rights: KeyRights, spending: Spending) -> None:
        """Follow other rights; what was used stays used.

        Args:
            rights: What the key may do.
            spending: What it has used of its quotas, if it had none before.
        """
        if not self._meter.quotas:
            self._meter.spending = spending
        for waiting in self._meter.configure(rights.limits, rights.quotas):
            waiting.begin()

    def add(self, tokens: int) -> None:
        """Count a request that another daemon has served for this key."""
        self._meter.spending.add(tokens, self._clock.wall())

    def interrupt(self, error: RequestError) -> None:
        """End every request that waits for its turn with `error`."""
        for waiting in self._meter.waiting:
            waiting.end(error)

    def use(self, record: ExchangeRecord, headers: MutableMapping[str, str]) -> KeyUse:
        """Return the use of one request.

        Args:
            record: Of the request.
            headers: What its answer will carry: they show what is left.
        """
        return _LimitedUse(self, record, headers)

    def admit(self, headers: MutableMapping[str, str]) -> None:
        """Count a request that arrives.

        Raises:
            RateLimitError: It is one too many.
        """
        meter, now = self._meter, self._clock.monotonic()
        over = meter.admit(now, self._clock.wall() if meter.quotas else 0.0)
        limits = meter.limits
        if limits.rpm is not None:
            _show(headers, _REQUESTS, limits.rpm, meter.requests, now)
        if limits.tpm is not None:
            _show(headers, _TOKENS, limits.tpm, meter.tokens, now)
        if over is not None:
            raise refusal(over)

    def leave(self, record: ExchangeRecord, others: Iterable[ExchangeRecord] = ()) -> None:
        """Count what a request took, by the records of its attempts."""
        meter, tokens, is_used = self._meter, _tokens(record), record.endpoint is not None
        for other in others:
            tokens += _tokens(other)
            is_used = is_used or other.endpoint is not None
        wall = self._clock.wall() if meter.quotas else 0.0
        meter.leave(tokens, self._clock.monotonic() if tokens else 0.0, wall, used=is_used)

    @property
    def needs_turn(self) -> bool:
        """Whether requests of the key take turns."""
        return self._meter.limits.in_flight is not None

    async def turn(self, deadline: float | None) -> None:
        """Wait for a turn, which `end_turn` gives back."""
        waiting = _TurnWait()
        answer = self._meter.take_turn(waiting)
        if answer is True:
            return
        if isinstance(answer, Over):
            raise refusal(answer)
        timer = None
        if deadline is not None:
            seconds = max(0.0, deadline - self._clock.monotonic())
            timer = asyncio.get_running_loop().call_later(seconds, waiting.end, self._too_late())
        try:
            await waiting.pause
        except asyncio.CancelledError:
            if waiting.has_begun:
                self.end_turn()
            else:
                self._meter.give_up(waiting)
            raise
        finally:
            if timer is not None:
                timer.cancel()
        if not waiting.has_begun and waiting.error is not None:
            self._meter.give_up(waiting)
            raise waiting.error

    def end_turn(self) -> None:
        """Give a turn to the request that waits next."""
        if (following := self._meter.end_turn()) is not None:
            following.begin()

    def _too_late(self) -> QueueTimeoutError:
        return QueueTimeoutError(
            f"The request waited too long: its key may have {self._meter.limits.in_flight} in flight.",
            remedy="Send fewer at a time, or ask for a higher limit.",
            retry_after_seconds=1.0,
        )


class _LimitedUse(KeyUse):
    """The use of a key with limits by one request."""

    __slots__ = ("_allowance", "_has_turn", "_headers", "_others", "_record")

    def __init__(
        self, allowance: Allowance, record: ExchangeRecord, headers: MutableMapping[str, str]
    ) -> None:
        self._allowance = allowance
        self._record = record
        self._others: tuple[ExchangeRecord, ...] = ()
        self._headers = headers
        self._has_turn = False

    def __enter__(self) -> Self:
        self._allowance.admit(self._headers)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._allowance.leave(self._record, self._others)
        if self._has_turn:
            self._allowance.end_turn()

    def follow(self, record: ExchangeRecord) -> None:
        self._others = (*self._others, record)

    @property
    def needs_turn(self) -> bool:
        return self._allowance.needs_turn

    async def turn(self, deadline: float | None) -> None:
        await self._allowance.turn(deadline)
        self._has_turn = True


def _tokens(record: ExchangeRecord) -> int:
    usage = record.usage
    return 0 if usage is None else usage.prompt_tokens + usage.completion_tokens


class _TurnWait:
    """A request that waits for its turn."""

    __slots__ = ("error", "has_begun", "pause")

    def __init__(self) -> None:
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


def refusal(over: Over) -> RateLimitError:
    """Return why a request over a limit is refused, and when another one makes sense."""
    wait = max(1, ceil(over.wait_seconds))
    if over.bound is Bound.QUOTA:
        ends = datetime.fromtimestamp(over.ends, UTC).strftime("%Y-%m-%d %H:%M UTC")
        return QuotaError(
            f"The quota of this key ({over.quota}) is used up; it begins anew at {ends}.",
            remedy="Wait until then, or ask for a higher one.",
            retry_after_seconds=wait,
        )
    if over.bound is Bound.QUEUE:
        return RateLimitError(
            f"{over.limit} requests of this key wait already.",
            remedy="Send fewer at a time, or ask for a higher limit.",
            retry_after_seconds=wait,
        )
    return RateLimitError(
        f"This key may have {over.limit} {over.bound.value}.",
        remedy=f"Wait {wait} s, or ask for a higher limit.",
        retry_after_seconds=wait,
    )


_REQUESTS, _TOKENS = (
    tuple(f"x-ratelimit-{figure}-{what}" for figure in ("limit", "remaining", "reset"))
    for what in ("requests", "tokens")
)
"""The fields that clients of OpenAI read."""


def _show(
    headers: MutableMapping[str, str], names: tuple[str, ...], limit: int, count: MinuteCount, now: float
) -> None:
    """Add what is left of a limit."""
    allowed, remaining, reset = names
    left = limit - count.total
    headers[allowed] = str(limit)
    headers[remaining] = str(left) if left > 0 else "0"
    headers[reset] = f"{ceil(count.empty_seconds(now))}s"

"""When has a request taken too long (time limits), and what ends it then?

A request without a limit costs nothing here. Any other has one timer, which looks at how far the request
is and is set again; so a chunk costs nothing either.
"""

import asyncio
import math
import re
from types import TracebackType
from typing import Protocol, Self

import msgspec

from relayd.errors import RequestError, RequestTimeoutError
from relayd.router.exchange import ExchangeRecord

_NUMBER = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?|\.[0-9]{1,9}")
_REMEDY = "Send it again with a longer X-Request-Timeout, or ask for less."


class TimeLimits(msgspec.Struct, frozen=True, gc=False):
    """How long parts of a request may take; 0 sets none.

    Attributes:
        first_byte_seconds: From its arrival to the first byte of the replica's answer, queue and load
            included; only for what comes as events: any other answer begins when it is complete.
        token_gap_seconds: Between two bytes of it.
        total_seconds: From its arrival to its end.
    """

    first_byte_seconds: float = 0
    token_gap_seconds: float = 0
    total_seconds: float = 0

    def __bool__(self) -> bool:
        """Whether anything is limited."""
        return bool(self.first_byte_seconds or self.token_gap_seconds or self.total_seconds)

    def within(self, asked: str) -> "TimeLimits":
        """Return these with what a client allows in `X-Request-Timeout`, if that is less.

        Raises:
            RequestError: It is not a number of seconds above 0.
        """
        seconds = float(asked) if _NUMBER.fullmatch(asked) else 0.0
        if not seconds:
            raise RequestError(
                f"X-Request-Timeout must be a number of seconds above 0, not {asked[:32]!r}.",
                remedy="Send seconds like 30 or 0.5, or leave the header out.",
            )
        total = min(seconds, self.total_seconds or math.inf)
        return msgspec.structs.replace(self, total_seconds=total)

    def over(self, default: "TimeLimits") -> "TimeLimits":
        """Return these, and what they leave open as `default` has it; `UNTIMED` where both limit nothing."""
        both = TimeLimits(
            self.first_byte_seconds or default.first_byte_seconds,
            self.token_gap_seconds or default.token_gap_seconds,
            self.total_seconds or default.total_seconds,
        )
        return both or UNTIMED

    def next(self, arrived_at: float, begun_at: float | None, last_byte_at: float) -> tuple[float, str]:
        """Return which deadline comes next, and what it limits; infinity when none does.

        Args:
            arrived_at: When the request came; all in monotonic seconds.
            begun_at: When its answer began; None before.
            last_byte_at: When the last byte of that came.
        """
        due = [(arrived_at + self.total_seconds, f"was not complete after {self.total_seconds:g} s")]
        if begun_at is None:
            seconds = self.first_byte_seconds
            due.append((arrived_at + seconds, f"had not begun after {seconds:g} s"))
        else:
            seconds = self.token_gap_seconds
            due.append((max(begun_at, last_byte_at) + seconds, f"paused for more than {seconds:g} s"))
        limits = (self.total_seconds, seconds)
        return min((one for one, limit in zip(due, limits, strict=True) if limit), default=(math.inf, ""))


UNTIMED = TimeLimits()
"""No limit; the value by which a request that has none is recognized."""


class Timed(Protocol):
    """What a deadline ends: a lease."""

    record: ExchangeRecord

    @property
    def last_byte_at(self) -> float:
        """When the replica sent something for the last time (monotonic seconds)."""
        ...

    def interrupt(self, error: RequestError) -> None:
        """End the request with `error` where it is."""
        ...


class TimeLimitWatch:
    """Ends a request that is past one of its limits; used as a `with` block around it.

    Args:
        request: What it ends.
        limits: Its limits.
        stream: Whether the replica answers with events.
    """

    def __init__(self, request: Timed, limits: TimeLimits, *, stream: bool) -> None:
        self._request = request
        self._limits = limits if stream else TimeLimits(total_seconds=limits.total_seconds)
        self._timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<TimeLimitWatch {self._limits} timer={'set' if self._timer else 'none'}>"

    def _look(self) -> None:
        """End the request if its time is up, and look again otherwise."""
        request, record = self._request, self._request.record
        due, what = self._limits.next(record.arrived_at, record.first_byte_at, request.last_byte_at)
        left = due - record.clock.monotonic()
        if left <= 0:
            self._timer = None
            request.interrupt(RequestTimeoutError(f"The answer {what}.", remedy=_REMEDY))
            return
        pause = min(left, self._limits.token_gap_seconds or math.inf)  # it may begin and pause meanwhile
        if pause < math.inf:
            self._timer = asyncio.get_running_loop().call_later(pause, self._look)

    def __enter__(self) -> Self:
        self._look()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()

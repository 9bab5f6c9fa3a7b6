"""How much memory may the bodies of all requests take together, and which are refused first (budget)?

A body counts from its first byte until its request is over. Beyond the budget the slowest senders are refused
first, then the request that takes more; beyond half of it every sender that makes no progress.
"""

import asyncio
from collections.abc import Callable
from math import inf
from typing import Protocol

import msgspec

from relayd.errors import BodyBudgetError, RequestError
from relayd.units import KIB, Bytes

PROGRESS = 64 * KIB
"""Bytes that count as progress of a body; fewer do not, so that one byte at a time gains nothing."""

SLOW_SECONDS = 1.0
"""How long a sender is given before its rate counts."""

SLOW_RATE = 64 * KIB
"""Bytes a second below which a sender is slow."""

STALLED_SECONDS = 5.0
"""How long a body may make no progress once half of the budget is taken."""

_LOOK_SECONDS = 0.25
_RETRY_SECONDS = 2.0


class Deadline(Protocol):
    """Until when a body is read: `asyncio.Timeout`, once it was entered."""

    def expired(self) -> bool:
        """Return whether it has passed."""
        ...

    def reschedule(self, when: float) -> None:
        """Move it, in loop time."""
        ...


class BodyHold(msgspec.Struct, eq=False):
    """What one request's body takes of the budget; `release` gives it back."""

    _bodies: "Bodies"
    _deadline: Deadline | None = None
    size: int = 0
    began_at: float = 0.0
    moved_at: float = 0.0
    refusal: RequestError | None = None

    def __repr__(self) -> str:
        return f"<BodyHold {self.size} bytes{', arriving' if self._deadline else ''}>"

    def take(self, size: int) -> None:
        """Count more bytes.

        Raises:
            BodyBudgetError: There is no room for them.
        """
        bodies = self._bodies
        self.size += size
        bodies.used += size
        if bodies.used > bodies.half:
            bodies.relieve(self, 0)

    def expect(self, size: int) -> None:
        """Refuse a body by its declared length, unread, if there is no room for it now.

        Raises:
            BodyBudgetError: There is none.
        """
        if self._bodies.used + size > self._bodies.half:
            self._bodies.relieve(self, size)

    def keep(self, size: int) -> None:
        """Take note of how much is kept of a body that was taken in."""
        self._bodies.used += size - self.size
        self.size = size

    def release(self) -> None:
        """Give everything back."""
        self._bodies.used -= self.size
        self.size = 0

    def arriving(self, deadline: Deadline) -> None:
        """Take note that the body arrives, and within which deadline it is read."""
        self._deadline = deadline
        self.began_at = self.moved_at = asyncio.get_running_loop().time()
        self._bodies.senders.add(self)

    def moved(self, progress_seconds: float) -> None:
        """Take note that enough has arrived to give the sender more time."""
        self.moved_at = asyncio.get_running_loop().time()
        if self._deadline is not None and not self._deadline.expired():
            self._deadline.reschedule(self.moved_at + progress_seconds)

    def arrived(self) -> None:
        """Take note that nothing of the body arrives any more."""
        self._deadline = None
        self._bodies.senders.discard(self)

    def refuse(self, error: RequestError) -> None:
        """End the request with `error` while its body arrives; what it took is free at once."""
        self.refusal = error
        self.release()
        if self._deadline is not None and not self._deadline.expired():
            self._deadline.reschedule(asyncio.get_running_loop().time())
        self.arrived()

    def rate(self, now: float) -> float:
        """Return its bytes a second; infinite in its first moment."""
        seconds = now - self.began_at
        return self.size / seconds if seconds >= SLOW_SECONDS else inf


class Bodies:
    """The bodies of all requests, arriving, waiting and being worked on.

    Args:
        budget: What they may take together.
        on_freed: Called when much of it was given back.

    Attributes:
        used: What they take.
        half: Of the budget.
        senders: Those that arrive.
    """

    def __init__(self, budget: Bytes, on_freed: Callable[[], None] = lambda: None) -> None:
        self._on_freed = on_freed
        self._looked_at = -inf
        self.used = 0
        self.senders: set[BodyHold] = set()
        self.configure(budget)

    def __repr__(self) -> str:
        return f"<Bodies {self.used} of {self._budget} bytes, {len(self.senders)} arriving>"

    def configure(self, budget: Bytes) -> None:
        """Take another budget; what is held already stays."""
        self._budget = budget
        self.half = budget // 2

    def hold(self) -> BodyHold:
        """Return the hold of a request, which takes nothing yet."""
        return BodyHold(self)

    def interrupt(self, error: RequestError) -> None:
        """End every request whose body still arrives with `error`."""
        for sender in tuple(self.senders):
            sender.refuse(error)

    def relieve(self, asking: BodyHold, more: int) -> None:
        """Refuse whom it takes to get within the budget.

        Args:
            asking: Who takes more; the last to be refused.
            more: Bytes that it does not hold yet.

        Raises:
            BodyBudgetError: It is refused itself.
        """
        now = asyncio.get_running_loop().time()
        if now - self._looked_at >= _LOOK_SECONDS:
            self._looked_at = now
            self._refuse_stalled(now)
        if self.used + more <= self._budget:
            return
        others = sorted((one for one in self.senders if one is not asking), key=lambda one: one.rate(now))
        for sender in others:
            if sender.rate(now) >= SLOW_RATE or self.used + more <= self._budget:
                break
            sender.refuse(_spent())
        if self.used + more > self._budget:
            raise _spent()

    def _refuse_stalled(self, now: float) -> None:
        for sender in tuple(self.senders):
            if now - sender.moved_at >= STALLED_SECONDS:
                sender.refuse(_spent())


def _spent() -> BodyBudgetError:
    return BodyBudgetError(
        "The bodies of all requests together are larger than this server holds at a time.",
        remedy="Send it again later, without pauses, or raise server.body_budget_mib.",
        retry_after_seconds=_RETRY_SECONDS,
    )

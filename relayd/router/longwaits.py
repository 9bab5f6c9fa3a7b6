"""Which requests have waited for so long that something is done about it (overdue first bytes, early heads)?

A request costs nothing here: all that are open are looked at from time to time.
"""

import asyncio
from collections.abc import Callable, Iterator

from relayd.clock import Clock
from relayd.router.lease import Lease
from relayd.scheduler import Answering, Event, Overdue

_SHARE = 10
"""How many looks go into the time for which a head is held back."""

_LEAST_PAUSE = 0.01


class LongWaits:
    """Looks at every open request, as long as there are any.

    Args:
        leases: Yields those that wait or run, in the order of their arrival.
        post: Posts what is seen to the scheduler.
        clock: Time.
        suspect_seconds: How long a replica may owe the first byte of an answer before others are preferred.
        head_hold_seconds: How long the head of a stream is held back after its request has come; 0 holds it
            until the answer begins.

    Attributes:
        timer: Of the next look; None while none is due.
    """

    def __init__(
        self,
        leases: Callable[[], Iterator[Lease]],
        post: Callable[[Event], None],
        clock: Clock,
        *,
        suspect_seconds: float,
        head_hold_seconds: float,
    ) -> None:
        self._leases = leases
        self._post = post
        self._clock = clock
        self._suspect_seconds = suspect_seconds
        self._head_hold_seconds = head_hold_seconds
        self._overdue: set[int] = set()
        self._commented: dict[int, float] = {}
        self.timer: asyncio.TimerHandle | None = None
        self._reports_at = 0.0
        self._reports = True

    def __repr__(self) -> str:
        return f"<LongWaits overdue={len(self._overdue)} early={len(self._commented)}>"

    def begin(self) -> None:
        """Look from now on: a request is open."""
        self._reports_at = self._clock.monotonic() + self._suspect_seconds / 4
        self._schedule()

    def configure(self, *, suspect_seconds: float, head_hold_seconds: float) -> None:
        """Take other limits."""
        self._suspect_seconds = suspect_seconds
        self._head_hold_seconds = head_hold_seconds
        if self.timer is not None:
            self.timer.cancel()
            self.begin()

    def report_no_more(self) -> None:
        """Report nothing from now on: another daemon schedules."""
        self._reports = False

    def _schedule(self) -> None:
        pauses = self._suspect_seconds / 4, (self._head_hold_seconds or self._suspect_seconds) / _SHARE
        pause = max(_LEAST_PAUSE, min(pauses))
        self.timer = asyncio.get_running_loop().call_later(pause, self._look)

    def _look(self) -> None:
        self.timer = None
        leases = {lease.ticket_id: lease for lease in self._leases()}
        self._overdue &= leases.keys()
        self._commented = {one: at for one, at in self._commented.items() if one in leases}
        if not leases:
            return
        now = self._clock.monotonic()
        if self._head_hold_seconds:
            self._comment(leases, now)
        if self._reports and now >= self._reports_at:
            self._report(leases, now)
            self._reports_at = now + self._suspect_seconds / 4
        self._schedule()

    def _comment(self, leases: dict[int, Lease], now: float) -> None:
        """Send the heads that were held back for long enough, and a comment behind them now and then."""
        since = now - self._head_hold_seconds
        for ticket_id, lease in leases.items():
            if not lease.arrived_before(since) or self._commented.get(ticket_id, since) > since:
                continue
            if lease.comment(b"relayd waited=%.1f" % (now - lease.record.arrived_at)):
                self._commented[ticket_id] = now

    def _report(self, leases: dict[int, Lease], now: float) -> None:
        """Report whose first byte is overdue, and whose has come after all."""
        since = now - self._suspect_seconds
        for ticket_id, lease in leases.items():
            if lease.waits_since(since):
                self._overdue.add(ticket_id)
                self._post(Overdue(ticket_id))
            elif ticket_id in self._overdue:
                self._overdue.remove(ticket_id)
                self._post(Answering(ticket_id))

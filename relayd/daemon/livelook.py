"""One look at the whole daemon for those who follow it: status, rates, requests, and what needs attention."""

from itertools import islice

from relayd.daemon.attention import attention
from relayd.daemon.livereport import FinishedReport, LiveReport, NowReport
from relayd.daemon.openrequests import finished_request, open_request
from relayd.daemon.parts import DaemonParts
from relayd.daemon.rates import Streaming, TokenRates, token_bytes
from relayd.daemon.report import StatusReport
from relayd.daemon.shutdown import Shutdown
from relayd.daemon.status import status_report
from relayd.handover import Predecessor
from relayd.router import Lease

SHOWN = 50
"""Open requests of a report at most, the oldest: how far each one is takes about 0.1 ms, 4 times a second."""

_RECENT = 60
_STATUS_SECONDS = 1.0
"""How old the status of a report may be while no replica changes its state."""


class LiveLook:
    """Gathers live reports.

    Args:
        parts: Of the daemon.
        predecessor: The daemon that it took over from.
        shutdown: Whether it is about to end.
    """

    def __init__(self, parts: DaemonParts, predecessor: Predecessor | None, shutdown: Shutdown) -> None:
        self._parts = parts
        self._predecessor = predecessor
        self._rates = TokenRates()
        self._ended: dict[str, FinishedReport] = {}
        self._status: StatusReport | None = None
        self._status_at = 0.0
        self._shutdown = shutdown
        parts.bridge.on_change(self._outdate)

    def __repr__(self) -> str:
        return f"<LiveLook ended={len(self._ended)}>"

    async def report(self) -> LiveReport:
        """Return the daemon as it is now."""
        parts, status = self._parts, await self._current_status()
        now, leases = parts.clock.monotonic(), [*parts.dispatcher.leases()]
        widths = token_bytes(parts.doors.exchanges.recent())
        rates = self._rates.look(map(_streaming, filter(_streams, leases)), widths, now)
        requests = {
            str(one.ticket_id): open_request(one, parts.clock, parts.scheduler, widths)
            for one in islice(leases, SHOWN)
        }
        models, replicas = self._now(status, rates)
        waited = {model: now - since for model, since in _oldest(leases).items()}
        finished = self._finished()
        ids = {one.key for one in requests.values()} | {one.key for one in finished.values()}
        return LiveReport(
            status=status,
            attention=attention(status, waited, models),
            models=models,
            replicas=replicas,
            requests=requests,
            finished=finished,
            tokens_per_second=round(sum(rates.values()), 1),
            keys={key: parts.keys.name_of(key) for key in sorted(ids) if key},
        )

    async def _current_status(self) -> StatusReport:
        now = self._parts.clock.monotonic()
        if self._status is None or now - self._status_at >= _STATUS_SECONDS:
            self._status_at = now
            self._status = await status_report(
                self._parts, self._predecessor, stopping=self._shutdown.requested
            )
        return self._status

    def _outdate(self) -> None:
        self._status_at = -_STATUS_SECONDS

    def _finished(self) -> dict[str, FinishedReport]:
        """Return the last requests that are over, by their number; what is known of one is kept."""
        recent, count = self._parts.doors.exchanges.recent(), self._parts.totals.count
        ahead = self._parts.clock.wall() - self._parts.clock.monotonic()
        first, loads = count - min(_RECENT, len(recent)), self._parts.scheduler.memory.last_loads()
        self._ended = {
            str(number): self._ended.get(str(number)) or finished_request(exchange, ahead, loads)
            for number, exchange in enumerate(recent[len(recent) - (count - first) :], first)
        }
        return self._ended

    def _now(
        self, status: StatusReport, rates: dict[str, float]
    ) -> tuple[dict[str, NowReport], dict[str, NowReport]]:
        scheduler = self._parts.scheduler
        models, replicas = {}, {}
        for model in status.models:
            load = scheduler.load(model.name)
            names = [one.name for one in model.replicas]
            rate = round(sum(rates.get(name, 0.0) for name in names), 1)
            models[model.name] = NowReport(load.running, load.waiting, rate)
            for name in names:
                replicas[name] = NowReport(scheduler.running_on(name), 0, rates.get(name, 0.0))
        for one in self._parts.remotes:
            name, theirs = one.offer.replica, one.offer.model
            now = replicas[name] = NowReport(scheduler.running_on(name), 0, rates.get(name, 0.0))
            load, rate = scheduler.load(theirs), models.get(theirs, NowReport()).tokens_per_second
            models[theirs] = NowReport(load.running, load.waiting, round(rate + now.tokens_per_second, 1))
        return models, replicas


def waits(parts: DaemonParts) -> dict[str, float]:
    """Return model → how long its oldest request has waited for a slot, in seconds."""
    now = parts.clock.monotonic()
    return {model: now - since for model, since in _oldest([*parts.dispatcher.leases()]).items()}


def _streams(lease: Lease) -> bool:
    return lease.record.placed_at is not None and lease.record.endpoint is not None


def _streaming(lease: Lease) -> Streaming:
    record = lease.record
    replica = record.endpoint.replica if record.endpoint else ""
    return Streaming(lease.ticket_id, replica, lease.model, record.path, lease.sent_bytes)


def _oldest(leases: list[Lease]) -> dict[str, float]:
    """Return model → since when its oldest request waits for a slot (monotonic seconds)."""
    found: dict[str, float] = {}
    for lease in leases:
        queued = lease.record.queued_at
        if lease.record.placed_at is None and queued is not None and not lease.can_wait:
            found[lease.model] = min(queued, found.get(lease.model, queued))
    return found

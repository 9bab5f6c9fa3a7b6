"""The requests that wait or run, and those that have ended, as reports."""

from collections.abc import Iterable, Mapping

from relayd.clock import Clock
from relayd.daemon.adminreport import RequestReport
from relayd.daemon.livereport import FinishedReport
from relayd.daemon.rates import USUAL_BYTES
from relayd.router import ExchangeRecord, Lease
from relayd.router.prefill import PromptProgress
from relayd.scheduler import Exchange, Scheduler
from relayd.scheduler.views import LoadDone, TicketProgress


def open_request(
    lease: Lease, clock: Clock, scheduler: Scheduler, widths: Mapping[str, float]
) -> RequestReport:
    """Return a request that is open.

    Args:
        lease: Its place in the schedule.
        clock: Time.
        scheduler: Knows how far one that waits has come.
        widths: Path → bytes of a token, for an estimate of the tokens that were sent.
    """
    record = lease.record
    ask, now = record.ask, clock.monotonic()
    placed = record.placed_at
    queued = now if record.queued_at is None else record.queued_at
    state = "waiting" if placed is None else "answering" if record.first_byte_at else "running"
    progress = scheduler.memory.progress(lease.ticket_id, ask.model, now) if ask and placed is None else None
    sent, read = lease.sent_bytes, lease.progress if state == "running" else None
    return RequestReport(
        id=record.request_id,
        path=record.path,
        model=ask.model if ask else "",
        key=record.key,
        state=state,
        since=round(clock.wall() - (now - record.arrived_at), 2),
        waited_seconds=round((now if placed is None else placed) - queued, 3),
        stream=ask.stream if ask else False,
        replica=record.endpoint.replica if record.endpoint and placed is not None else "",
        attempts=record.attempts,
        sent_bytes=sent,
        ticket=lease.ticket_id,
        klass=ask.klass if ask else "",
        position=progress.position if progress else 0,
        expected_seconds=round(progress.seconds, 1) if progress else 0.0,
        reason=_reason(progress, ask.model) if progress and ask else "",
        tokens=int(sent / widths.get(record.path, USUAL_BYTES)),
        first_byte_seconds=round(record.first_byte_at - record.arrived_at, 3)
        if record.first_byte_at
        else 0.0,
        prompt_total=read.total if read else 0,
        prompt_done=read.processed if read else 0,
        prompt_seconds_left=_left(read) if read else 0.0,
    )


def held_request(record: ExchangeRecord, position: int, clock: Clock) -> RequestReport:
    """Return a request that waits because its key has as many in flight as it may.

    Args:
        record: What is known of it.
        position: Its place in the line of its key.
        clock: Time.
    """
    ask, waited = record.ask, clock.monotonic() - record.arrived_at
    return RequestReport(
        id=record.request_id,
        path=record.path,
        model=ask.model if ask else "",
        key=record.key,
        state="held",
        since=round(clock.wall() - waited, 2),
        waited_seconds=round(waited, 3),
        stream=ask.stream if ask else False,
        position=position,
        reason="its key has as many requests in flight as it may",
    )


def _left(read: PromptProgress) -> float:
    new = read.processed - read.cached
    return round((read.total - read.processed) * read.ms / new / 1000, 1) if new > 0 else 0.0


def _reason(progress: TicketProgress, model: str) -> str:
    if progress.is_loaded:
        ahead = progress.position - 1
        return f"behind {ahead} other{'s' * (ahead > 1)}" if ahead else "every slot is busy"
    return f"{model} is loading" if progress.is_loading else f"{model} waits for memory"


def finished_request(exchange: Exchange, ahead: float, loads: Iterable[LoadDone] = ()) -> FinishedReport:
    """Return a request that is over.

    Args:
        exchange: What happened.
        ahead: Seconds since 1970 when monotonic time was 0.
        loads: The last ones.
    """
    ask, usage = exchange.ask, exchange.usage
    return FinishedReport(
        id=exchange.request_id,
        path=exchange.path,
        model=ask.model,
        key=ask.key,
        klass=ask.klass,
        replica=exchange.replica,
        ended=exchange.ended.value,
        status=exchange.status,
        code=exchange.code,
        stream=ask.stream,
        attempts=exchange.attempts,
        continued=exchange.continued,
        at=round(exchange.ended_at + ahead, 3),
        seconds=round(exchange.ended_at - exchange.arrived_at, 3),
        queue_seconds=_between(exchange.queued_at, exchange.placed_at),
        load_seconds=_loading(exchange, loads),
        retry_seconds=_between(exchange.first_placed_at, exchange.placed_at) or 0.0,
        first_byte_seconds=_between(exchange.arrived_at, exchange.first_byte_at),
        prompt_tokens=usage.prompt_tokens if usage else 0,
        cached_tokens=usage.cached_tokens if usage else 0,
        completion_tokens=usage.completion_tokens if usage else 0,
        prefill_tokens_per_second=_rate(usage.prompt_tokens - usage.cached_tokens, usage.prompt_ms)
        if usage
        else 0.0,
        tokens_per_second=_rate(usage.completion_tokens - 1, usage.completion_ms) if usage else 0.0,
    )


def _loading(exchange: Exchange, loads: Iterable[LoadDone]) -> float:
    """Return how long a model was loading while a request for it waited for its first slot."""
    start, end = exchange.queued_at, exchange.first_placed_at or exchange.placed_at or exchange.ended_at
    if start is None:
        return 0.0
    spent = (
        min(end, one.ended_at) - max(start, one.ended_at - one.load_seconds)
        for one in loads
        if one.model == exchange.ask.model
    )
    return round(max((0.0, *spent)), 4)


def _between(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else round(end - start, 4)


def _rate(tokens: int, milliseconds: float) -> float:
    return round(1000 * tokens / milliseconds, 1) if tokens > 0 and milliseconds > 0 else 0.0

"""What `relayd status` reports of memory: the ledger, who waits for it, and what came and went."""

from collections.abc import Iterable

from relayd.clock import Clock
from relayd.daemon.report import AccountReport, LedgerReport, LoadReport, MemoryWaitReport
from relayd.planner import Planned
from relayd.planner.budget import HOST
from relayd.scheduler import Scheduler


def ledger_report(scheduler: Scheduler, clock: Clock, plans: Iterable[Planned]) -> LedgerReport:
    """Return what the scheduler counts now; its moments are given as wall-clock seconds.

    Args:
        scheduler: Counts.
        clock: Time.
        plans: How each replica runs, or would.
    """
    memory, ahead = scheduler.memory, clock.wall() - clock.monotonic()
    there = {one.replica for one in memory.residents()}
    weights = sum(one.weights for one in plans if one.name in there)
    return LedgerReport(
        accounts=tuple(
            AccountReport(
                account=row.account,
                capacity=row.capacity,
                planned=row.planned,
                measured=row.measured,
                held=row.held,
                others=row.others,
                free=row.free,
                weights=weights if row.account == HOST else 0,
            )
            for row in memory.ledger()
        ),
        waiting=tuple(
            MemoryWaitReport(
                replica=one.replica, model=one.model, since=one.since + ahead, needs=one.needs,
                waits_for=one.waits_for, wanted=one.is_wanted,
            )
            for one in memory.waiters()
        ),
        leaving={
            one.replica: one.leaving.value for one in memory.residents() if one.leaving is not None
        },
        loads=tuple(
            LoadReport(
                replica=one.replica, at=one.ended_at + ahead, waited_seconds=one.waited_seconds,
                seconds=one.load_seconds, failure=one.failure,
            )
            for one in memory.last_loads()
        ),
        evictions={cause.value: count for cause, count in memory.evictions().items() if count},
    )  # fmt: skip

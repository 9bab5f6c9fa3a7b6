"""What administrators see and do besides the verbs of every operator: workers, figures, requests, logs."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

from relayd.api.control import Feed, Verb
from relayd.batch.book import DAY_SECONDS
from relayd.daemon.adminkeys import AdminKeys
from relayd.daemon.adminreport import (
    CancelReport,
    Happening,
    LogLineReport,
    PlacedReport,
    PlacementReport,
    RequestsReport,
    StatsReport,
    WorkerReport,
    WorkersReport,
)
from relayd.daemon.arguments import (
    CancelArguments,
    ChangeKeyArguments,
    CollectArguments,
    CreateKeyArguments,
    DeriveArguments,
    EventArguments,
    KeyArguments,
    LogArguments,
    ModelLineArguments,
    NameArguments,
    NoArguments,
    StopArguments,
    TargetArguments,
    UpstreamLineArguments,
)
from relayd.daemon.batchreport import CollectedReport
from relayd.daemon.derived import DerivedModels
from relayd.daemon.happenings import Happenings
from relayd.daemon.ledger import ledger_report
from relayd.daemon.logfeed import lines, logs_of
from relayd.daemon.modellines import ModelLines
from relayd.daemon.openrequests import held_request, open_request
from relayd.daemon.operations import Operations, verbs
from relayd.daemon.parts import DaemonParts
from relayd.daemon.providerstats import PROVIDER, provider_stats
from relayd.daemon.rates import token_bytes
from relayd.daemon.report import ReloadReport, ReplicasReport
from relayd.daemon.totals import spread
from relayd.daemon.upstreamlines import UpstreamLines
from relayd.daemon.upstreamtest import UpstreamTest
from relayd.errors import NotFoundError, RequestCancelledError
from relayd.planner.plan import to_document
from relayd.supervisor import State, Status

CANCELLED = RequestCancelledError(
    "The request was ended by an administrator.", remedy="Ask the administrator why."
)


class Administration:
    """The verbs that are meant for administrators; each raises `RelaydError` to refuse.

    Args:
        parts: Of the daemon.
        operations: The verbs of every operator.
        happenings: What the daemon writes into its journal.
    """

    def __init__(self, parts: DaemonParts, operations: Operations, happenings: Happenings) -> None:
        self._parts = parts
        self._operations = operations
        self._happenings = happenings

    def __repr__(self) -> str:
        return f"<Administration on {self._operations!r}>"

    async def stop_replicas(self, arguments: TargetArguments) -> ReplicasReport:
        """Stop replicas within the drain timeout; never the daemon."""
        report = await self._operations.stop(StopArguments(arguments.target))
        return report if isinstance(report, ReplicasReport) else ReplicasReport({})

    async def workers(self, _arguments: NoArguments) -> WorkersReport:
        """Return every replica that has a process, and every worker that is connected."""
        statuses = self._parts.fleet.statuses()
        held = await self._parts.footprints.read(statuses)

        def rss(status: Status) -> int | None:
            found = held.get(status.spec.name)
            return found.held.by_device.get("cpu") if found and found.held else None

        own = tuple(self._worker(one, rss(one)) for one in statuses if one.pid)
        return WorkersReport(own + self._parts.workers.reports())

    async def stats(self, _arguments: NoArguments) -> StatsReport:
        """Return queues, counts and times."""
        parts = self._parts
        loads = [parts.scheduler.load(model.name) for model in parts.desired.config.model]
        recent = parts.doors.exchanges.recent()
        return StatsReport(
            queue_depth={PROVIDER: sum(load.waiting for load in loads) + len(parts.keys.waiting())},
            active_workers=sum(one.state is State.READY for one in parts.fleet.statuses()),
            running=sum(load.running for load in loads),
            since=parts.started,
            models=parts.totals.by_model(),
            queue_seconds=spread(
                one.placed_at - one.queued_at
                for one in recent
                if one.placed_at is not None and one.queued_at is not None
            ),
            first_byte_seconds=spread(
                one.first_byte_at - one.arrived_at for one in recent if one.first_byte_at is not None
            ),
            total_seconds=spread(one.ended_at - one.arrived_at for one in recent),
            providers=provider_stats(parts),
        )

    async def placement(self, _arguments: NoArguments) -> PlacementReport:
        """Return what runs where, and what each part takes."""
        parts = self._parts
        return PlacementReport(
            tuple(
                PlacedReport(
                    replica=one.spec.name,
                    state=one.state.value,
                    spec=to_document(one.planned.spec),
                    needs=dict(one.planned.needs),
                    basis=one.planned.basis.value,
                    reduced=one.reduced,
                    reason=one.reason,
                )
                for one in parts.fleet.statuses()
            ),
            ledger_report(parts.scheduler, parts.clock, [one.planned for one in parts.fleet.statuses()]),
        )

    async def requests(self, _arguments: NoArguments) -> RequestsReport:
        """Return the requests that run or wait."""
        parts = self._parts
        widths = token_bytes(parts.doors.exchanges.recent())
        held = (held_request(*one, parts.clock) for one in parts.keys.waiting())
        leases = parts.dispatcher.leases()
        return RequestsReport(
            (*(open_request(one, parts.clock, parts.scheduler, widths) for one in leases), *held)
        )

    async def cancel(self, arguments: CancelArguments) -> CancelReport:
        """End every request of an id, wherever it is: as a refusal, or within its answer.

        Raises:
            NotFoundError: None is open.
        """
        found = [
            lease for lease in self._parts.dispatcher.leases() if lease.record.request_id == arguments.request
        ]
        held = self._parts.keys.interrupt(CANCELLED, arguments.request)
        if not found and not held:
            raise NotFoundError(
                f"No request {arguments.request[:128]!r} is open.", remedy="GET /admin/requests lists them."
            )
        for lease in found:
            lease.interrupt(CANCELLED)
        return CancelReport(len(found) + held)

    async def logs(self, arguments: LogArguments) -> AsyncGenerator[LogLineReport]:
        """Return what yields the lines of a log.

        Raises:
            NotFoundError: There is no such log.
        """
        folder = self._parts.desired.paths.state / "logs"
        found = await asyncio.to_thread(logs_of, folder, arguments.target)
        return lines(found, arguments.lines, follow=arguments.follow)

    async def collect_batches(self, arguments: CollectArguments) -> CollectedReport:
        """Remove batches that are over, and files, whose time is over too."""
        days = arguments.days
        keep = None if days is None else max(days, 0.0) * DAY_SECONDS
        return CollectedReport(*await self._parts.batches.book.collect_garbage(keep))

    async def events(self, arguments: EventArguments) -> AsyncGenerator[Happening]:
        """Return what yields the events of the journal from now on."""
        return self._happenings.follow(arguments.prefix)

    def _worker(self, status: Status, rss: int | None) -> WorkerReport:
        running = self._parts.scheduler.running_on(status.spec.name)
        return WorkerReport(
            worker_id=f"{status.spec.name}.{status.incarnation}",
            provider=PROVIDER,
            worker_name=status.spec.name,
            models=(status.spec.model,),
            max_concurrent=status.spec.slots,
            reported_load=running,
            in_flight_count=running,
            is_draining=status.state is State.DRAINING,
            state=status.state.value,
            pid=status.pid,
            address=status.address,
            devices=tuple(status.planned.needs),
            restarts=status.restarts,
            rss=rss,
        )


def offered(
    administration: Administration,
    operations: Operations,
    parts: DaemonParts,
    reload: Callable[[], Awaitable[ReloadReport]],
) -> Mapping[str, Verb | Feed]:
    """Return every verb that administrators have over TCP, by name: a closed set.

    The daemon's end, its upgrade, and what holds its key are for the control socket only.

    Args:
        administration: What administrators see and do.
        operations: The verbs of every operator.
        parts: Of the daemon.
        reload: Follows the configuration anew.
    """
    models, keys = ModelLines(parts, reload), AdminKeys(parts.keys)
    servers = UpstreamLines(parts, models)
    derived = DerivedModels(parts, models)
    common = {name: verb for (_, name), verb in verbs(operations).items() if name not in _OWNERS}
    return {
        **common,
        "stop_replicas": Verb(TargetArguments, administration.stop_replicas),
        "models": Verb(NoArguments, models.models),
        "model": Verb(NameArguments, models.model),
        "add_model": Verb(ModelLineArguments, models.add),
        "change_model": Verb(ModelLineArguments, models.change),
        "remove_model": Verb(NameArguments, models.remove),
        "upstreams": Verb(NoArguments, servers.upstreams),
        "add_upstream": Verb(UpstreamLineArguments, servers.add),
        "remove_upstream": Verb(NameArguments, servers.remove),
        "test_upstream": Verb(NameArguments, UpstreamTest(parts).test),
        "derive_model": Verb(DeriveArguments, derived.derive),
        "remove_derived": Verb(NameArguments, derived.remove),
        "workers": Verb(NoArguments, administration.workers),
        "stats": Verb(NoArguments, administration.stats),
        "placement": Verb(NoArguments, administration.placement),
        "requests": Verb(NoArguments, administration.requests),
        "cancel": Verb(CancelArguments, administration.cancel),
        "admin_keys": Verb(NoArguments, keys.every),
        "admin_create_key": Verb(CreateKeyArguments, keys.create),
        "admin_change_key": Verb(ChangeKeyArguments, keys.change),
        "admin_rotate_key": Verb(KeyArguments, keys.rotate),
        "admin_revoke_key": Verb(KeyArguments, keys.revoke),
        "collect_batches": Verb(CollectArguments, administration.collect_batches),
        "logs": Feed(LogArguments, administration.logs),
        "events": Feed(EventArguments, administration.events),
    }


_OWNERS = frozenset({"configuration", "stop", "upgrade"})

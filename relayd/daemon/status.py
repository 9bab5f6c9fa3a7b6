"""How the report of `relayd status` is gathered from the parts of a daemon."""

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import msgspec

from relayd import __version__
from relayd.config import Config, Model
from relayd.daemon.done import done_reports
from relayd.daemon.donereport import DoneReport
from relayd.daemon.footprint import Footprint
from relayd.daemon.ledger import ledger_report
from relayd.daemon.parts import DaemonParts
from relayd.daemon.remotereport import upstream_reports
from relayd.daemon.report import (
    EngineReport,
    ExitReport,
    HeldMemoryReport,
    MemoryReport,
    MemoryWallReport,
    ModelReport,
    PlannedMemoryReport,
    PredecessorReport,
    ReplicaReport,
    ServiceReport,
    StatusReport,
)
from relayd.desired.demo import is_demo
from relayd.desired.lines import by_device
from relayd.endpoint import TcpAddress
from relayd.engine import command
from relayd.engine.differences import differences
from relayd.errors import RelaydError
from relayd.handover import Predecessor
from relayd.planner import Planned
from relayd.planner.wall import MemoryWall
from relayd.printable import printable
from relayd.scheduler import ModelLoad
from relayd.service import managed
from relayd.supervisor import Status

_ANY_ADDRESS, _ANY_KEY = TcpAddress(1), Path("key")
"""Of a command line that is compared without them."""


async def status_report(
    parts: DaemonParts, predecessor: Predecessor | None, *, stopping: bool
) -> StatusReport:
    """Return the daemon as it is now.

    Args:
        parts: Of the daemon.
        predecessor: The daemon that it took over from.
        stopping: Whether it is about to end.
    """
    desired, engine = parts.desired, parts.desired.engine
    statuses = parts.fleet.statuses()
    footprints = await parts.footprints.read(statuses)
    service = managed(desired.environ, os.getpid())
    joined = parts.nodes.report(parts.membership.report())
    finishing = predecessor if predecessor and predecessor.alive else None
    return StatusReport(
        version=__version__,
        pid=os.getpid(),
        keyed=not parts.keys.is_open,
        config=desired.sources,
        warnings=desired.warnings,
        engine=EngineReport(str(engine.path), engine.version, engine.source),
        logs=str(desired.paths.state / "logs"),
        runtime=str(desired.paths.runtime),
        service=msgspec.convert(service, ServiceReport, from_attributes=True) if service else None,
        since=parts.started,
        url=parts.doors.url,
        stopping=stopping,
        predecessor=PredecessorReport(finishing.pid, finishing.open_count) if finishing else None,
        models=model_reports(
            desired.config,
            statuses,
            parts.scheduler.load,
            footprints,
            differing(parts, statuses),
            parts.residence.is_pinned,
            done_reports(parts.totals, parts.doors.exchanges.recent()),
            parts.templates.continuation_of,
        ),
        memory=ledger_report(parts.scheduler, parts.clock, [one.planned for one in statuses]),
        batches=parts.batches.summary(),
        upstreams=upstream_reports(parts),
        nodes=joined.nodes,
        hubs=joined.hubs,
    )


def differing(parts: DaemonParts, statuses: Sequence[Status]) -> dict[str, tuple[str, ...]]:
    """Return the flags that replicas run with otherwise than planned, by replica.

    That is a replica of an earlier daemon, or one that keeps its place while another plan waits for its
    restart; what was made smaller to fit is reported as that.
    """
    planned = {one.name: one.spec for one in parts.fleet.plan}
    found = {}
    for status in statuses:
        spec = planned.get(status.spec.name)
        if spec and status.pid and status.command and not status.reduced:
            with contextlib.suppress(RelaydError):  # its start reports what is wrong
                now = command(spec, parts.desired.engine.features, _ANY_ADDRESS, _ANY_KEY)
                found[status.spec.name] = differences(status.command, ("", *now))
    return found


def model_reports(
    config: Config,
    statuses: Sequence[Status],
    load: Callable[[str], ModelLoad],
    footprints: Mapping[str, Footprint],
    differs: Mapping[str, tuple[str, ...]] = MappingProxyType({}),
    is_pinned: Callable[[Planned], bool] = lambda planned: planned.residence.pin,
    done: Mapping[str, DoneReport] = MappingProxyType({}),
    continuation: Callable[[str], Mapping[str, str]] = lambda _: {},
) -> tuple[ModelReport, ...]:
    """Return every configured model with its load and its replicas."""
    unknown = Footprint()

    def report(model: Model) -> ModelReport:
        busy = load(model.name)
        ours = [status for status in statuses if status.spec.model == model.name]
        return ModelReport(
            name=model.name,
            aliases=model.aliases,
            file=model.file,
            demo=is_demo(model.file),
            waiting=busy.waiting,
            running=busy.running,
            slots=busy.slots,
            replicas=tuple(
                replica_report(
                    status,
                    footprints.get(status.spec.name, unknown),
                    differs.get(status.spec.name, ()),
                )
                for status in ours
            ),
            load="demand" if any(one.planned.residence.demand for one in ours) else "start",
            pinned=any(is_pinned(one.planned) for one in ours),
            done=done.get(model.name, DoneReport()),
            continuation=continuation(model.name),
        )

    return tuple(map(report, config.model))


def replica_report(status: Status, footprint: Footprint, differs: tuple[str, ...] = ()) -> ReplicaReport:
    """Return one replica, with what it should hold and does."""
    return ReplicaReport(
        name=status.spec.name,
        state=status.state.value,
        since=status.since,
        pid=status.pid,
        incarnation=status.incarnation,
        address=status.address,
        slots=status.spec.slots,
        restarts=status.restarts,
        budget_left=status.budget_left,
        memory=_memory(footprint, status.wall),
        reduced=status.reduced,
        retry_at=status.retry_at,
        health_fault=status.health_fault,
        last_exit=_exit(status),
        log=str(status.log) if status.log else None,
        command=status.command,
        reason=status.reason,
        differs=differs,
    )


def _memory(footprint: Footprint, wall: MemoryWall | None) -> MemoryReport:
    planned, held = footprint.planned, footprint.held
    return MemoryReport(
        PlannedMemoryReport(by_device(planned.by_device), planned.prompt_cache, planned.basis, planned.rough)
        if planned
        else None,
        HeldMemoryReport(by_device(held.by_device), held.source, held.mapped) if held else None,
        MemoryWallReport(wall.limit, wall.reason) if wall else None,
    )


def _exit(status: Status) -> ExitReport | None:
    if (last := status.last_exit) is None:
        return None
    return ExitReport(
        cause=last.cause.value,
        code=last.code,
        message=last.message,
        remedy=last.remedy,
        at=status.last_exit_at,
        last_words=tuple(map(printable, status.last_words)),
    )

"""How what upstreams and workers offer is reported."""

from relayd.daemon.parts import DaemonParts
from relayd.daemon.upstreamreport import RemoteReplicaReport, UpstreamReport
from relayd.remote import RemoteCapacity


def upstream_reports(parts: DaemonParts) -> tuple[UpstreamReport, ...]:
    """Return every upstream and every worker, with what it serves; nodes have reports of their own."""
    offered: dict[str, list[RemoteCapacity]] = {}
    for one in parts.remotes:
        if one.offer.kind != "node":
            offered.setdefault(one.offer.origin, []).append(one)
    found = [
        UpstreamReport(
            watch.source.name,
            watch.source.url,
            problem=watch.problem,
            models=tuple(_replica(one, parts) for one in offered.pop(watch.source.name, ())),
        )
        for watch in parts.upstreams
    ]
    others = (
        UpstreamReport(name, kind=of[0].offer.kind, models=tuple(_replica(one, parts) for one in of))
        for name, of in offered.items()
    )
    return (*found, *others)


def _replica(one: RemoteCapacity, parts: DaemonParts) -> RemoteReplicaReport:
    offer = one.offer
    return RemoteReplicaReport(
        offer.replica,
        offer.model,
        one.state.value,
        offer.slots,
        parts.scheduler.running_on(offer.replica),
        offer.cost,
        offer.weight,
        one.reason,
    )

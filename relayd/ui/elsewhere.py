"""Which replicas serve, on this machine and on others, in one form?"""

from collections.abc import Iterator

from relayd.daemon.report import ReplicaReport, StatusReport


def every_replica(report: StatusReport) -> Iterator[ReplicaReport]:
    """Yield the replicas of this machine, and then those of others."""
    for model in report.models:
        yield from model.replicas
    yield from _elsewhere(report)


def _elsewhere(report: StatusReport) -> Iterator[ReplicaReport]:
    """Yield what nodes and upstreams serve; of its process nothing is known here."""
    for node in report.nodes:
        for one in node.replicas:
            yield ReplicaReport(one.name, one.state, node.since, slots=one.slots, reason=one.reason)
    for upstream in report.upstreams:
        for model in upstream.models:
            yield ReplicaReport(model.replica, model.state, slots=model.slots, reason=model.reason)


def slots_elsewhere(report: StatusReport) -> int:
    """Return the slots of models that only other machines serve; those of others count with their model."""
    own = {model.name for model in report.models}
    of_nodes = [(one.model, one.state, one.slots) for node in report.nodes for one in node.replicas]
    others = [(one.model, one.state, one.slots) for upstream in report.upstreams for one in upstream.models]
    return sum(slots for model, state, slots in of_nodes + others if state == "ready" and model not in own)

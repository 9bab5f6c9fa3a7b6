"""What a daemon hands over, and how its successor takes it up (hand-over state of the fleet)."""

from collections.abc import Mapping
from dataclasses import replace

from relayd.daemon.parts import DaemonParts
from relayd.handover import HandoverState
from relayd.supervisor import State
from relayd.supervisor.snapshot import Snapshot


def handover_state(parts: DaemonParts) -> HandoverState:
    """Return what would go over now."""
    return HandoverState(
        running=tuple(parts.scheduler.running()),
        waiting=tuple(parts.scheduler.waiting()),
        replicas=_replicas(parts),
        service_seconds=parts.scheduler.service_seconds,
        refused=dict(parts.dispatcher.suspects.refusing),
        suspected=parts.dispatcher.suspects.suspected,
        load_seconds=parts.scheduler.memory.load_seconds,
        finished=parts.keys.usage.noted,
        lent_key=parts.keys.lent,
    )


def take_up(parts: DaemonParts, state: HandoverState) -> frozenset[str]:
    """Leave replicas as they were, learn what was learnt, and return the replicas that stay cold."""
    parts.fleet.resume(state.replicas)
    parts.dispatcher.suspects.resume(state.refused, state.suspected)
    parts.scheduler.resume(state.service_seconds, state.load_seconds)
    return frozenset(name for name, one in state.replicas.items() if one.state is State.COLD)


def _replicas(parts: DaemonParts) -> Mapping[str, Snapshot]:
    """Return every replica; one that is cold by its plan is wanted, for the successor plans it anew."""
    planned_cold = {planned.name for planned in parts.fleet.plan if planned.cold}
    return {
        name: replace(one, state=State.WAITING) if one.state is State.COLD and name in planned_cold else one
        for name, one in parts.fleet.snapshots().items()
    }

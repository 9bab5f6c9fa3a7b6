"""What a daemon hands over, and how its successor takes it up (hand-over state of the fleet)."""

from relayd.daemon.parts import DaemonParts
from relayd.handover import HandoverState, PendingRestart
from relayd.supervisor import Fleet, State, Status
from relayd.supervisor.causes import Cause, Exit
from relayd.supervisor.status import Backoff


def handover_state(parts: DaemonParts) -> HandoverState:
    """Return what would go over now."""
    statuses = parts.fleet.statuses()
    return HandoverState(
        running=tuple(parts.scheduler.running()),
        waiting=tuple(parts.scheduler.waiting()),
        stopped=frozenset(one.spec.name for one in statuses if one.state is State.STOPPED),
        cold={one.spec.name: one.reason for one in statuses if _is_unloaded(one)},
        pending={one.spec.name: _pending(one) for one in statuses if one.state is State.BACKOFF},
    )


def take_up(fleet: Fleet, state: HandoverState) -> None:
    """Leave replicas without a process as they were: stopped, cold, or waiting for their next start."""
    fleet.keep_stopped(state.stopped)
    for name, reason in state.cold.items():
        fleet.unload(name, reason)
    fleet.resume({name: _backoff(pending) for name, pending in state.pending.items()})


def _is_unloaded(status: Status) -> bool:
    """Return whether a replica is cold for another reason than the plan, which the successor makes anew."""
    return status.state is State.COLD and not status.planned.cold


def _pending(status: Status) -> PendingRestart:
    last = status.last_exit
    return PendingRestart(
        retry_at=status.since if status.retry_at is None else status.retry_at,
        failures=status.failures,
        incarnation=status.incarnation,
        restarts=status.restarts,
        cause=last.cause.value if last else "",
        code=last.code if last else None,
        message=last.message if last else "",
        remedy=last.remedy if last else "",
        ended_at=status.last_exit_at,
    )


def _backoff(pending: PendingRestart) -> Backoff:
    exit_ = None
    if pending.cause:
        known = {cause.value: cause for cause in Cause}
        cause = known.get(pending.cause, Cause.VANISHED)
        exit_ = Exit(cause, pending.code, pending.message, pending.remedy)
    return Backoff(
        pending.retry_at, pending.failures, pending.incarnation, pending.restarts, exit_, pending.ended_at
    )

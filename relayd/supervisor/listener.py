"""What the supervisor announces of each replica to the router and the scheduler (listener protocol)."""

from typing import Protocol

from relayd.endpoint import Endpoint
from relayd.planner import Planned
from relayd.supervisor.state import State

_ROUTED = (State.READY, State.UNHEALTHY, State.DRAINING)
"""States in which an incarnation may have requests."""


class ReplicaListener(Protocol):
    """Called for every change that concerns requests, in order, from the event loop."""

    def waiting(self, replica: str, model: str) -> None:
        """A replica has asked for its memory, and is started when that is granted."""

    def expected(self, replica: str, model: str) -> None:
        """A replica is on its way."""

    def ready(self, planned: Planned, endpoint: Endpoint) -> None:
        """A replica takes requests."""

    def paused(self, replica: str) -> None:
        """A replica is unwell and takes no new request until it is ready again."""

    def draining(self, replica: str) -> None:
        """A replica takes no new request; call `Replica.idle` when it has finished the others."""

    def stopping(self, endpoint: Endpoint) -> None:
        """An incarnation is about to be ended by command, whatever it still works on."""

    def lost(self, endpoint: Endpoint) -> None:
        """An incarnation that was ready has ended."""

    def unloaded(self, replica: str, model: str, reason: str) -> None:
        """A replica is wanted but not in memory; `reason` is why, for clients that ask for it."""

    def load_failed(self, replica: str, reason: str) -> None:
        """A load on demand has failed; `unloaded` follows."""

    def gone(self, replica: str, reason: str) -> None:
        """A replica was stopped or given up, or comes back only much later: requests do not wait for it."""

    def forgotten(self, replica: str) -> None:
        """A replica is no longer part of the plan."""


def announce(
    listener: ReplicaListener,
    old: State,
    new: State,
    planned: Planned,
    *,
    endpoint: Endpoint | None,
    reason: str,
) -> None:
    """Announce what a change of state means for requests, and nothing else.

    Args:
        listener: Who is called.
        old: The state before.
        new: The state now.
        planned: What runs, or would.
        endpoint: Where the incarnation answers, or answered; None without one.
        reason: Why it is not in memory, was stopped or given up, or is started again only much later.
    """
    if old in _ROUTED and new not in _ROUTED and endpoint:
        if new is State.STOPPING:
            listener.stopping(endpoint)
        listener.lost(endpoint)
    match new:
        case State.COLD:
            listener.unloaded(planned.name, planned.model, reason)
        case State.WAITING:
            listener.waiting(planned.name, planned.model)
        case State.STARTING | State.LOADING if old is not State.STARTING:
            listener.expected(planned.name, planned.model)
        case State.READY if endpoint:
            listener.ready(planned, endpoint)
        case State.UNHEALTHY:
            listener.paused(planned.name)
        case State.DRAINING:
            listener.draining(planned.name)
        case State.BACKOFF if reason and old is not State.BACKOFF:
            listener.gone(planned.name, reason)
        case State.STOPPED | State.FATAL:
            listener.gone(planned.name, reason)

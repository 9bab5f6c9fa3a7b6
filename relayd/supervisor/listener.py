"""What the supervisor announces of each replica to whoever routes requests (listener protocol)."""

from typing import Protocol

from relayd.endpoint import Endpoint
from relayd.planner import Planned


class ReplicaListener(Protocol):
    """Called for every change that concerns requests, in order, from the event loop."""

    def expected(self, replica: str, model: str) -> None:
        """A replica is on its way."""

    def ready(self, planned: Planned, endpoint: Endpoint) -> None:
        """A replica takes requests."""

    def paused(self, replica: str) -> None:
        """A replica is unwell and takes no new request until it is ready again."""

    def draining(self, replica: str) -> None:
        """A replica takes no new request; call `Replica.idle` when it has finished the others."""

    def lost(self, endpoint: Endpoint) -> None:
        """An incarnation that was ready is no more."""

    def gone(self, replica: str, reason: str) -> None:
        """A replica will not come back by itself."""

    def forgotten(self, replica: str) -> None:
        """A replica is no longer part of the plan."""

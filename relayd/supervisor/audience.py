"""Who wants to know which replicas can take requests?"""

from typing import Protocol

from relayd.endpoint import Endpoint
from relayd.planner import Planned


class Audience(Protocol):
    """Told of every change that concerns requests, in order."""

    def expected(self, replica: str, model: str) -> None:
        """A replica is on its way."""

    def ready(self, planned: Planned, endpoint: Endpoint) -> None:
        """A replica takes requests."""

    def draining(self, replica: str) -> None:
        """A replica takes no new request; tell `Replica.idle` when it has finished the others."""

    def lost(self, endpoint: Endpoint) -> None:
        """An incarnation that was ready is no more."""

    def gone(self, replica: str, reason: str) -> None:
        """A replica will not come back by itself."""

    def forgotten(self, replica: str) -> None:
        """A replica is no longer part of the plan."""

"""Notices while replicas come up: to the service manager, and to the output of `relayd serve`."""

import asyncio
from collections.abc import Callable

from relayd.daemon.parts import DaemonParts
from relayd.daemon.shutdown import Shutdown
from relayd.supervisor import Status
from relayd.supervisor.state import COMING_UP

OnSettled = Callable[[list[Status]], None]
"""Called once with every replica's status, when none is coming up any more."""


class Announcer:
    """Shows the fleet's counts to the service manager, and reports once that the replicas have come up."""

    def __init__(self, parts: DaemonParts, shutdown: Shutdown) -> None:
        self._parts = parts
        self._shutdown = shutdown
        self._on_settled: OnSettled | None = None
        parts.bridge.on_change(self._changed)

    def __repr__(self) -> str:
        return f"<Announcer: {self._parts.counts()}{', coming up' if self._on_settled else ''}>"

    def await_settled(self, on_settled: OnSettled) -> None:
        """Call `on_settled` once; the replicas have been started."""
        self._on_settled = on_settled
        self._changed()

    def _changed(self) -> None:
        asyncio.get_running_loop().call_soon(self._announce)

    def _announce(self) -> None:
        if not self._shutdown.requested:
            self._parts.notifier.status(self._parts.counts())
        statuses = self._parts.fleet.statuses()
        if self._on_settled and not any(status.state in COMING_UP for status in statuses):
            on_settled, self._on_settled = self._on_settled, None
            on_settled(statuses)

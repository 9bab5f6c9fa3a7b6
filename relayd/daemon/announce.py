"""Notices while the daemon runs: to the service manager, and to the output of `relayd serve`."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from relayd.daemon.parts import DaemonParts
from relayd.daemon.report import ReloadReport
from relayd.daemon.shutdown import Shutdown
from relayd.supervisor import Status
from relayd.supervisor.state import COMING_UP

LOOK_SECONDS = 0.3
"""How often the progress of loads is shown."""


class DaemonOutput(Protocol):
    """Shows what a daemon does; called on the event loop, if not stated otherwise."""

    @property
    def shows_loads(self) -> bool:
        """Whether the progress of loads is looked at."""
        ...

    @property
    def shows_dashboard(self) -> bool:
        """Whether a person reads it, for whom a link to the dashboard is made."""
        ...

    def listening(self, url: str, *, keyed: bool, dashboard: str) -> None:
        """Clients can connect; `keyed` is whether they need a key.

        `dashboard` is a link that opens the page once; empty where no person reads it.
        """
        ...

    def closed(self) -> None:
        """Requests for models need a key from now on, and did not before."""
        ...

    def settled(self, statuses: Sequence[Status]) -> None:
        """No replica is coming up any more; called once."""
        ...

    def changed(self, statuses: Sequence[Status]) -> None:
        """Replicas may have changed."""
        ...

    def loading(self, statuses: Sequence[Status]) -> None:
        """Some replicas are loading: called repeatedly, in a thread, once more when none is."""
        ...

    def reloaded(self, report: ReloadReport | None, refusal: str) -> None:
        """The configuration was followed anew, or could not be."""
        ...

    def stopping(self, requests: int, seconds: float) -> None:
        """The daemon ends, and finishes so many requests within so long."""
        ...

    def cut(self, requests: int) -> None:
        """The daemon ends now, with so many requests unfinished."""
        ...


class NoOutput:
    """Shows nothing."""

    shows_loads = False
    shows_dashboard = False

    def listening(self, url: str, *, keyed: bool, dashboard: str) -> None:
        """Show nothing."""

    def closed(self) -> None:
        """Show nothing."""

    def settled(self, statuses: Sequence[Status]) -> None:
        """Show nothing."""

    def changed(self, statuses: Sequence[Status]) -> None:
        """Show nothing."""

    def loading(self, statuses: Sequence[Status]) -> None:
        """Show nothing."""

    def reloaded(self, report: ReloadReport | None, refusal: str) -> None:
        """Show nothing."""

    def stopping(self, requests: int, seconds: float) -> None:
        """Show nothing."""

    def cut(self, requests: int) -> None:
        """Show nothing."""


NO_OUTPUT = NoOutput()


class Announcer:
    """Shows the fleet's counts to the service manager, and changes and loads of replicas to an output.

    Args:
        parts: Of the daemon.
        shutdown: Whether it is about to end.
        output: What shows them.
    """

    def __init__(self, parts: DaemonParts, shutdown: Shutdown, output: DaemonOutput = NO_OUTPUT) -> None:
        self._parts = parts
        self._shutdown = shutdown
        self._output = output
        self._is_settled = True
        self._looks: asyncio.Task[None] | None = None
        parts.bridge.on_change(self._changed)

    def __repr__(self) -> str:
        return f"<Announcer: {self._parts.counts()}{'' if self._is_settled else ', coming up'}>"

    def await_settled(self) -> None:
        """Have the output shown once that no replica is coming up any more; they have been started."""
        self._is_settled = False
        self._changed()

    def _changed(self) -> None:
        asyncio.get_running_loop().call_soon(self._announce)

    def _announce(self) -> None:
        if self._shutdown.requested:
            return
        self._parts.notifier.status(self._parts.counts())
        statuses = self._parts.fleet.statuses()
        self._output.changed(statuses)
        is_loading = any(status.state in COMING_UP for status in statuses)
        if is_loading and self._output.shows_loads and self._looks is None:
            self._looks = asyncio.create_task(self._look())
        if not self._is_settled and not is_loading:
            self._is_settled = True
            self._output.settled(statuses)

    async def _look(self) -> None:
        """Show how far loads are until none is under way."""
        is_loading = True
        while is_loading:
            statuses = self._parts.fleet.statuses()
            is_loading = any(one.state in COMING_UP for one in statuses) and not self._shutdown.requested
            await asyncio.to_thread(self._output.loading, statuses if is_loading else ())
            await asyncio.sleep(LOOK_SECONDS if is_loading else 0)
        self._looks = None

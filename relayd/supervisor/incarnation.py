"""One life of a replica: its process, watched for its end and asked how it is."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from functools import partial

from relayd.clock import Clock
from relayd.endpoint import Endpoint
from relayd.journal import Journal
from relayd.supervisor.causes import Cause, Exit, HeldExit
from relayd.supervisor.child import Child
from relayd.supervisor.health import HealthCheck, Verdict, Warm
from relayd.supervisor.probe import Fetch
from relayd.supervisor.state import Event
from relayd.supervisor.status import Settings
from relayd.supervisor.watch import ExitWatch

_JOURNAL = Journal("supervisor")

_EVENTS = {
    Verdict.LOADING: Event.ANSWERED_LOADING,
    Verdict.READY: Event.ANSWERED_READY,
    Verdict.FAILING: Event.PROBE_FAILED,
}


Keep = Callable[[Endpoint, float], Awaitable[None]]
"""Keeps something of a replica before its end, within some seconds."""


class Incarnation:
    """A process from its start to its end.

    Args:
        child: The process.
        clock: Time.
        settings: How often it is asked, and for how long it may be silent.
        fetch: Reads from it.
        busy: Returns whether it has requests to work on.
        report: Called from the event loop with what happens to it.
        adopted: Whether an earlier daemon started it, so that it should answer already.
        warm: Awaited before it counts as ready.

    Attributes:
        verdict: Why the health check has killed it; None if it has not.
        health_fault: What went wrong in relayd itself when it last failed to look at it.
    """

    def __init__(
        self,
        child: Child,
        clock: Clock,
        settings: Settings,
        fetch: Fetch,
        busy: Callable[[str], bool],
        report: Callable[[Event], None],
        *,
        adopted: bool = False,
        warm: Warm | None = None,
    ) -> None:
        self.child = child
        self.verdict: Exit | None = None
        self.health_fault: str | None = None
        self._clock = clock
        self._replicas = settings.replicas
        self._report = report
        self._overdue: asyncio.TimerHandle | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._ready_since: float | None = None
        self._watch = ExitWatch(child.pid, self._exited)
        idle_or_busy = partial(busy, child.endpoint.replica)
        self._health = HealthCheck(
            child, idle_or_busy, settings.probe, settings.replicas, clock, fetch, adopted=adopted, warm=warm
        )
        self._health.begin(self.judge)

    def __repr__(self) -> str:
        return f"<Incarnation {self.endpoint.replica} {self.endpoint.incarnation}: pid {self.child.pid}>"

    @property
    def endpoint(self) -> Endpoint:
        """Where it answers."""
        return self.child.endpoint

    def served_seconds(self) -> float | None:
        """Return for how long it has been ready, since the first time; None if it never was."""
        return None if self._ready_since is None else self._clock.monotonic() - self._ready_since

    def terminate(self, keep: Keep | None = None) -> None:
        """Send SIGTERM to its process group, and SIGKILL when it has not ended in time.

        Args:
            keep: Awaited before, in half of that time.
        """
        self._in(self._replicas.stop_seconds, self._kill_overdue)
        if keep is None:
            self._ask_to_end()
        else:
            self._keeping = asyncio.get_running_loop().create_task(self._end_after(keep))

    async def _end_after(self, keep: Keep) -> None:
        await keep(self.endpoint, self._replicas.stop_seconds / 2)
        self._ask_to_end()

    def _ask_to_end(self) -> None:
        self.child.signal(signal.SIGTERM)
        self.child.signal(signal.SIGCONT)  # a stopped process would keep TERM pending

    def kill(self) -> None:
        """Send SIGKILL to its process group now."""
        self.child.signal(signal.SIGKILL)

    def suspect(self) -> None:
        """Find out whether its inference thread stands still, and if so end it."""
        self._health.suspect(self.judge)

    def leave(self) -> None:
        """Look no more; the process stays as it is."""
        self._watch.close()
        self._end()

    def judge(self, verdict: Verdict, message: str) -> None:
        """Take what the health check found."""
        if verdict is Verdict.FAULT:
            self.health_fault = message
        elif event := _EVENTS.get(verdict):
            if event is Event.ANSWERED_READY and self._ready_since is None:
                self._ready_since = self._clock.monotonic()
            self._report(event)
        else:
            cause = Cause.IMPOSTOR if verdict is Verdict.IMPOSTOR else Cause.NOT_ANSWERING
            kind = HeldExit if verdict is Verdict.HELD else Exit
            self.verdict = kind(cause, -signal.SIGKILL, message)
            self.kill()

    def _exited(self) -> None:
        self._end()
        self._report(Event.EXITED)

    def _end(self) -> None:
        self._health.end()
        if self._overdue:
            self._overdue.cancel()
        if self._keeping:
            self._keeping.cancel()

    def _in(self, seconds: float, callback: Callable[[], None]) -> None:
        if self._overdue:
            self._overdue.cancel()
        self._overdue = asyncio.get_running_loop().call_later(seconds, callback)

    def _kill_overdue(self) -> None:
        _JOURNAL.warning("replica.killed", replica=self.endpoint.replica, pid=self.child.pid)
        self.kill()
        self._in(self._replicas.kill_seconds, self._report_unkillable)

    def _report_unkillable(self) -> None:
        _JOURNAL.error("replica.unkillable", replica=self.endpoint.replica, pid=self.child.pid)

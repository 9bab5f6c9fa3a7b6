"""The process of a replica: launched, watched, ended and examined, one at a time."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from relayd.endpoint import Endpoint
from relayd.planner.wall import MemoryWall
from relayd.supervisor.causes import Cause, Exit
from relayd.supervisor.child import Child
from relayd.supervisor.dependencies import Dependencies
from relayd.supervisor.examination import Examination, Findings
from relayd.supervisor.health import Warm
from relayd.supervisor.incarnation import Incarnation, Keep
from relayd.supervisor.launching import Launch, Launching, NotStarted
from relayd.supervisor.restarts import NOT_SERVED, Served
from relayd.supervisor.sizing import Sizing
from relayd.supervisor.state import Event
from relayd.supervisor.status import Settings

Began = Callable[[Child | NotStarted], None]
Ended = Callable[[Findings, Served], None]


class ReplicaProcess:
    """The process of one replica, while there is one.

    Args:
        dependencies: What it touches.
        report: Called from the event loop with what happens to it.
        ended: Called with what its examination has found, and how it had served.
    """

    def __init__(self, dependencies: Dependencies, report: Callable[[Event], object], ended: Ended) -> None:
        self._dependencies = dependencies
        self._report = report
        self._ended = ended
        self._launching: Launching | None = None
        self._incarnation: Incarnation | None = None
        self._served = NOT_SERVED

    def __repr__(self) -> str:
        return f"<ReplicaProcess: {self._incarnation or 'none'}, {self._launching or 'not launched here'}>"

    @property
    def pid(self) -> int | None:
        """Its process id; None while there is none."""
        return self._incarnation.child.pid if self._incarnation else None

    @property
    def wall(self) -> MemoryWall | None:
        """What stops it from taking all memory; None while there is none."""
        return self._incarnation.child.wall if self._incarnation else None

    @property
    def is_started_here(self) -> bool:
        """Whether this daemon has launched it, or is about to."""
        return self._launching is not None

    @property
    def endpoint(self) -> Endpoint | None:
        """Where it answers."""
        return self._incarnation.endpoint if self._incarnation else None

    @property
    def health_fault(self) -> str | None:
        """What went wrong in relayd itself when it last failed to look at it."""
        return self._incarnation.health_fault if self._incarnation else None

    @property
    def launch_work(self) -> "asyncio.Future[Any] | None":
        """What a start that is under way still does in a thread: its files, or its record."""
        work = self._launching.work if self._launching else None
        return None if work is None or work.done() else work

    def launch(self, prepare: Callable[[], Launch], began: Began) -> None:
        """Start one.

        Args:
            prepare: Makes what the start needs; may block, runs in a thread.
            began: Called with the process, or with why there is none.
        """
        self._launching = Launching(prepare, began)

    def attend(
        self, child: Child, settings: Settings, *, adopted: bool = False, warm: Warm | None = None
    ) -> None:
        """Look after a process until it ends; `warm` is awaited before it counts as ready."""
        needs = self._dependencies
        self._incarnation = Incarnation(
            child, needs.clock, settings, needs.fetch, needs.busy, self._take, adopted=adopted, warm=warm
        )

    def terminate(self, keep: Keep | None = None) -> None:
        """Send SIGTERM, and SIGKILL when it has not ended in time; call off a start that is under way.

        Args:
            keep: Awaited before, in half of that time.
        """
        if self._launching and self._launching.under_way:
            self._launching.call_off()
        elif self._incarnation:
            self._incarnation.terminate(keep)

    def suspect(self) -> None:
        """Find out whether its inference thread stands still, and if so end it."""
        if self._incarnation:
            self._incarnation.suspect()

    def kill(self) -> None:
        """Send SIGKILL to its group now."""
        if self._incarnation:
            self._incarnation.kill()

    def leave(self) -> None:
        """Look no more; the process stays as it is."""
        if self._launching:
            self._launching.call_off()  # nothing, once there is a process
        if self._incarnation:
            self._incarnation.leave()

    def examine(self, sizing: Sizing, *, commanded: bool) -> None:
        """Find out in a thread why the process has ended.

        Args:
            sizing: The size it had.
            commanded: Whether it was stopped.
        """
        ended, self._incarnation = self._incarnation, None
        if ended is None:
            return
        served, needs = self._served, self._dependencies
        examination = Examination(
            ended.child,
            ended.verdict,
            sizing,
            needs.smaller,
            needs.out_of_memory,
            served.was_ready,
        )
        look = examination.of_commanded if commanded else examination.of_unexpected
        looking = asyncio.get_running_loop().run_in_executor(None, look)
        looking.add_done_callback(partial(self._examined, ended.endpoint, served))

    def _take(self, event: Event) -> None:
        """Pass on what happens to it; how it had served is asked before its end is known to anyone."""
        if event is Event.EXITED and (ended := self._incarnation):
            needs, endpoint = self._dependencies, ended.endpoint
            self._served = Served(
                ended.served_seconds(), needs.in_flight(endpoint), needs.busy(endpoint.replica)
            )
        self._report(event)

    def _examined(self, endpoint: Endpoint, served: Served, looking: "asyncio.Future[Findings]") -> None:
        if fault := looking.exception():
            found = Findings(Exit(Cause.VANISHED, None, f"its end could not be examined: {fault!r}"))
        else:
            found = looking.result()
        self._dependencies.explain(endpoint, found.exit.blame)
        self._ended(found, served)

"""Health checks: whether the running incarnation answers, loads, or hangs."""

import asyncio
from collections.abc import Awaitable, Callable
from enum import Enum

from relayd.clock import Clock
from relayd.config.schema import Probe, Replicas
from relayd.engine.commandline import batch_of
from relayd.journal import Journal
from relayd.supervisor.child import Child
from relayd.supervisor.probe import Fetch, Prober, ProbeResult
from relayd.supervisor.progress import cpu_seconds, has_moved, progress
from relayd.supervisor.stall import NO_ANSWER, Look, StallWatch


class Verdict(Enum):
    """What a health check reports to its replica."""

    LOADING = "loading"
    READY = "ready"
    FAILING = "failing"
    HUNG = "hung"
    HELD = "hung in a request"
    IMPOSTOR = "impostor"
    FAULT = "fault of our own"


Report = Callable[[Verdict, str], None]
Warm = Callable[[], Awaitable[None]]
"""Has a replica read something before it counts as ready."""


class AwakeTime:
    """Seconds in which this process was awake to look.

    A machine that slept, or a daemon that was stopped, does not count as silence of a replica: of a gap
    between two looks, only `longest_gap` counts.

    Args:
        clock: Time.
        longest_gap: Seconds between two looks when all goes well, with some to spare.
    """

    def __init__(self, clock: Clock, longest_gap: float) -> None:
        self._clock = clock
        self._longest_gap = longest_gap
        self._last = clock.monotonic()
        self._seconds = 0.0

    def seconds(self) -> float:
        """Return the seconds so far."""
        now = self._clock.monotonic()
        self._seconds += min(now - self._last, self._longest_gap)
        self._last = now
        return self._seconds


class HealthCheck:
    """Watches one incarnation from its start to its end.

    A load may take as long as it moves: it is called hung only when neither memory, bytes
    read nor log have changed for `load_stall_seconds`. Later it hangs when it does not answer,
    or when its requests get nowhere. A look that fails by a fault of ours is not counted against the
    replica: it is reported, and repeated.

    Args:
        child: The process.
        busy: Returns whether it has requests to work on.
        probe: How often it is asked.
        replicas: How long a load may stand still.
        clock: Time.
        fetch: Reads from it.
        adopted: Whether an earlier daemon started it, so that it should answer already.
        warm: Awaited before it counts as ready.
    """

    def __init__(
        self,
        child: Child,
        busy: Callable[[], bool],
        probe: Probe,
        replicas: Replicas,
        clock: Clock,
        fetch: Fetch,
        *,
        adopted: bool = False,
        warm: Warm | None = None,
    ) -> None:
        self._adopted = adopted
        self._warm = warm
        self._prober = Prober(child.endpoint, fetch, timeout_seconds=probe.timeout_seconds)
        self._child = child
        self._busy = busy
        self._probe = probe
        self._replicas = replicas
        self._awake = AwakeTime(clock, 2 * (probe.ready_seconds + probe.timeout_seconds))
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self._suspecting: asyncio.Task[None] | None = None
        self._was_ready = False
        self._faults = 0

    def begin(self, report: Report) -> None:
        """Start looking; `report` is called from the event loop."""
        self._task = asyncio.get_running_loop().create_task(self._watch(report))

    def end(self) -> None:
        """Stop looking; nothing is reported any more."""
        for task in (self._task, self._suspecting):
            if task:
                task.cancel()
        self._task = None

    def suspect(self, report: Report) -> None:
        """Look whether its inference thread stands still, and report it if it does; one look at a time."""
        if self._suspecting is None or self._suspecting.done():
            self._suspecting = asyncio.get_running_loop().create_task(self._examine(report))

    async def _examine(self, report: Report) -> None:
        """Look twice: a thread that burns CPU and decodes nothing is stuck in one request.

        Two batches of a long prompt may pass in between: on a slow machine one takes longer than the
        interval, and moves the count only at its end.
        """
        before = await self._seen()
        while before:
            await asyncio.sleep(max(self._probe.suspect_seconds, 2 * before.batch_seconds))
            now = await self._seen()
            if now and now.stands_still(before):
                verdict = Verdict.HUNG if now.reports else Verdict.HELD
                report(verdict, f"its inference thread stood still for {now.at - before.at:.0f} s, busy")
            before = now if now and now.fell_silent(before) else None

    async def _seen(self) -> Look | None:
        seen = await self._prober.decoding(batch_of(self._child.command))
        if seen is None:
            return None
        return Look(*seen, cpu_seconds(self._child.pid), self._clock.monotonic())

    async def _watch(self, report: Report) -> None:
        """Look for as long as the replica lives, whatever befalls a look."""
        while True:
            try:
                await self._look(report)
            except Exception as fault:  # noqa: BLE001 - whatever it is, a replica must not be left unwatched
                self._faults += 1
                self._report_fault(report, repr(fault))
            else:
                return
            await asyncio.sleep(self._probe.slow_seconds)

    def _report_fault(self, report: Report, fault: str) -> None:
        if self._faults == 1:  # one trace is enough: the next fault may come every second
            replica = self._child.endpoint.replica
            Journal("supervisor").error("health.fault", trace=True, replica=replica, message=fault)
        report(Verdict.FAULT, f"{fault}, {self._faults} so far")

    async def _look(self, report: Report) -> None:
        self._was_ready = self._was_ready or await self._until_ready(report)
        if self._was_ready:
            await self._while_ready(report)

    async def _until_ready(self, report: Report) -> bool:
        """Return True once it is ready, False when it must be given up."""
        began = moved = self._awake.seconds()
        answered, best = False, progress(self._child.pid, self._child.log)
        while True:
            answer = health = await self._prober.health()
            if health is ProbeResult.READY:
                answer = await self._prober.identity()
            if answer is ProbeResult.READY:
                if self._warm is not None:
                    await self._warm()
                report(Verdict.READY, "")
                return True
            if answer is ProbeResult.IMPOSTOR:
                report(Verdict.IMPOSTOR, f"another process answers on {self._child.endpoint.address}")
                return False
            if answer is ProbeResult.LOADING and not answered:
                answered = True
                report(Verdict.LOADING, "")
            now = self._awake.seconds()
            figures = progress(self._child.pid, self._child.log)
            # What has loaded has nothing left to move but its log, by our own questions.
            if health is not ProbeResult.READY and has_moved(best, figures):
                moved, best = now, tuple(map(max, figures, best or figures))
            if answer is ProbeResult.LOADING:
                patience = self._replicas.load_stall_seconds
            elif self._adopted or health is ProbeResult.READY:
                patience = self._probe.hung_seconds
            else:
                patience = self._replicas.ready_seconds
            if now - moved > patience:
                report(Verdict.HUNG, f"it did not get ready: nothing moved for {patience:g} s")
                return False
            await asyncio.sleep(self._pause(now - began))

    async def _while_ready(self, report: Report) -> None:
        """Look for as long as it serves.

        One that does not report its counters has its inference thread held by a request, also by one that
        was left: the engine closes its connection at once. It gets no new work, and is examined.
        """
        failures, last_answer = 0, self._awake.seconds()
        was_busy = is_silent = False
        stall = StallWatch(self._probe.stall_seconds)
        while True:
            await asyncio.sleep(self._probe.slow_seconds if failures else self._probe.ready_seconds)
            if await self._prober.health() is ProbeResult.READY:
                failures, last_answer = 0, self._awake.seconds()
                is_busy = self._busy()
                looks = is_busy or was_busy or is_silent
                counters = await self._prober.counters() if looks else None
                was_busy, is_silent = is_busy, counters == NO_ANSWER
                report(Verdict.FAILING if is_silent else Verdict.READY, "")
                if is_silent:
                    self.suspect(report)
                hung = stall.observe(last_answer, counters, cpu_seconds(self._child.pid))
                if hung is not None:
                    report(Verdict.HUNG, f"its requests got nowhere for {hung:.0f} s")
                    return
                continue
            failures += 1
            if failures == self._probe.failures:
                report(Verdict.FAILING, "")
            silent = self._awake.seconds() - last_answer
            if silent > self._probe.hung_seconds:
                report(Verdict.HUNG, f"it has not answered for {silent:.0f} s")
                return

    def _pause(self, age_seconds: float) -> float:
        """Return how long to wait before the next look: a small model is ready in 22 ms."""
        if age_seconds < 2:
            return self._probe.fast_seconds
        return min(0.1, self._probe.slow_seconds) if age_seconds < 20 else self._probe.slow_seconds

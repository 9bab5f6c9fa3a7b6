"""What happens to one replica, from the wish for it to its end?"""

import asyncio
import random
import signal
from collections import deque
from collections.abc import Callable
from functools import partial

from relayd.errors import DaemonError, RelaydError
from relayd.journal import Journal
from relayd.planner import Planned, ReplicaSpec, Step
from relayd.supervisor.backoff import Budget, backoff_seconds
from relayd.supervisor.causes import Cause, Exit, classify, may_be_oom
from relayd.supervisor.child import Child
from relayd.supervisor.dependencies import Dependencies
from relayd.supervisor.health import HealthCheck, Verdict
from relayd.supervisor.logs import since
from relayd.supervisor.state import ALIVE, Event, Intent, State, after, knows
from relayd.supervisor.status import Settings, Status
from relayd.supervisor.watch import ExitWatch

_LAST_WORDS = 20
"""Lines of the engine's log that are kept of an incarnation that ended on its own."""

_MOST_STEPS = 4
"""Smaller specs that are tried before a replica that does not fit is given up."""


class Replica:
    """One replica's life: events in, processes and announcements out.

    Nothing here waits: what takes time runs in a timer, a watch or the health check, and
    comes back as an event of the incarnation it belongs to.
    """

    def __init__(self, planned: Planned, dependencies: Dependencies, settings: Settings) -> None:
        self.planned = self.wanted = planned
        self.state = State.STOPPED
        self._dependencies = dependencies
        self._listener = dependencies.listener
        self._settings = settings
        self._clock = dependencies.clock
        self._journal = Journal("supervisor")
        self._random = random.Random()  # noqa: S311 - spreads restarts, guards nothing
        self._budget = Budget(settings.restart.budget, settings.restart.budget_seconds)
        self._inbox: deque[Event] = deque()
        self._intent = Intent.STOP
        self._child: Child | None = None
        self._last_child: Child | None = None
        self._watch: ExitWatch | None = None
        self._health: HealthCheck | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._next: Planned | None = None
        self._steps: list[Step] = []
        self._last_words: tuple[str, ...] = ()
        self._drain_timeout: float | None = None
        self._released = False
        self._changed = asyncio.Event()
        self._verdict: Exit | None = None
        self._health_fault: str | None = None
        self._ready_since: float | None = None
        self._failures = 0
        self._restarts = 0
        self._incarnation = 0
        self._since = dependencies.clock.wall()
        self._last_exit: Exit | None = None
        self._last_exit_at: float | None = None
        self._retry_at: float | None = None

    @property
    def spec(self) -> ReplicaSpec:
        """What runs, or would."""
        return self.planned.spec

    def start(self) -> None:
        """Bring the replica up: now, or once the old process has ended; nothing if it is up."""
        self._intent = Intent.RESTART
        if knows(self.state, Event.START):
            self._budget.refill()
            self._failures = 0
            self._next = self.wanted
            self._steps.clear()
            self._handle(Event.START)

    def adopt(self) -> bool:
        """Take over the process that an earlier daemon started; return whether there is one."""
        child = self._dependencies.launcher.adopt(self.planned) if self.state is State.STOPPED else None
        if child is None:
            return False
        self._intent = Intent.RESTART
        self._incarnation = child.endpoint.incarnation
        self._journal.info("replica.adopted", replica=self.spec.name, pid=child.pid)
        self._attend(child, adopted=True)
        self._handle(Event.ADOPT)
        return True

    def restart(self, planned: Planned | None = None) -> None:
        """Bring the replica down after what it works on, and up again, as planned anew if so."""
        self._next = self.wanted = planned or self.wanted
        self._steps.clear()
        if knows(self.state, Event.START):
            self.start()
            return
        self._drain_timeout = self._settings.replicas.drain_seconds
        self._bring_down(drain=True)
        self._intent = Intent.RESTART

    def stop(self, drain_timeout: float | None) -> None:
        """Bring the replica down; nothing if it is down.

        Args:
            drain_timeout: Seconds that its requests may take to finish; 0 stops it at once, None waits
                for ever.
        """
        self._drain_timeout = drain_timeout
        self._bring_down(drain=drain_timeout != 0)

    def _bring_down(self, *, drain: bool) -> None:
        self._intent = Intent.STOP
        if drain and knows(self.state, Event.DRAIN):
            self._handle(Event.DRAIN)
        elif knows(self.state, Event.STOP) and not (drain and self.state in (State.DRAINING, State.STOPPING)):
            self._handle(Event.STOP)

    def kill(self) -> None:
        """Send SIGKILL to the process group now."""
        self.stop(0)
        if self._child and not self._released:
            self._child.signal(signal.SIGKILL)

    def release(self) -> None:
        """Leave the process as it is to another daemon; from here on nothing happens to this value."""
        self._released = True
        self._changed.set()
        self._cancel_timer()
        if self._watch:
            self._watch.close()
        if self._health:
            self._health.end()

    def idle(self) -> None:
        """Take note that a draining replica has nothing left to do."""
        if knows(self.state, Event.IDLE):
            self._handle(Event.IDLE)

    async def down(self) -> None:
        """Wait until there is no process and none will come by itself."""
        await self.reached(State.STOPPED, State.FATAL)

    async def reached(self, *states: State) -> State:
        """Wait until it is in one of some states, and return that one.

        Raises:
            DaemonError: Another daemon looks after it now.
        """
        while self.state not in states:
            if self._released:
                raise DaemonError("a new daemon has taken over meanwhile", remedy="ask again")
            await self._changed.wait()
        return self.state

    def configure(self, settings: Settings) -> None:
        """Take new intervals, for what begins from now on."""
        self._settings = settings

    def status(self) -> Status:
        """Return what there is to know about it now."""
        child, last = self._child, self._last_child
        return Status(
            planned=self.planned,
            state=self.state,
            since=self._since,
            pid=child.pid if child else None,
            incarnation=self._incarnation,
            address=str(child.endpoint.address) if child else None,
            restarts=self._restarts,
            budget_left=max(0, self._budget.left(self._clock.monotonic())),
            reduced=tuple(step.what for step in self._steps),
            last_exit=self._last_exit,
            last_exit_at=self._last_exit_at,
            last_words=self._last_words,
            retry_at=self._retry_at,
            health_fault=self._health_fault,
            log=last.log if last else None,
            command=last.command if last else (),
        )

    def _handle(self, event: Event) -> None:
        """Take an event; one that arises while another is handled waits for its turn."""
        if self._released:
            return
        self._inbox.append(event)
        if len(self._inbox) > 1:
            return
        while self._inbox:
            try:
                self._step(self._inbox[0])
            finally:
                self._inbox.popleft()

    def _step(self, event: Event) -> None:
        old, new = self.state, after(self.state, event)
        self.state = new
        self._since = self._clock.wall()
        self._retry_at = None
        self._cancel_timer()
        incarnation = self._incarnation + (new is State.STARTING)
        self._journal.info(f"replica.{new.value}", replica=self.spec.name, incarnation=incarnation)
        self._announce(old, new)
        self._enter(new)
        self._changed.set()
        self._changed = asyncio.Event()

    def _announce(self, old: State, new: State) -> None:
        """Tell the listener what a change means for requests, and nothing else."""
        routed = (State.READY, State.UNHEALTHY, State.DRAINING)
        if new is State.READY and self._child:
            self._listener.ready(self.planned, self._child.endpoint)
        elif new is State.UNHEALTHY:
            self._listener.paused(self.spec.name)
        elif new is State.DRAINING:
            self._listener.draining(self.spec.name)
        elif old in routed and self._child:
            self._listener.lost(self._child.endpoint)
        if new in (State.STARTING, State.LOADING) and old in (State.STOPPED, State.FATAL, State.STOPPING):
            self._listener.expected(self.spec.name, self.spec.model)
        if new in (State.STOPPED, State.FATAL):
            self._listener.gone(self.spec.name, self._gone_reason())

    def _enter(self, state: State) -> None:
        """Do what a state begins with."""
        match state:
            case State.STARTING:
                self._spawn()
            case State.READY:
                self._ready_since = self._ready_since or self._clock.monotonic()
            case State.DRAINING if self._drain_timeout is not None:
                self._after(self._drain_timeout, self.idle)
            case State.STOPPING:
                self._terminate()
            case State.BACKOFF:
                self._wait_for_retry()

    def _spawn(self) -> None:
        self.planned, self._next = self._next or self.planned, None
        self._incarnation += 1
        self._verdict = self._ready_since = None
        try:
            child = self._dependencies.launcher.launch(self.planned, self._incarnation)
        except RelaydError as error:
            self._note_exit(Exit(Cause.SPAWN_FAILED, None, error.message, error.remedy))
            self._handle(Event.EXITED_FOR_GOOD)
            return
        except OSError as error:
            self._end_unexpected(Exit(Cause.SPAWN_FAILED, None, f"the system refused: {error.strerror}"))
            return
        self._attend(child)

    def _attend(self, child: Child, *, adopted: bool = False) -> None:
        """Watch a process for its end, and ask it how it is."""
        self._child, self._last_child = child, child
        self._health_fault = None
        self._watch = ExitWatch(child.pid, self._exited)
        busy = partial(self._dependencies.busy, self.spec.name)
        probe, replicas = self._settings.probe, self._settings.replicas
        self._health = HealthCheck(child, busy, probe, replicas, self._clock, adopted=adopted)
        self._health.begin(self._judge)

    def _judge(self, verdict: Verdict, message: str) -> None:
        """Take what the health check of the living incarnation found."""
        event = {
            Verdict.LOADING: Event.ANSWERED_LOADING,
            Verdict.READY: Event.ANSWERED_READY,
            Verdict.FAILING: Event.PROBE_FAILED,
        }.get(verdict)
        if verdict is Verdict.FAULT:
            self._health_fault = message
        elif event is not None:
            if knows(self.state, event):
                self._handle(event)
        elif self._child and self.state in ALIVE:
            cause = Cause.IMPOSTOR if verdict is Verdict.IMPOSTOR else Cause.NOT_ANSWERING
            self._verdict = Exit(cause, -signal.SIGKILL, message)
            self._child.signal(signal.SIGKILL)

    def _exited(self) -> None:
        child, self._watch = self._child, None
        if child is None:
            return
        if self._health:
            self._health.end()
        code = child.reap()
        commanded = self.state in (State.DRAINING, State.STOPPING)
        if commanded:
            self._note_exit(Exit(Cause.COMMANDED, code, "it was stopped"))
            self._handle(Event.EXITED_TO_START if self._intent is Intent.RESTART else Event.EXITED_TO_STOP)
        else:
            words = since(child.log, child.log_offset)
            self._last_words = tuple(words.splitlines()[-_LAST_WORDS:])
            starved = may_be_oom(code) and self._dependencies.out_of_memory(child.pid)
            self._end_unexpected(self._verdict or classify(code, words, out_of_memory=starved))
        if self._child is child:
            self._child = None

    def _end_unexpected(self, exit_: Exit) -> None:
        """Choose between another try and giving up."""
        now = self._clock.monotonic()
        stable = (
            self._ready_since is not None and now - self._ready_since >= self._settings.restart.stable_seconds
        )
        self._failures = 1 if stable else self._failures + 1
        self._note_exit(exit_)
        # What has served for a while fits: there it is something else that has grown.
        too_large = exit_.cause is Cause.DEVICE_OOM or (exit_.cause is Cause.HOST_OOM and not stable)
        if too_large and self._step_down(host=exit_.cause is Cause.HOST_OOM):
            self._handle(Event.EXITED_TO_RETRY)
            return
        allowed = self._budget.spend(now, exit_.weight)
        self._handle(Event.EXITED_TO_RETRY if allowed and not exit_.hopeless else Event.EXITED_FOR_GOOD)

    def _step_down(self, *, host: bool) -> bool:
        """Choose a smaller spec for the next start, and return whether there is one to try."""
        rung = self._steps[-1].rung if self._steps else 0
        step = (
            self._dependencies.smaller(self.planned, rung, host=host)
            if len(self._steps) < _MOST_STEPS
            else None
        )
        if step is None:
            return False
        self._journal.warning("replica.smaller", replica=self.spec.name, change=step.what)
        self._next = step.planned
        self._steps.append(step)
        return True

    def _wait_for_retry(self) -> None:
        restart = self._settings.restart
        delay = backoff_seconds(
            self._failures,
            first=restart.first_delay_seconds,
            most=restart.max_delay_seconds,
            jitter=self._random.uniform(-1, 1),
        )
        self._retry_at = self._clock.wall() + delay
        self._after(delay, self._retry)

    def _retry(self) -> None:
        self._restarts += 1
        self._handle(Event.RETRY_DUE)

    def _terminate(self) -> None:
        if self._child is None:
            return
        self._child.signal(signal.SIGTERM)
        self._child.signal(signal.SIGCONT)  # a stopped process would hold TERM pending for ever
        self._after(self._settings.replicas.stop_seconds, self._kill_overdue)

    def _kill_overdue(self) -> None:
        if self._child:
            self._journal.warning("replica.killed", replica=self.spec.name, pid=self._child.pid)
            self._child.signal(signal.SIGKILL)
            self._after(self._settings.replicas.kill_seconds, self._report_unkillable)

    def _report_unkillable(self) -> None:
        pid = self._child.pid if self._child else None
        self._journal.error("replica.unkillable", replica=self.spec.name, pid=pid)

    def _note_exit(self, exit_: Exit) -> None:
        self._last_exit, self._last_exit_at = exit_, self._clock.wall()
        log = self._journal.info if exit_.cause is Cause.COMMANDED else self._journal.warning
        log(
            "replica.exited",
            replica=self.spec.name,
            incarnation=self._incarnation,
            cause=exit_.cause.value,
            code=exit_.code,
            message=exit_.message,
        )

    def _gone_reason(self) -> str:
        if self.state is State.FATAL and self._last_exit:
            return f"{self.spec.name} gave up: {self._last_exit.message}"
        return f"{self.spec.name} is stopped"

    def _after(self, seconds: float, callback: Callable[[], None]) -> None:
        self._cancel_timer()
        self._timer = asyncio.get_running_loop().call_later(seconds, callback)

    def _cancel_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

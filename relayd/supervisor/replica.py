"""One replica, from its first start to its end: events in, processes and announcements out."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from relayd.journal import Journal
from relayd.planner import Planned, ReplicaSpec
from relayd.supervisor.child import Child
from relayd.supervisor.dependencies import Dependencies
from relayd.supervisor.durable import DurableState
from relayd.supervisor.examination import Findings
from relayd.supervisor.launching import NotStarted
from relayd.supervisor.listener import announce
from relayd.supervisor.machine import StateMachine
from relayd.supervisor.process import ReplicaProcess
from relayd.supervisor.restarts import NOT_SERVED, GiveUp, Retry, Served
from relayd.supervisor.sizing import Reduction
from relayd.supervisor.snapshot import Snapshot
from relayd.supervisor.state import DOWN, Event, State
from relayd.supervisor.status import Settings, Status

_JOURNAL = Journal("supervisor")

_RESUMED = {State.BACKOFF: Event.RESUME, State.FATAL: Event.RESUME_GIVEN_UP}
"""What brings a replica into the state that it had in another daemon, where no command does."""


class Replica:
    """One replica.

    Nothing here waits: what takes time runs in a timer, a watch, the health check or a thread, and comes
    back as an event. Where it stands is decided by the table in `state`, whether it starts again by
    `restarts`, in which size by `sizing`, and when by the grant of its memory.
    """

    def __init__(self, planned: Planned, dependencies: Dependencies, settings: Settings) -> None:
        self._dependencies = dependencies
        self._settings = settings
        self._machine = StateMachine(self._step)
        self._known = DurableState(planned, settings, dependencies.clock, dependencies.random, self._keep)
        self._process = ReplicaProcess(dependencies, self._machine.handle_known, self._examined)
        self._drain_timeout: float | None = None
        self._cancel: Callable[[], None] = _nothing

    def __repr__(self) -> str:
        position, history = self._machine.position, self._known.history
        return (
            f"<Replica {self.name}: {position.state.value}, to be {position.goal.value}, "
            f"incarnation {history.incarnation}, {history.restarts} restarts>"
        )

    @property
    def name(self) -> str:
        """The replica as people write it: `MODEL#N`."""
        return self.wanted.name

    @property
    def state(self) -> State:
        """Where it stands."""
        return self._machine.position.state

    @property
    def wanted(self) -> Planned:
        """What it is meant to be; it may be smaller to fit."""
        return self._known.sizing.wanted

    @property
    def spec(self) -> ReplicaSpec:
        """What runs, or would."""
        return self._known.sizing.current.spec

    @property
    def launch_work(self) -> "asyncio.Future[Any] | None":
        """What a start that is under way still does in a thread."""
        return self._process.launch_work

    @property
    def is_started_here(self) -> bool:
        """Whether this daemon has started a process of it, or is about to: it waits for memory or a retry."""
        return self._process.is_started_here or self.state in (State.WAITING, State.BACKOFF)

    def recall(self, reduction: Reduction | None) -> None:
        """Take up what an earlier daemon has learnt of its size."""
        self._known.sizing = self._known.sizing.recalled(reduction)

    def adopt(self) -> bool:
        """Take over the process that an earlier daemon started; return whether there is one."""
        if not self._machine.knows(Event.ADOPT):
            return False
        adopted = self._dependencies.launcher.adopt(self.wanted)
        if adopted is None:
            return False
        self._known.sizing = self._known.sizing.adopted(adopted.planned, adopted.reduction)
        _JOURNAL.info("replica.adopted", replica=self.name, pid=adopted.child.pid)
        self._attend(adopted.child, adopted=True)
        self._machine.handle(Event.ADOPT)
        return True

    def snapshot(self) -> Snapshot:
        """Return everything that is known of it beyond its process."""
        return self._known.snapshot(self.state)

    def resume(self, known: Snapshot) -> None:
        """Go on in the place of another daemon: stopped, cold, given up, or waiting for its next start."""
        of_this_line = self._known.resume(known)
        if known.state is State.STOPPED:
            self.stop(0)
        elif known.state is State.COLD:
            self.unload(known.reason, 0)
        elif of_this_line and (event := _RESUMED.get(known.state)):
            self._machine.handle_known(event)

    def load(self) -> None:
        """Bring a cold replica up, in the size that is known to fit; nothing if it is not cold."""
        self._machine.handle_known(Event.LOAD)

    def unload(self, reason: str, drain_timeout: float | None) -> None:
        """Bring the replica down so that a request may bring it back; nothing if an operator stopped it.

        Args:
            reason: Why, for clients that ask for the model meanwhile.
            drain_timeout: Seconds that its requests may take to finish; None waits without limit.
        """
        self._known.history.absent(reason)
        self._drain_timeout = drain_timeout
        self._machine.handle_known(Event.UNLOAD)

    def start(self) -> None:
        """Bring the replica up at its full size, as an operator asks; nothing if it is up.

        Now, or once the old process has ended.
        """
        if self._machine.knows(Event.START):
            self._known.begin_anew(None)
            self._machine.handle(Event.START)

    def restart(self, planned: Planned | None = None) -> None:
        """Bring the replica down after what it works on, and up again at its full size.

        Args:
            planned: What it is to be from now on, if it was planned anew.
        """
        self._known.begin_anew(planned)
        self._drain_timeout = self._settings.replicas.drain_seconds
        self._machine.handle(Event.RESTART)

    def renew(self, reason: str) -> None:
        """Replace the process after what it works on, in the size it has; nothing if it does not serve.

        Args:
            reason: What is wrong with it, for the journal.
        """
        if self.state in (State.READY, State.UNHEALTHY):
            _JOURNAL.warning("replica.renewed", replica=self.name, pid=self._process.pid, reason=reason)
            self._drain_timeout = self._settings.replicas.drain_seconds
            self._machine.handle(Event.RESTART)

    def suspect(self) -> None:
        """End it if its inference thread stands still; nothing if it does not serve."""
        if self.state in (State.READY, State.UNHEALTHY, State.DRAINING):
            self._process.suspect()

    def stop(self, drain_timeout: float | None) -> None:
        """Bring the replica down, as an operator asks; nothing if it is down.

        Args:
            drain_timeout: Seconds that its requests may take to finish; 0 stops it at once, None waits
                without limit.
        """
        self._drain_timeout = drain_timeout
        self._machine.handle_known(Event.STOP_NOW if drain_timeout == 0 else Event.STOP)

    def kill(self) -> None:
        """Send SIGKILL to the process group now."""
        self.stop(0)
        if not self._machine.released:
            self._process.kill()

    def replan(self, planned: Planned) -> None:
        """Take another plan for the next start; what runs stays as it is."""
        sizing = self._known.sizing.replanned(planned)
        if self.state in (State.COLD, State.STOPPED):
            sizing = sizing.started_as(sizing.sizes(self._dependencies.clock.wall())[0])
        self._known.sizing = sizing

    def release(self) -> None:
        """Leave the process as it is to another daemon; from here on nothing happens to this value."""
        self._machine.release()
        self._cancel()
        self._process.leave()

    def idle(self) -> None:
        """Take note that a draining replica has nothing left to do."""
        self._machine.handle_known(Event.IDLE)

    async def down(self) -> None:
        """Wait until there is no process and none will come by itself."""
        await self.reached(*DOWN)

    async def reached(self, *states: State) -> State:
        """Wait until it is in one of some states, and return that one; raises what the machine raises."""
        return await self._machine.reached(*states)

    def configure(self, settings: Settings) -> None:
        """Take new intervals, for what begins from now on."""
        self._settings = settings
        self._known.restarts.configure(settings.restart)

    def status(self) -> Status:
        """Return what there is to know about it now."""
        known, process, history = self._known, self._process, self._known.history
        return Status(
            planned=known.sizing.current,
            state=self.state,
            since=history.since,
            pid=process.pid,
            incarnation=history.incarnation,
            address=str(process.endpoint.address) if process.endpoint else None,
            restarts=history.restarts,
            budget_left=max(0, known.restarts.left(self._dependencies.clock.monotonic())),
            reduced=known.sizing.steps,
            last_exit=history.last_exit,
            last_exit_at=history.last_exit_at,
            last_words=history.last_words,
            retry_at=history.retry_at,
            health_fault=process.health_fault,
            log=history.log,
            command=history.command,
            reason=history.reason_in(self.name, self.state),
            wall=process.wall,
            has_failed=history.has_failed and self.state is State.COLD,
        )

    def _step(self, event: Event, old: State, new: State) -> None:
        history, process = self._known.history, self._process
        if old is not new:
            history.since, history.retry_at = self._dependencies.clock.wall(), None
            incarnation = history.incarnation + (new is State.STARTING)
            _JOURNAL.info(f"replica.{new.value}", replica=self.name, incarnation=incarnation)
        reason, listener = history.why(self.name, new), self._dependencies.listener
        announce(listener, old, new, self._known.sizing.current, endpoint=process.endpoint, reason=reason)
        if event is Event.EXITED:
            process.examine(self._known.sizing, commanded=new is State.STOPPING)
        if old is not new or new is not State.STOPPING:
            self._cancel()
            self._cancel = _nothing
            self._enter(new, old)

    def _enter(self, state: State, old: State) -> None:
        """Do what a state begins with."""
        match state:
            case State.WAITING:
                sizes = self._known.sizing.sizes(self._dependencies.clock.wall())
                self._cancel = self._dependencies.grants.ask(sizes, self._granted)
            case State.STARTING:
                self._launch()
            case State.READY:
                self._known.resize(self._known.sizing.fits())
            case State.DRAINING if self._drain_timeout is not None:
                self._after(self._drain_timeout, self.idle)
            case State.STOPPING:
                slots = self._dependencies.slots if self._is_at_rest(old) else None
                self._process.terminate(partial(slots.keep, self.spec) if slots else None)
            case State.BACKOFF:
                self._back_off()

    def _is_at_rest(self, state: State) -> bool:
        """Return whether it served in a state, and has finished what it was given."""
        return state in (State.READY, State.DRAINING) and not self._dependencies.busy(self.name)

    def _granted(self, planned: Planned) -> None:
        self._known.sizing = self._known.sizing.started_as(planned)
        self._machine.handle(Event.GRANTED)

    def _launch(self) -> None:
        sizing, history = self._known.sizing, self._known.history
        history.incarnation += 1
        reduction = sizing.reduction if sizing.is_reduced else None
        prepare = self._dependencies.launcher.prepare
        self._process.launch(partial(prepare, sizing.current, history.incarnation, reduction), self._launched)

    def _launched(self, outcome: Child | NotStarted) -> None:
        """Take the process of a start, or why there is none."""
        if self._machine.released:
            return
        if not isinstance(outcome, NotStarted):
            self._attend(outcome)
            return
        self._dependencies.grants.release(self.name)
        found = Findings(outcome.exit)
        self._known.note(found)
        if not self._machine.handle_known(Event.REAPED):
            self._follow(found, NOT_SERVED, hopeless=outcome.hopeless)

    def _attend(self, child: Child, *, adopted: bool = False) -> None:
        self._known.history.attended(child)
        slots = None if adopted else self._dependencies.slots
        warm = partial(slots.restore, self.spec, child.endpoint) if slots else None
        self._process.attend(child, self._settings, adopted=adopted, warm=warm)

    def _examined(self, found: Findings, served: Served) -> None:
        """Take what the examination of the last incarnation has found."""
        if self._machine.released:
            return
        self._dependencies.grants.release(self.name)
        self._known.note(found)
        if not self._machine.handle_known(Event.REAPED):
            self._follow(found, served)

    def _follow(self, found: Findings, served: Served, *, hopeless: bool = False) -> None:
        """Choose between another try, giving up, and another try once a request asks for it."""
        known, verdict = self._known, GiveUp() if hopeless else self._known.decide(found, served)
        on_demand = self.wanted.residence.demand
        if on_demand and (reason := known.why_load_failed(found, served, verdict)):
            known.history.absent(reason, has_failed=True)
            self._dependencies.listener.load_failed(self.name, reason)
            self._machine.handle(Event.LOAD_FAILED)
        else:
            tried = isinstance(verdict, Retry)
            self._machine.handle(Event.WORTH_A_RETRY if tried else Event.NO_RETRY_HELPS)

    def _back_off(self) -> None:
        delay = self._known.history.retry.delay_seconds
        self._known.history.retry_at = self._dependencies.clock.wall() + delay
        self._after(delay, self._retry)

    def _retry(self) -> None:
        self._known.history.restarts += 1
        self._machine.handle(Event.RETRY_DUE)

    def _after(self, seconds: float, callback: Callable[[], None]) -> None:
        """Wait in this state for a time, and then go on."""
        self._cancel()
        self._cancel = asyncio.get_running_loop().call_later(seconds, callback).cancel

    def _keep(self, reduction: Reduction | None) -> None:
        """Write down aside what the next daemon is to know of its size."""
        put = partial(self._dependencies.reductions.put, self.name, reduction)
        asyncio.get_running_loop().run_in_executor(None, put)


def _nothing() -> None:
    """Nothing is waited for."""

"""One replica, from its first start to its end: events in, processes and announcements out."""

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial

from relayd.errors import DaemonError, RelaydError
from relayd.journal import Journal
from relayd.planner import Planned, ReplicaSpec
from relayd.supervisor.causes import Cause, Exit
from relayd.supervisor.child import Child
from relayd.supervisor.dependencies import Dependencies
from relayd.supervisor.examination import Examination, Findings
from relayd.supervisor.incarnation import Incarnation
from relayd.supervisor.listener import announce
from relayd.supervisor.restarts import Restarts, Retry
from relayd.supervisor.sizing import Reduction, Sizing
from relayd.supervisor.state import DOWN, Event, Position, State, after, knows
from relayd.supervisor.status import Backoff, History, Settings, Status

_JOURNAL = Journal("supervisor")


class Replica:
    """One replica.

    Nothing here waits: what takes time runs in a timer, a watch, the health check or a thread, and comes
    back as an event. Where it stands is decided by the table in `state`, whether it starts again by
    `restarts`, in which size by `sizing`, and when by the grant of its memory.
    """

    def __init__(self, planned: Planned, dependencies: Dependencies, settings: Settings) -> None:
        self._dependencies = dependencies
        self._settings = settings
        self._position = Position()
        self._sizing = Sizing.of(planned)
        self._restarts = Restarts(settings.restart, dependencies.random)
        self._history = History(since=dependencies.clock.wall())
        self._incarnation: Incarnation | None = None
        self._inbox: deque[Event] = deque()
        self._drain_timeout: float | None = None
        self._cancel: Callable[[], None] = _nothing
        self._changed = asyncio.Event()
        self._released = False

    def __repr__(self) -> str:
        position, history = self._position, self._history
        return (
            f"<Replica {self.name}: {position.state.value}, to be {position.goal.value}, "
            f"incarnation {history.incarnation}, {history.restarts} restarts>"
        )

    @property
    def name(self) -> str:
        """The replica as people write it: `MODEL#N`."""
        return self._sizing.wanted.name

    @property
    def state(self) -> State:
        """Where it stands."""
        return self._position.state

    @property
    def wanted(self) -> Planned:
        """What it is meant to be; it may be smaller to fit."""
        return self._sizing.wanted

    @property
    def spec(self) -> ReplicaSpec:
        """What runs, or would."""
        return self._sizing.current.spec

    def recall(self, reduction: Reduction | None) -> None:
        """Take up what an earlier daemon has learnt of its size."""
        self._sizing = self._sizing.recalled(reduction)

    def adopt(self) -> bool:
        """Take over the process that an earlier daemon started; return whether there is one."""
        if not knows(self._position, Event.ADOPT):
            return False
        adopted = self._dependencies.launcher.adopt(self.wanted)
        if adopted is None:
            return False
        self._sizing = self._sizing.adopted(adopted.planned, adopted.reduction)
        _JOURNAL.info("replica.adopted", replica=self.name, pid=adopted.child.pid)
        self._attend(adopted.child, adopted=True)
        self._handle(Event.ADOPT)
        return True

    def resume(self, backoff: Backoff) -> None:
        """Wait for the next start in the place of another daemon; nothing if the replica is not cold."""
        if knows(self._position, Event.RESUME):
            self._restarts.resume(backoff.failures)
            self._history.resume(backoff, self._dependencies.clock.wall())
            self._handle(Event.RESUME)

    def load(self) -> None:
        """Bring a cold replica up, in the size that is known to fit; nothing if it is not cold."""
        self._handle_known(Event.LOAD)

    def unload(self, reason: str, drain_timeout: float | None) -> None:
        """Bring the replica down so that a request may bring it back; nothing if an operator stopped it.

        Args:
            reason: Why, for clients that ask for the model meanwhile.
            drain_timeout: Seconds that its requests may take to finish; None waits without limit.
        """
        self._history.reason = reason
        self._drain_timeout = drain_timeout
        self._handle_known(Event.UNLOAD)

    def start(self) -> None:
        """Bring the replica up at its full size, as an operator asks; nothing if it is up.

        Now, or once the old process has ended.
        """
        if knows(self._position, Event.START):
            self._begin_anew(None)
            self._handle(Event.START)

    def restart(self, planned: Planned | None = None) -> None:
        """Bring the replica down after what it works on, and up again at its full size.

        Args:
            planned: What it is to be from now on, if it was planned anew.
        """
        self._begin_anew(planned)
        self._drain_timeout = self._settings.replicas.drain_seconds
        self._handle(Event.RESTART)

    def stop(self, drain_timeout: float | None) -> None:
        """Bring the replica down, as an operator asks; nothing if it is down.

        Args:
            drain_timeout: Seconds that its requests may take to finish; 0 stops it at once, None waits
                without limit.
        """
        self._drain_timeout = drain_timeout
        self._handle_known(Event.STOP_NOW if drain_timeout == 0 else Event.STOP)

    def kill(self) -> None:
        """Send SIGKILL to the process group now."""
        self.stop(0)
        if self._incarnation and not self._released:
            self._incarnation.kill()

    def replan(self, planned: Planned) -> None:
        """Take another plan for the next start; what runs stays as it is."""
        self._sizing = self._sizing.replanned(planned)

    def release(self) -> None:
        """Leave the process as it is to another daemon; from here on nothing happens to this value."""
        self._released = True
        self._changed.set()
        self._cancel()
        if self._incarnation:
            self._incarnation.leave()

    def idle(self) -> None:
        """Take note that a draining replica has nothing left to do."""
        self._handle_known(Event.IDLE)

    async def down(self) -> None:
        """Wait until there is no process and none will come by itself."""
        await self.reached(*DOWN)

    async def reached(self, *states: State) -> State:
        """Wait until it is in one of some states, and return that one.

        Raises:
            DaemonError: Another daemon looks after it now.
        """
        while self.state not in states:
            if self._released:
                raise DaemonError("a new daemon has taken over meanwhile", remedy="Ask again.")
            await self._changed.wait()
        return self.state

    def configure(self, settings: Settings) -> None:
        """Take new intervals, for what begins from now on."""
        self._settings = settings
        self._restarts.configure(settings.restart)

    def status(self) -> Status:
        """Return what there is to know about it now."""
        incarnation, history, now = self._incarnation, self._history, self._dependencies.clock.monotonic()
        return Status(
            planned=self._sizing.current,
            state=self.state,
            since=history.since,
            pid=incarnation.child.pid if incarnation else None,
            incarnation=history.incarnation,
            address=str(incarnation.endpoint.address) if incarnation else None,
            restarts=history.restarts,
            budget_left=max(0, self._restarts.left(now)),
            reduced=self._sizing.steps,
            last_exit=history.last_exit,
            last_exit_at=history.last_exit_at,
            last_words=history.last_words,
            retry_at=history.retry_at,
            health_fault=incarnation.health_fault if incarnation else None,
            log=history.log,
            command=history.command,
            reason=history.reason if self.state is State.COLD else "",
            failures=self._restarts.failures,
        )

    def _begin_anew(self, planned: Planned | None) -> None:
        """Forget failures and reductions: an operator, or a changed line, wants the full size."""
        known, self._sizing = self._sizing.reduction, self._sizing.planned_anew(planned)
        if known:
            self._keep_reduction()
        self._restarts.forget()

    def _handle_known(self, event: Event) -> None:
        if knows(self._position, event):
            self._handle(event)

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
        before, self._position = self._position, after(self._position, event)
        old, new = before.state, self._position.state
        if old is not new:
            self._history.since = self._dependencies.clock.wall()
            self._history.retry_at = None
            incarnation = self._history.incarnation + (new is State.STARTING)
            _JOURNAL.info(f"replica.{new.value}", replica=self.name, incarnation=incarnation)
        endpoint = self._incarnation.endpoint if self._incarnation else None
        listener, current = self._dependencies.listener, self._sizing.current
        announce(listener, old, new, current, endpoint=endpoint, reason=self._history.why(self.name, new))
        if event is Event.EXITED:
            self._examine(commanded=new is State.STOPPING)
        if old is not new or new is not State.STOPPING:
            self._cancel()
            self._cancel = _nothing
            self._enter(new)
        self._changed.set()
        self._changed = asyncio.Event()

    def _enter(self, state: State) -> None:
        """Do what a state begins with."""
        match state:
            case State.WAITING:
                self._ask()
            case State.STARTING:
                self._spawn()
            case State.READY:
                self._fits()
            case State.DRAINING if self._drain_timeout is not None:
                self._after(self._drain_timeout, self.idle)
            case State.STOPPING if self._incarnation:
                self._incarnation.terminate()
            case State.BACKOFF:
                self._back_off()

    def _ask(self) -> None:
        """Ask for the memory of the next start."""
        sizes = self._sizing.sizes(self._dependencies.clock.wall())
        self._cancel = self._dependencies.grants.ask(sizes, self._granted)

    def _granted(self, planned: Planned) -> None:
        self._sizing = self._sizing.started_as(planned)
        self._handle(Event.GRANTED)

    def _spawn(self) -> None:
        sizing, self._history.incarnation = self._sizing, self._history.incarnation + 1
        reduction = sizing.reduction if sizing.is_reduced else None
        launcher = self._dependencies.launcher
        try:
            child = launcher.launch(sizing.current, self._history.incarnation, reduction)
        except RelaydError as error:
            self._not_started(Exit(Cause.SPAWN_FAILED, None, error.message, error.remedy), hopeless=True)
        except OSError as error:
            self._not_started(Exit(Cause.SPAWN_FAILED, None, f"the system refused: {error.strerror}"))
        else:
            self._attend(child)

    def _not_started(self, exit_: Exit, *, hopeless: bool = False) -> None:
        self._dependencies.grants.release(self.name)
        self._note_exit(Findings(exit_))
        if hopeless:
            self._handle(Event.NO_RETRY_HELPS)
        else:
            self._decide(exit_, None, smaller=False)

    def _attend(self, child: Child, *, adopted: bool = False) -> None:
        """Look after a process until it ends."""
        needs = self._dependencies
        self._history.attended(child)
        self._incarnation = Incarnation(
            child, needs.clock, self._settings, needs.fetch, needs.busy, self._handle_known, adopted=adopted
        )

    def _fits(self) -> None:
        """Take note that the present size is ready."""
        known, self._sizing = self._sizing.reduction, self._sizing.fits()
        if known and not self._sizing.reduction:
            self._keep_reduction()

    def _examine(self, *, commanded: bool) -> None:
        """Find out in a thread why the process has ended; what it returns decides what follows."""
        ended, self._incarnation = self._incarnation, None
        if ended is None:
            return
        served, needs = ended.served_seconds(), self._dependencies
        stable = self._restarts.is_stable(served)
        examination = Examination(
            ended.child, ended.verdict, self._sizing, stable, needs.smaller, needs.out_of_memory
        )
        look = examination.of_commanded if commanded else examination.of_unexpected
        looking = asyncio.get_running_loop().run_in_executor(None, look)
        looking.add_done_callback(partial(self._examined, served))

    def _examined(self, served_seconds: float | None, looking: "asyncio.Future[Findings]") -> None:
        """Take what the examination of the last incarnation has found."""
        if self._released:
            return
        if fault := looking.exception():
            found = Findings(Exit(Cause.VANISHED, None, f"its end could not be examined: {fault!r}"))
        else:
            found = looking.result()
        self._dependencies.grants.release(self.name)
        self._note_exit(found)
        if knows(self._position, Event.REAPED):
            self._handle(Event.REAPED)
            return
        stable = self._restarts.is_stable(served_seconds)
        smaller = self._sizing.may_shrink(found.exit, stable=stable) and self._shrink(found)
        self._decide(found.exit, served_seconds, smaller=smaller)

    def _shrink(self, found: Findings) -> bool:
        """Take the next smaller size for the next start, and return whether there is one."""
        sizing = self._sizing.ran_out(found.step, self._dependencies.clock.wall())
        if sizing is None:
            return False
        self._sizing = sizing
        _JOURNAL.warning("replica.smaller", replica=self.name, change="; ".join(sizing.steps))
        self._keep_reduction()
        return True

    def _decide(self, exit_: Exit, served_seconds: float | None, *, smaller: bool) -> None:
        """Choose between another try and giving up."""
        now = self._dependencies.clock.monotonic()
        verdict = self._restarts.ended(exit_, now, served_seconds, smaller=smaller)
        if not isinstance(verdict, Retry):
            self._handle(Event.NO_RETRY_HELPS)
            return
        self._history.retry_delay_seconds = verdict.delay_seconds
        self._handle(Event.WORTH_A_RETRY)

    def _back_off(self) -> None:
        delay = self._history.retry_delay_seconds
        self._history.retry_at = self._dependencies.clock.wall() + delay
        self._after(delay, self._retry)

    def _retry(self) -> None:
        self._history.restarts += 1
        self._handle(Event.RETRY_DUE)

    def _note_exit(self, found: Findings) -> None:
        exit_ = found.exit
        self._history.ended(exit_, found.last_words, self._dependencies.clock.wall())
        log = _JOURNAL.info if exit_.cause is Cause.COMMANDED else _JOURNAL.warning
        log(
            "replica.exited",
            replica=self.name,
            incarnation=self._history.incarnation,
            cause=exit_.cause.value,
            code=exit_.code,
            message=exit_.message,
        )

    def _after(self, seconds: float, callback: Callable[[], None]) -> None:
        """Wait in this state for a time, and then go on."""
        self._cancel()
        self._cancel = asyncio.get_running_loop().call_later(seconds, callback).cancel

    def _keep_reduction(self) -> None:
        """Write down aside what the next daemon is to know of its size."""
        put = partial(self._dependencies.reductions.put, self.name, self._sizing.reduction)
        asyncio.get_running_loop().run_in_executor(None, put)


def _nothing() -> None:
    """Nothing is waited for."""

"""What is known of a replica beyond its process: size, restart budget and history (durable state)."""

from collections.abc import Callable
from random import Random

from relayd.clock import Clock
from relayd.journal import Journal
from relayd.planner import Planned
from relayd.supervisor.causes import Cause, Exit
from relayd.supervisor.examination import Findings
from relayd.supervisor.restarts import GiveUp, Restarts, Retry, Served
from relayd.supervisor.sizing import Reduction, Sizing
from relayd.supervisor.snapshot import Snapshot
from relayd.supervisor.state import State
from relayd.supervisor.status import History, Settings

_JOURNAL = Journal("supervisor")


class DurableState:
    """What outlives every process of a replica, and the daemon too: it goes over as a `Snapshot`.

    Args:
        planned: What the replica is meant to be.
        settings: Its restart policy.
        clock: Time.
        random: Spreads restarts.
        keep: Called with what the replica is made smaller to, whenever that has changed.
    """

    def __init__(
        self,
        planned: Planned,
        settings: Settings,
        clock: Clock,
        random: Random,
        keep: Callable[[Reduction | None], None],
    ) -> None:
        self.sizing = Sizing.of(planned)
        self.restarts = Restarts(settings.restart, random)
        self.history = History(since=clock.wall())
        self._clock = clock
        self._keep = keep
        self._has_shrunk = False

    def __repr__(self) -> str:
        return f"<DurableState of {self.sizing.wanted.name}: {self.restarts!r}>"

    def resize(self, sizing: Sizing) -> None:
        """Take another size, and have a reduction kept that has changed."""
        known, self.sizing = self.sizing.reduction, sizing
        if sizing.reduction != known:
            self._keep(sizing.reduction)

    def begin_anew(self, planned: Planned | None) -> None:
        """Forget failures and reductions: an operator, or a changed line, wants the full size."""
        self.resize(self.sizing.planned_anew(planned))
        self.restarts.forget()

    def note(self, found: Findings) -> None:
        """Take note of how an incarnation has ended."""
        exit_ = found.exit
        self.history.ended(exit_, found.last_words, self._clock.wall())
        log = _JOURNAL.info if exit_.cause is Cause.COMMANDED else _JOURNAL.warning
        log(
            "replica.exited",
            replica=self.sizing.wanted.name,
            incarnation=self.history.incarnation,
            cause=exit_.cause.value,
            code=exit_.code,
            message=exit_.message,
        )

    def decide(self, found: Findings, served: Served) -> Retry | GiveUp:
        """Choose between another try, in which size, and giving up."""
        self._has_shrunk = self.sizing.may_shrink(found.exit) and self._shrink(found)
        verdict = self._count(found.exit, served, smaller=self._has_shrunk)
        if isinstance(verdict, Retry):
            self.history.retry = verdict
        return verdict

    def why_load_failed(self, found: Findings, served: Served, verdict: Retry | GiveUp) -> str:
        """Return why a load on demand has failed, so that requests do not wait; "" where a retry follows.

        When it may be tried again is the scheduler's to decide.
        """
        name, exit_ = self.sizing.wanted.name, found.exit
        if isinstance(verdict, Retry) and (served.was_ready or exit_.is_from_outside or self._has_shrunk):
            return ""
        words = found.last_words[-1:] if exit_.cause is Cause.CRASH else ()
        what = "ended too often" if served.was_ready else "could not be loaded"
        return f"{name} {what}: {': '.join((exit_.message, *words))}"

    def resume(self, known: Snapshot) -> bool:
        """Take up what another daemon knows, and return whether that is of the line of today."""
        self.history.resume(known)
        if known.line != self.sizing.line:
            return False
        now = self._clock.wall()
        if known.reduction:
            self.sizing = self.sizing.recalled(known.reduction)
        self.restarts.resume(known.spent.moved(self._clock.monotonic() - now))
        if known.retry_at is not None:
            self.history.retry = Retry(max(0.0, known.retry_at - now), slow=known.spent.slow > 0)
        return True

    def snapshot(self, state: State) -> Snapshot:
        """Return everything that is known, for another daemon."""
        history, clock = self.history, self._clock
        return Snapshot(
            line=self.sizing.line,
            state=state,
            reason=history.reason,
            retry_at=history.retry_at,
            spent=self.restarts.spent().moved(clock.wall() - clock.monotonic()),
            incarnation=history.incarnation,
            restarts=history.restarts,
            last_exit=history.last_exit,
            last_exit_at=history.last_exit_at,
            last_words=history.last_words,
            reduction=self.sizing.reduction,
        )

    def _count(self, exit_: Exit, served: Served, *, smaller: bool) -> Retry | GiveUp:
        return self.restarts.ended(exit_, self._clock.monotonic(), served, smaller=smaller)

    def _shrink(self, found: Findings) -> bool:
        """Take the next smaller size for the next start, and return whether there is one."""
        sizing = self.sizing.ran_out(found.step, self._clock.wall())
        if sizing is None:
            return False
        _JOURNAL.warning("replica.smaller", replica=self.sizing.wanted.name, change="; ".join(sizing.steps))
        self.resize(sizing)
        return True

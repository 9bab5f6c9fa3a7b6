"""Examination of an exit, off the event loop: why a process ended, and what is tried instead.

Reaping removes files and may walk /proc; the cause is read from the log and the kernel; a smaller plan is
read from model files. All of it blocks, so it runs in a thread and comes back as one value.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from relayd.planner import Planned, Step
from relayd.supervisor.causes import Cause, Exit, classify, may_be_oom
from relayd.supervisor.child import Child
from relayd.supervisor.logs import since
from relayd.supervisor.sizing import Sizing

_LAST_WORDS = 20
"""Lines of the engine's log that are kept of an incarnation that ended on its own."""


class Smaller(Protocol):
    """Names the next plan to try when memory does not hold one."""

    def __call__(self, planned: Planned, rung: int, /, *, host: bool) -> Step | None:
        """Return the next step from a rung of the ladder on; None when nothing is left. Called in a thread.

        Args:
            planned: What did not fit.
            rung: Where on the ladder to go on.
            host: Whether it was RAM that ran out, and not a device's memory.
        """
        ...


@dataclass(frozen=True, slots=True)
class Findings:
    """What is known of a process that has ended.

    Attributes:
        exit: Why it ended.
        last_words: The engine's last lines, if it ended by itself.
        step: What to try next, if memory ran out.
    """

    exit: Exit
    last_words: tuple[str, ...] = ()
    step: Step | None = None


@dataclass(frozen=True, slots=True)
class Examination:
    """One process that has ended, and what is known of it so far.

    Attributes:
        child: The process.
        verdict: Why it was killed, if its health check did that.
        sizing: The size it had.
        smaller: Names what to try when memory did not hold it.
        out_of_memory: Returns whether the kernel ended a process, by its pid, for want of memory.
        loaded: Whether it was ready before it ended.
    """

    child: Child
    verdict: Exit | None
    sizing: Sizing
    smaller: Smaller
    out_of_memory: Callable[[int], bool]
    loaded: bool = False

    def of_commanded(self) -> Findings:
        """Clean up after a process that was stopped. Blocks."""
        return Findings(Exit(Cause.COMMANDED, self.child.reap(), "it was stopped"))

    def of_unexpected(self) -> Findings:
        """Clean up after a process that ended by itself, and find out why. Blocks."""
        code = self.child.reap()
        words = since(self.child.log, self.child.log_offset)
        starved = may_be_oom(code) and self.out_of_memory(self.child.pid)
        exit_ = self.verdict or classify(code, words, out_of_memory=starved, loaded=self.loaded)
        return Findings(exit_, tuple(words.splitlines()[-_LAST_WORDS:]), self._step(exit_))

    def _step(self, exit_: Exit) -> Step | None:
        rung = self.sizing.next_rung()
        if rung is None or not self.sizing.may_shrink(exit_):
            return None
        return self.smaller(self.sizing.current, rung, host=exit_.cause is Cause.HOST_OOM)

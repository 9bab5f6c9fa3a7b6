"""Everything that is known of a replica beyond its process, as one value (snapshot).

A process shows itself and is adopted; what was learnt of the replica before does not: what it was made
smaller to, what is spent of its restart budget, whether it was given up and why, whether an operator has
stopped it.
"""

from dataclasses import dataclass

from relayd.supervisor.causes import Exit
from relayd.supervisor.restarts import NOTHING_SPENT, Spent
from relayd.supervisor.sizing import Reduction
from relayd.supervisor.state import State


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A replica without its process, for a daemon that takes over; times are wall-clock seconds.

    Attributes:
        line: Digest of the model's line. Of another line only an operator's stop holds, and the history.
        state: Where it stands.
        reason: Why it is cold.
        retry_at: When its next start is due; None if none is.
        spent: What is spent of its restart budget.
        incarnation: How many times it was started.
        restarts: How many times it came back by itself.
        last_exit: How it ended last.
        last_exit_at: When that was.
        last_words: What the engine wrote last before it ended on its own.
        reduction: What it was made smaller to.
    """

    line: str
    state: State
    reason: str = ""
    retry_at: float | None = None
    spent: Spent = NOTHING_SPENT
    incarnation: int = 0
    restarts: int = 0
    last_exit: Exit | None = None
    last_exit_at: float | None = None
    last_words: tuple[str, ...] = ()
    reduction: Reduction | None = None

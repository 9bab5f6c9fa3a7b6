"""Stall detection: whether a replica that has work gets anywhere.

`/health` answers while the inference thread hangs, so it proves nothing. What moves in a replica that works:
the count of its decodes, and the tokens of the prompts it has read. The engine reports both while it decodes,
but not while its inference thread compiles a grammar or matches one (b11434: `/metrics` does not answer for
as long as an enum of 200,000 or a pattern with nested repeats holds it): silence counts as standing still.
"""

from dataclasses import dataclass

NO_ANSWER: tuple[float, ...] = ()
"""Instead of counters: the replica reports some, and did not answer in time."""

_BUSY_SHARE = 0.05
"""CPU time below this share of a core is not work: a decode spins, or waits for a GPU by spinning."""

_PATIENCE = 10
"""How many times longer a replica that burns CPU may take: a batch of a long prompt on a slow
machine moves no counter for minutes."""


@dataclass(frozen=True, slots=True)
class Look:
    """One look at an inference thread.

    Attributes:
        decodes: How many decodes it has made; None if it did not answer.
        batch_seconds: How long a batch of a prompt takes, as far as it has read prompts.
        cpu_seconds: CPU time that its process has used.
        at: When, in monotonic seconds.
    """

    decodes: float | None
    batch_seconds: float
    cpu_seconds: float
    at: float

    @property
    def reports(self) -> bool:
        """Whether it reports its work; not while a request holds its inference thread outside a decode."""
        return self.decodes is not None

    def stands_still(self, before: "Look") -> bool:
        """Return whether nothing was decoded since another look, though the CPU was busy."""
        busy = self.cpu_seconds - before.cpu_seconds >= _BUSY_SHARE * (self.at - before.at)
        return busy and self.decodes == before.decodes

    def fell_silent(self, before: "Look") -> bool:
        """Return whether it answered at another look and does not now, so that a third one decides."""
        return self.decodes is None and before.decodes is not None


class StallWatch:
    """Follows the counters of one incarnation.

    Args:
        stall_seconds: How long they may stand still while there is work.
    """

    def __init__(self, stall_seconds: float) -> None:
        self._stall_seconds = stall_seconds
        self._counters: tuple[float, ...] | None = None
        self._since = 0.0
        self._cpu_seconds = 0.0

    def observe(self, now: float, counters: tuple[float, ...] | None, cpu_seconds: float) -> float | None:
        """Take one look, and return for how many seconds the replica has hung, if it has.

        Args:
            now: Monotonic seconds.
            counters: The replica's counters; None when it has no work, or reports none; `NO_ANSWER`.
            cpu_seconds: CPU time that the process has used so far.
        """
        silent = counters == NO_ANSWER and self._counters is not None
        if not silent and (counters is None or counters != self._counters):
            self._counters, self._since, self._cpu_seconds = counters, now, cpu_seconds
            return None
        standing = now - self._since
        is_idle = cpu_seconds - self._cpu_seconds < _BUSY_SHARE * standing
        limit = self._stall_seconds * (1 if is_idle or silent else _PATIENCE)
        return standing if standing > limit else None

"""Stall detection: whether a replica that has work gets anywhere.

`/health` answers while the inference thread hangs, so it proves nothing. What moves in a
replica that works: the count of its decodes, and the tokens of the prompts it has read.
"""

_BUSY_SHARE = 0.05
"""CPU time below this share of a core is not work: a decode spins, or waits for a GPU by spinning."""

_PATIENCE = 10
"""How many times longer a replica that burns CPU may take: a batch of a long prompt on a slow
machine moves no counter for minutes."""


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
            counters: The replica's counters; None when it has no work, or reports none.
            cpu_seconds: CPU time that the process has used so far.
        """
        if counters is None or counters != self._counters:
            self._counters, self._since, self._cpu_seconds = counters, now, cpu_seconds
            return None
        standing = now - self._since
        is_idle = cpu_seconds - self._cpu_seconds < _BUSY_SHARE * standing
        limit = self._stall_seconds * (1 if is_idle else _PATIENCE)
        return standing if standing > limit else None

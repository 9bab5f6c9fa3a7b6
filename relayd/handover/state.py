"""What goes from one daemon to the next, and no look at the machine would show (hand-over state)."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from relayd.scheduler import Inherited, Ticket


@dataclass(frozen=True, slots=True)
class PendingRestart:
    """A replica that has ended and waits for its next start; times are wall-clock seconds.

    Attributes:
        retry_at: When that start is due.
        failures: Exits in a row; the wait grows with them.
        incarnation: How many times the replica was started.
        restarts: How many times it came back by itself.
        cause: Why it ended last, by the name that `status` gives; empty if that is not known.
        code: Its exit code; negative is a signal.
        message: How it ended.
        remedy: What an operator can do.
        ended_at: When that was.
    """

    retry_at: float
    failures: int = 1
    incarnation: int = 0
    restarts: int = 0
    cause: str = ""
    code: int | None = None
    message: str = ""
    remedy: str = ""
    ended_at: float | None = None


@dataclass(frozen=True, slots=True)
class HandoverState:
    """Everything a successor cannot find out by looking at the machine.

    Attributes:
        running: Requests that run; their tickets are the predecessor's.
        waiting: Those that wait.
        stopped: Replicas that an operator has stopped; only an operator brings them back.
        cold: Replicas that are wanted but not in memory → why; a request may bring them back.
        pending: Replicas that wait for their next start.
    """

    running: tuple[Inherited, ...] = ()
    waiting: tuple[Ticket, ...] = ()
    stopped: frozenset[str] = frozenset()
    cold: Mapping[str, str] = field(default_factory=dict)
    pending: Mapping[str, PendingRestart] = field(default_factory=dict)

    @property
    def in_use(self) -> frozenset[str]:
        """Replicas that the predecessor has requests on."""
        return frozenset(one.endpoint.replica for one in self.running)

    @property
    def down(self) -> frozenset[str]:
        """Replicas without a process, which stay as they are."""
        return self.stopped | self.cold.keys() | self.pending.keys()

"""What goes from one daemon to the next, and no look at the machine would show (hand-over state)."""

from dataclasses import dataclass

from relayd.scheduler import Inherited, Ticket


@dataclass(frozen=True, slots=True)
class HandoverState:
    """Everything a successor cannot find out by looking at the machine.

    Attributes:
        running: Requests that run; their tickets are the predecessor's.
        waiting: Those that wait.
        stopped: Replicas that an operator has stopped.
    """

    running: tuple[Inherited, ...] = ()
    waiting: tuple[Ticket, ...] = ()
    stopped: frozenset[str] = frozenset()

    @property
    def in_use(self) -> frozenset[str]:
        """Replicas that the predecessor has requests on."""
        return frozenset(one.endpoint.replica for one in self.running)

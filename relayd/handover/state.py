"""What goes from one daemon to the next, and no look at the machine would show (hand-over state)."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from relayd.scheduler import Exchange, Inherited, Ticket
from relayd.secret import Secret
from relayd.supervisor.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class HandoverState:
    """Everything a successor cannot find out by looking at the machine.

    Attributes:
        running: Requests that run; their tickets are the predecessor's.
        waiting: Those that wait.
        replicas: What is known of each replica beyond its process, by name.
        service_seconds: How long a request of each model takes, as far as it was learnt.
        refused: Digests of request bodies that are refused, and until when (monotonic seconds).
        suspected: Digests of bodies that were in flight at crashes: at how many, and when last.
        load_seconds: How long a load of each model takes, likewise.
        finished: Requests that are over and whose usage is not written.
        lent_key: The key that commands on this machine use.
    """

    running: tuple[Inherited, ...] = ()
    waiting: tuple[Ticket, ...] = ()
    replicas: Mapping[str, Snapshot] = field(default_factory=dict)
    service_seconds: Mapping[str, float] = field(default_factory=dict)
    refused: Mapping[str, float] = field(default_factory=dict)
    suspected: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    load_seconds: Mapping[str, float] = field(default_factory=dict)
    finished: tuple[Exchange, ...] = ()
    lent_key: Secret = field(default_factory=lambda: Secret(""))

    @property
    def in_use(self) -> frozenset[str]:
        """Replicas that the predecessor has requests on."""
        return frozenset(one.endpoint.replica for one in self.running)

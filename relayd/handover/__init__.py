"""One daemon takes over from another, and clients do not notice (hand-over).

The old daemon starts the new one, and states its protocol number in the environment. They talk over a pair of
sockets that only they hold:

    old (predecessor)                      new (successor)
    starts it                              reads the configuration, finds the engine
                                      <-   Prepared: its protocol number
    compares it; Offered: lock,
    listening sockets, what would go  ->   reads all of it, and finds that it could go on with them
                                      <-   Standby
    Commit: what runs, what waits     ->   opens control socket and doors, adopts the replicas
                                      <-   TakenOver
    IdleConnection                    ->   serves it
    TicketArrived, TicketAttemptFailed,
    TicketFinished                    ->   schedules the old daemon's requests with its own
                                      <-   TicketPlaced, TicketRefused
    ends with its last answer

Until `Commit` the old daemon serves as ever: a new one that does not come up, has another protocol or
cannot read what it is offered changes nothing. From then on the old daemon may neither start, probe nor
stop a replica, and only the new scheduler decides.
"""

from relayd.handover.messages import Prepared
from relayd.handover.predecessor import Predecessor, SharedFiles, predecessor_of
from relayd.handover.state import HandoverState
from relayd.handover.successor import Successor

__all__ = [
    "HandoverState",
    "Predecessor",
    "Prepared",
    "SharedFiles",
    "Successor",
    "predecessor_of",
]

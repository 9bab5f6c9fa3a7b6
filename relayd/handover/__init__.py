"""One daemon takes over from another, and clients do not notice.

The old daemon starts the new one. They talk over a pair of sockets that only they hold:

    old                                  new
    starts it                            reads the configuration, finds the engine
                                    <-   Prepared
    Offer: lock, listening sockets  ->   finds that it could go on with them
                                    <-   Ready
    Commit: what runs, what waits   ->   opens control socket and doors, adopts the replicas
                                    <-   Taken
    Connection: one that is idle    ->   serves it
    Arrive, Return, Finish          ->   schedules the old daemon's requests with its own
                                    <-   Placed, Denied
    ends with its last answer

Until `Commit` the old daemon serves as ever: a new one that does not come up changes nothing.
From then on it may neither start, ask nor stop a replica, and only the new scheduler decides.
"""

from relayd.handover.messages import Prepared
from relayd.handover.predecessor import Heritage, Offer, Predecessor, predecessor_of
from relayd.handover.successor import Successor

__all__ = ["Heritage", "Offer", "Predecessor", "Prepared", "Successor", "predecessor_of"]

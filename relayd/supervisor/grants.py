"""Memory grants: whether a replica may take its memory now (the supervisor's side of the byte ledger).

A replica asks before each start and gives back when its process is gone. Who answers decides the order of
loads, what is unloaded for one, and which of the sizes it can have: that is a policy of the ledger, not of
the supervisor.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from relayd.planner import Planned

Granted = Callable[[Planned], None]
"""Called with the size that a replica may start in."""


class Grants(Protocol):
    """Decides when a replica may take its memory."""

    def ask(self, sizes: Sequence[Planned], granted: Granted) -> Callable[[], None]:
        """Ask for the memory of one start, and return what takes the question back.

        Args:
            sizes: The plans that would do, the best first; all of one replica.
            granted: Called from the event loop, at once or later, at most once, and not after the
                question was taken back.

        Returns:
            Takes the question back; does nothing once it was granted.
        """
        ...

    def release(self, replica: str) -> None:
        """Take note that nothing of a replica is in memory any more."""
        ...


class GrantAtOnce:
    """Grants the best size of everything at once: memory is not counted."""

    def ask(self, sizes: Sequence[Planned], granted: Granted) -> Callable[[], None]:
        """Grant the first size now."""
        granted(sizes[0])
        return lambda: None

    def release(self, replica: str) -> None:
        """Do nothing: nothing was counted."""

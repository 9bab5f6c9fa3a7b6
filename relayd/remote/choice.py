"""On which node is a model loaded that a request asks for (pure)?

By the node's ledger first: where it fits in what is free, nothing else is unloaded for it; before that, by
what costs more: a machine that has to be woken, a file that has to come. Among equals the fastest node, as
far as speeds were measured, then the one whose load is quickest, then the nearest.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from relayd.remote.messages import Inventory, ServedReplica


@dataclass(frozen=True, slots=True)
class LoadChoice:
    """A replica that a request could have loaded.

    Attributes:
        replica: As the hub calls it.
        node: Whose it is.
        served: As the node states it.
        inventory: What else the node states.
        is_awake: Whether the node is connected.
        tokens_per_second: What its model was measured to generate there; 0 where it was not.
        cost: Seconds there and back.
    """

    replica: str
    node: str
    served: ServedReplica
    inventory: Inventory
    is_awake: bool
    tokens_per_second: float = 0.0
    cost: float = 0.0

    @property
    def fits_now(self) -> bool:
        """Whether its memory is free at the node, so that nothing makes room for it."""
        free: Mapping[str, int] = {one.account: one.free for one in self.inventory.accounts}
        return all(free.get(account, 0) >= size for account, size in self.served.needs.items())

    @property
    def _order(self) -> tuple[object, ...]:
        return (
            not self.is_awake,
            not self.served.is_here,
            not self.fits_now,
            -self.tokens_per_second,
            self.served.load_seconds,
            self.cost,
            self.replica,
        )


def best_load(choices: Iterable[LoadChoice]) -> LoadChoice | None:
    """Return the replica to load; None without a choice."""
    return min(choices, key=lambda one: one._order, default=None)  # noqa: SLF001 - of this module

"""Which replicas does the scheduler know, and which models can they serve, now or later?"""

from collections.abc import Iterator

from relayd.scheduler.capacity import Capacity, ReplicaSlots
from relayd.scheduler.events import Refusal


class KnownReplicas:
    """Every replica by its name."""

    def __init__(self) -> None:
        self._replicas: dict[str, ReplicaSlots] = {}

    def __repr__(self) -> str:
        ready = sum(replica.capacity is not None for replica in self._replicas.values())
        return f"<KnownReplicas: {ready} of {len(self._replicas)} with slots>"

    def __len__(self) -> int:
        return len(self._replicas)

    def get(self, name: str) -> ReplicaSlots | None:
        """Return a replica; None when it is not known."""
        return self._replicas.get(name)

    def put(self, name: str, replica: ReplicaSlots) -> None:
        """Add a replica, or replace what was known of it."""
        self._replicas[name] = replica

    def remove(self, name: str) -> ReplicaSlots | None:
        """Remove a replica, and return what was known of it."""
        return self._replicas.pop(name, None)

    def capacities(self, model: str) -> Iterator[Capacity]:
        """Yield the slots of every replica of a model that has some."""
        for replica in self._replicas.values():
            if replica.model == model and replica.capacity is not None:
                yield replica.capacity

    def has_any(self, model: str) -> bool:
        """Return whether any replica of a model is known."""
        return any(replica.model == model for replica in self._replicas.values())

    def is_coming(self, model: str) -> bool:
        """Return whether a replica of the model serves, or will by itself."""
        return any(replica.absence is None for replica in self._replicas.values() if replica.model == model)

    def why_absent(self, model: str) -> tuple[Refusal, str]:
        """Return why no replica serves a model; what could be loaded counts before what could not."""
        absences = [
            replica.absence
            for replica in self._replicas.values()
            if replica.model == model and replica.absence
        ]
        loadable = [absence for absence in absences if absence.loadable]
        reasons = {absence.reason for absence in loadable or absences}
        refusal = Refusal.NOT_LOADED if loadable else Refusal.UNAVAILABLE
        return refusal, "; ".join(sorted(reasons)) or "it has no replica"

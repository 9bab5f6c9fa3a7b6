"""Which replicas does the scheduler know, and which models can they serve, now or later?"""

from collections.abc import Iterable, Mapping

from relayd.scheduler.capacity import Absence, Capacity, OpenReplicas, ReplicaSlots
from relayd.scheduler.events import Ready, Refusal

_NONE: Mapping[str, ReplicaSlots] = {}


class KnownReplicas:
    """Every replica by its name, and those of each model together: no event walks over other models'.

    Attributes:
        has_costs: Any of them costs something, so that costs count in a choice.
    """

    def __init__(self) -> None:
        self.has_costs = False
        self._replicas: dict[str, ReplicaSlots] = {}
        self._of_model: dict[str, dict[str, ReplicaSlots]] = {}
        self._open: dict[str, OpenReplicas] = {}  # those that have slots, until one gets or loses them

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
        self.remove(name)
        self._open.pop(replica.model, None)
        self._replicas[name] = replica
        self.has_costs = self.has_costs or replica.cost > 0
        self._of_model.setdefault(replica.model, {})[name] = replica

    def remove(self, name: str) -> ReplicaSlots | None:
        """Remove a replica, and return what was known of it."""
        replica = self._replicas.pop(name, None)
        if replica is not None:
            self._open.pop(replica.model, None)
            del self._of_model[replica.model][name]
            if not self._of_model[replica.model]:
                del self._of_model[replica.model]
        return replica

    def of(self, model: str) -> Iterable[ReplicaSlots]:
        """Return every replica of a model."""
        return self._of_model.get(model, _NONE).values()

    def welcome(self, ready: Ready) -> Capacity:
        """Take note that a replica takes work, and return its slots.

        One that is well again still counts what it runs.
        """
        replica = self._replicas.get(ready.replica)
        if replica and replica.capacity and replica.capacity.endpoint == ready.endpoint:
            capacity = replica.capacity
            if (ready.slots, ready.cost, ready.weight) != (capacity.slots, capacity.cost, capacity.weight):
                capacity.resize(ready.slots, ready.cost, ready.weight)
                replica.cost, self.has_costs = ready.cost, self.has_costs or ready.cost > 0
            capacity.admit(is_well=True)
        else:
            capacity = Capacity(ready.endpoint, ready.slots, ready.kept_tokens, ready.cost, ready.weight)
            self.put(ready.replica, ReplicaSlots(ready.model, capacity, cost=ready.cost))
        return capacity

    def pause(self, name: str) -> Capacity | None:
        """Let a replica take nothing new, and return its slots if it has any."""
        replica = self._replicas.get(name)
        if replica is None or replica.capacity is None:
            return None
        replica.capacity.admit(is_well=False)
        return replica.capacity

    def lose(self, name: str) -> None:
        """Forget the capacity of an incarnation that ended.

        Its requests are not touched: each learns of the end by its own connection, and comes back
        as `AttemptFailed` or `Finished`. Either event may come first; what still ends on the old
        capacity gives nothing back to the next incarnation, which has its own.
        """
        if replica := self._replicas.get(name):
            self.set_capacity(replica, None)

    def set_capacity(self, replica: ReplicaSlots, capacity: Capacity | None) -> None:
        """Give a replica the slots of another incarnation, or none."""
        replica.capacity = capacity
        self._open.pop(replica.model, None)

    def give_up(self, name: str, reason: str) -> str | None:
        """Take note that a replica does not come back by itself, and return its model if it is known."""
        replica = self._replicas.get(name)
        if replica is None:
            return None
        self.set_capacity(replica, None)
        replica.absence = Absence(reason, loadable=False)
        return replica.model

    def fail(self, name: str, reason: str) -> str | None:
        """Take note that a load failed, and return the replica's model if it is known."""
        replica = self._replicas.get(name)
        if replica is None:
            return None
        self.set_capacity(replica, None)
        replica.absence = Absence(reason, loadable=True, has_failed=True)
        return replica.model

    def capacities(self, model: str) -> tuple[Capacity, ...]:
        """Return the slots of every replica of a model that has some."""
        found = self._open.get(model)
        return (found or self._sorted(model)).every

    def opened(self, model: str) -> OpenReplicas:
        """Return which replicas of a model take work now."""
        found = self._open.get(model)
        if found is None or found.is_stale:
            found = found or self._sorted(model)
            found.sort()
        return found

    def _sorted(self, model: str) -> OpenReplicas:
        if model not in self._of_model:
            return OpenReplicas()
        found = OpenReplicas(tuple(one.capacity for one in self.of(model) if one.capacity is not None))
        self._open[model] = found
        return found

    def has_any(self, model: str) -> bool:
        """Return whether any replica of a model is known."""
        return model in self._of_model

    def is_coming(self, model: str) -> bool:
        """Return whether a replica of the model serves, or will by itself."""
        for replica in self.of(model):  # noqa: SIM110 - a generator costs more than the answer
            if replica.absence is None:
                return True
        return False

    def is_dormant(self, model: str) -> bool:
        """Return whether another machine could bring a replica of the model for a request."""
        return any(replica.absence is not None and replica.absence.is_elsewhere for replica in self.of(model))

    def why_absent(self, model: str) -> tuple[Refusal, str]:
        """Return why no replica serves a model: a load that failed counts before what could be loaded yet."""
        absences = [replica.absence for replica in self.of(model) if replica.absence]
        loadable = [absence for absence in absences if absence.loadable]
        failed = [absence for absence in loadable if absence.has_failed]
        reasons = {absence.reason for absence in failed or loadable or absences}
        refusal = Refusal.NOT_LOADED if loadable and not failed else Refusal.UNAVAILABLE
        return refusal, "; ".join(sorted(reasons)) or "it has no replica"

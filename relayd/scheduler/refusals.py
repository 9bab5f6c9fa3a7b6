"""What is reported to a client whose request does not run?"""

from collections.abc import Mapping

from relayd.scheduler.events import Refusal, Refuse, Ticket
from relayd.scheduler.keeper import MemoryKeeper
from relayd.scheduler.queue import Queue
from relayd.scheduler.replicas import KnownReplicas
from relayd.scheduler.service import ServiceTimes

_OPERATOR_SECONDS = 30.0
"""When to ask again for a model that only an operator brings back."""


class Refusals:
    """Writes refusals, with the reason and with when to ask again.

    Args:
        replicas: Who has slots.
        queues: Model → the tickets that wait for it.
        service: How long requests take.
        keeper: Owns memory.
    """

    def __init__(
        self,
        replicas: KnownReplicas,
        queues: Mapping[str, Queue],
        service: ServiceTimes,
        keeper: MemoryKeeper,
    ) -> None:
        self._replicas = replicas
        self._queues = queues
        self._service = service
        self._keeper = keeper

    def __repr__(self) -> str:
        return f"<Refusals for {self._replicas!r}>"

    def absent(self, ticket: Ticket, now: float) -> Refuse:
        """Refuse a ticket of a model that no replica serves; one that could be loaded gets the reason."""
        refusal, reason = self._replicas.why_absent(ticket.ask.model)
        retry_seconds = self._keeper.retry_seconds(ticket.ask.model, now)
        return Refuse(ticket.id, refusal, reason, retry_seconds or _OPERATOR_SECONDS)

    def full(self, ticket: Ticket) -> Refuse:
        """Refuse a ticket for which the queue of its model is too long."""
        model = ticket.ask.model
        reason = f"{len(self._queues[model])} requests already wait for {model!r}"
        waiting = len(self._queues[model])
        return Refuse(ticket.id, Refusal.QUEUE_FULL, reason, self._estimate_seconds(model), waiting + 1)

    def late(self, ticket: Ticket) -> Refuse:
        """Refuse a ticket whose wait limit has passed."""
        model = ticket.ask.model
        if any(self._replicas.capacities(model)):
            reason = f"no slot of {model!r} became free in time"
        else:
            reason = f"{model!r} was not loaded in time: {self._keeper.swapper.why_not_loaded(model)}"
        return Refuse(ticket.id, Refusal.TIMED_OUT, reason, self._estimate_seconds(model))

    def spent(self, ticket: Ticket, attempts: int) -> Refuse:
        """Refuse a ticket that failed on as many replicas as it may try."""
        reason = f"{attempts} attempts failed"
        return Refuse(ticket.id, Refusal.ATTEMPTS_SPENT, reason, self._estimate_seconds(ticket.ask.model))

    def _estimate_seconds(self, model: str) -> float:
        """Return when the queue of today has probably run, at least 1."""
        slots = sum(capacity.slots for capacity in self._replicas.capacities(model))
        place = len(self._queues.get(model, ())) + 1
        load_seconds = 0.0 if slots else self._keeper.load_seconds(model)
        return max(1.0, load_seconds + self._service.wait_seconds(model, place, slots))

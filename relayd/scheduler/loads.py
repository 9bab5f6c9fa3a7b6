"""Which loads are under way, for whom, and how did the last ones end (load on demand)?

A model that is not in memory is loaded once for all who wait for it. Its load is given up when the last of
them has left; one whose wait limit has passed was asked to come back, so what has its memory already is
loaded to its end. After a load that failed its model is not loaded for a while, twice as long after each
failure in a row, or until the configuration is read again.
"""

from collections import deque

from relayd.scheduler.capacity import ReplicaSlots
from relayd.scheduler.floor import Floor
from relayd.scheduler.memory import Load, LoadFailed
from relayd.scheduler.residency import COMING, Failure, Origin, Residency, Stage, Want
from relayd.scheduler.views import LoadDone

_BACKOFF_SECONDS, _BACKOFF_LIMIT_SECONDS = 5.0, 300.0
"""How long a model is not loaded after a failed load, and the limit of doubling it."""

_KEPT_LOADS = 20
"""Loads that a report shows."""


class Loads:
    """Orders loads and takes note of their ends.

    Args:
        floor: What is known of memory.
    """

    def __init__(self, floor: Floor) -> None:
        self._floor = floor
        self._done: deque[LoadDone] = deque(maxlen=_KEPT_LOADS)

    def __repr__(self) -> str:
        coming = sum(one.stage in COMING for one in self._floor.residencies)
        return f"<Loads: {coming} under way, {len(self._done)} done>"

    def call(self, model: str, origin: Origin, now: float) -> list[Load]:
        """Order the loads of a model's replicas (single flight).

        Those beyond `replicas.min` are left out, but for one where all the others are stopped or given up.
        """
        every = list(self._floor.residencies.of(model))
        kept = [one for one in every if not one.resident.growth]
        if any(self._floor.is_expected(one) for one in kept):
            return [load for one in kept for load in self.call_replica(one, origin, now)]
        further = (one for one in every if one.resident.growth)
        return next((loads for one in further if (loads := self.call_replica(one, origin, now))), [])

    def call_replica(self, one: Residency, origin: Origin, now: float) -> list[Load]:
        """Order the load of a replica, at once or when its memory of before is free."""
        known = self._floor.replicas.get(one.name)
        is_loadable = self._floor.is_loadable(one) and one.may_be_called(now)
        if known is None or not is_loadable or one.is_called_back:
            return []
        one.want, one.is_unloaded = Want(origin, now, until=self._until(now)), False
        one.is_called_back = one.stage is Stage.ENDING
        return [] if one.is_called_back else [self.order(one, known)]

    def order(self, one: Residency, known: ReplicaSlots) -> Load:
        """Order the load of a replica that is not in memory."""
        known.absence, one.is_called_back = None, False
        one.is_insisted = False
        one.stand(Stage.CALLED)
        return Load(one.name)

    def insist(self, model: str, now: float) -> list[Load]:
        """Load a model for an operator: failures of before do not count, nor do clients that leave."""
        for one in self._floor.residencies.of(model):
            one.failure = None
            self.insist_on(one, now)
        return self.call(model, Origin.OPERATOR, now)

    def insist_on(self, one: Residency, now: float) -> None:
        """Have a load that is under way, or the next question of a start, be an operator's."""
        if one.stage in COMING and one.leaving is None:
            one.want.origin, one.want.until = Origin.OPERATOR, self._until(now)
        else:
            one.is_insisted = one.stage in (Stage.ABSENT, Stage.ENDING)

    def start(self, one: Residency, now: float) -> None:
        """Take note that a replica asks for memory whose load was not ordered."""
        origin = Origin.OPERATOR if one.is_insisted else Origin.START
        one.want, one.is_insisted = Want(origin, now, until=self._until(now)), False

    def _until(self, now: float) -> float:
        return now + self._floor.policy.start_wait_seconds

    def unwanted(self, model: str, *, have_timed_out: bool) -> list[Residency]:
        """Return the loads that were for requests of a model, none of which waits any more."""
        given_up = (Stage.CALLED, Stage.ASKING) if have_timed_out else COMING
        return [
            one
            for one in self._floor.residencies.of(model)
            if one.stage in given_up
            and one.leaving is None
            and one.want.origin in (Origin.DEMAND, Origin.GROWTH)
        ]

    def succeed(self, one: Residency, now: float) -> None:
        """Take note that a replica is ready."""
        granted_at, one.failure = one.want.granted_at, None
        if one.stage is Stage.LOADING and granted_at is not None:
            self._floor.times.learn(one.model, now - granted_at)
            self._note(one, granted_at, now)
        one.stand(Stage.LOADED)
        one.loaded_at, one.want, one.is_called_back = now, Want(), False

    def fail(self, one: Residency, failed: LoadFailed, now: float) -> None:
        """Take note that a load failed, and when a request may order the next."""
        count = one.failure.count + 1 if one.failure else 1
        seconds = failed.retry_after_seconds
        if seconds is None:
            seconds = min(_BACKOFF_SECONDS * 2 ** min(count - 1, 10), _BACKOFF_LIMIT_SECONDS)
        one.failure = Failure(failed.reason, now + seconds, count, failed.is_final)
        one.is_called_back = False
        granted_at = one.want.granted_at
        self._note(one, now if granted_at is None else granted_at, now, failed.reason)
        self._floor.end(one)

    def forget_failures(self) -> None:
        """Let requests load again what has failed, as what can be loaded may have changed."""
        for one in self._floor.residencies:
            one.failure = None

    def retry_seconds(self, model: str, now: float) -> float:
        """Return when a failed model may be loaded again at the earliest; 0 when none has failed.

        Nor where each load would fail again: that is an operator's to change.
        """
        every = (one.failure for one in self._floor.residencies.of(model) if one.failure)
        failures = [failure for failure in every if not failure.is_final]
        return max(0.0, min((failure.retry_at - now for failure in failures), default=0.0))

    def last(self) -> list[LoadDone]:
        """Return the last loads, the newest first."""
        return list(reversed(self._done))

    def _note(self, one: Residency, granted_at: float, now: float, failure: str = "") -> None:
        waited = max(0.0, granted_at - one.want.at)
        self._done.append(LoadDone(one.name, one.model, now, waited, now - granted_at, failure))

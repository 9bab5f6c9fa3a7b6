"""Where does each replica stand between "not in memory" and "in use", as far as memory is concerned?"""

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum

from relayd.scheduler.memory import Accounts, EvictionCause, Resident

_KEPT = Resident()
"""The policy of a replica that was given none."""


class Stage(Enum):
    """Where a replica stands."""

    ABSENT = "absent"
    """Nothing of it is in memory, and it has not asked."""
    CALLED = "called"
    """Its load is ordered; it has not asked for memory yet."""
    ASKING = "asking"
    """It has asked for memory and waits."""
    LOADING = "loading"
    """It was granted its memory, and is not ready yet."""
    ADOPTED = "adopted"
    """It was in memory when this daemon came, and has not answered yet: it may still be loading."""
    HELD = "held"
    """It belongs to the daemon before this one, and ends with that."""
    LOADED = "loaded"
    """It was ready."""
    ENDING = "ending"
    """Its process has ended; its memory may not be free yet."""


COMING = frozenset({Stage.CALLED, Stage.ASKING, Stage.LOADING})
"""A load is under way."""


class Origin(Enum):
    """What a load is for."""

    START = "start"
    """The supervisor's own: with the daemon, or after an end that was not ordered."""
    DEMAND = "demand"
    """Requests that wait."""
    OPERATOR = "operator"
    """An operator's command."""
    HOME = "home"
    """It is at home, and the machine is idle."""
    GROWTH = "growth"
    """Requests wait longer than another replica takes to load."""


@dataclass(slots=True, eq=False)
class Want:
    """A load that is under way.

    Attributes:
        origin: What it is for.
        at: Since when it is wanted (monotonic seconds): the order of grants.
        sizes: What it asked for.
        granted_at: When it was granted its memory.
        until: When it is given up where no request waits for it (monotonic seconds).
        is_for_lines: Whether only lines of batches waited for it when it was granted its memory.
    """

    origin: Origin = Origin.START
    at: float = 0.0
    sizes: tuple[Accounts, ...] = ()
    granted_at: float | None = None
    until: float = math.inf
    is_for_lines: bool = False


@dataclass(slots=True, eq=False)
class LastTurn:
    """The last turn of a replica before another one gets its memory.

    Attributes:
        asker: The replica that waits for the memory.
        since: When the turn began (monotonic seconds).
        served: Requests that the replica had been given by then.
        is_urgent: Whether the turn is to end at once, as the wait limit of a request is near.
        waits_for_age: Whether it does not end before the replica has been in memory for a while.
    """

    asker: str
    since: float
    served: int
    is_urgent: bool = False
    waits_for_age: bool = False


@dataclass(frozen=True, slots=True)
class Failure:
    """A load that failed.

    Attributes:
        reason: For the client who asks for it.
        retry_at: When a request may load it again (monotonic seconds).
        count: Loads that failed in a row.
        is_final: Whether only an operator can change that.
    """

    reason: str
    retry_at: float
    count: int
    is_final: bool = False


@dataclass(slots=True, eq=False)
class Residency:
    """One replica's place in memory.

    Attributes:
        name: The replica.
        model: Whose replica it is.
        policy: Its operator's settings; None when it is never loaded on demand.
        stage: Where it stands.
        want: The load that is under way, or was.
        loaded_at: When it was ready (monotonic seconds).
        turn: Its last turn, while another model waits for its memory and it is still in use.
        leaving: Why it takes no more work, or is unloaded already; None while it stays.
        is_evicted: Whether its unload was ordered.
        left_for: The replica that it left memory for the last time; empty when it left for none.
        is_unloaded: Whether an operator unloaded it: then it does not come back to its home by itself.
        is_called_back: Whether it is to be loaded again once its memory is free.
        is_insisted: Whether an operator starts it, so that its next question is theirs.
        failure: The last load, if that failed.
        noted: Requests of this incarnation that count for its model already.
    """

    name: str
    model: str
    policy: Resident | None = None
    stage: Stage = Stage.ABSENT
    want: Want = field(default_factory=Want)
    loaded_at: float = 0.0
    turn: LastTurn | None = None
    leaving: EvictionCause | None = None
    is_evicted: bool = False
    left_for: str = ""
    is_unloaded: bool = False
    is_called_back: bool = False
    is_insisted: bool = False
    failure: Failure | None = None
    noted: int = 0

    @property
    def resident(self) -> Resident:
        """Its settings, or those of a replica that stays."""
        return self.policy or _KEPT

    def stand(self, stage: Stage) -> None:
        """Enter a stage; one that ends its time in memory forgets why it left."""
        self.stage = stage
        if stage in (Stage.ABSENT, Stage.CALLED, Stage.ENDING):
            self.turn, self.noted = None, 0
        if stage is Stage.ABSENT:
            self.leaving, self.is_evicted = None, False

    def may_be_called(self, now: float) -> bool:
        """Return whether a request may load it at `now` (monotonic seconds)."""
        has_failed = self.failure is not None and self.failure.retry_at > now
        return self.stage in (Stage.ABSENT, Stage.ENDING) and self.policy is not None and not has_failed


class Residencies:
    """Every replica that memory has to do with, by its name and by its model."""

    def __init__(self) -> None:
        self._all: dict[str, Residency] = {}
        self._of_model: dict[str, dict[str, Residency]] = {}

    def __repr__(self) -> str:
        loaded = sum(one.stage is Stage.LOADED for one in self)
        return f"<Residencies: {loaded} of {len(self._all)} loaded>"

    def __iter__(self) -> Iterator[Residency]:
        return iter(self._all.values())

    def get(self, name: str) -> Residency | None:
        """Return a replica's; None when it is not known."""
        return self._all.get(name)

    def of(self, model: str) -> Collection[Residency]:
        """Return those of a model."""
        found: Mapping[str, Residency] = self._of_model.get(model, {})
        return found.values()

    def enter(self, name: str, model: str) -> Residency:
        """Return a replica's, made when it was not known."""
        known = self._all.get(name)
        if known is None or known.model != model:
            self.remove(name)
            known = self._all[name] = Residency(name, model)
            self._of_model.setdefault(model, {})[name] = known
        return known

    def remove(self, name: str) -> Residency | None:
        """Remove a replica's, and return it."""
        known = self._all.pop(name, None)
        if known is not None:
            del self._of_model[known.model][name]
            if not self._of_model[known.model]:
                del self._of_model[known.model]
        return known

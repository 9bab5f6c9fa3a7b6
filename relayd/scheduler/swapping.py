"""Which models are in memory, and which give way to others (load on demand, eviction)?

The whole policy, in order:

1. A request for a model that is not in memory orders its load, one for all who wait (`loads`).
2. Replicas get memory in the order in which their models were wanted; what does not fit has others leave
   (`grants`): the set that costs least (`eviction`), none that is pinned, none that works on anything.
3. A model in use keeps its memory for one turn more (`turns`), then waits for its own in the same order: who
   waits gets memory after at most one turn of each model before it, and what these still work on. One without
   work leaves at once, unless it has just taken its memory from the one that waits.
4. Loads on one device go one after another.
5. Idle replicas are unloaded when their time is up, and home models come back (`idle`).
6. A model whose requests wait for long gets another replica where there is room (`growth`).
7. A question for memory that no request waits for is given up where nothing frees the memory (`patience`).

Defaults come from `python -m tests.ledger --trade`: ten minutes of each trace, loads of 2 s, answers of 1 s.
Zipf: 16 clients of five models, room for two. ABAB: two models, room for one, four clients that pause for a
second. The waits are the 95th percentile and the longest.

    resident  batch  turn    Zipf: answers  swaps     waits    ABAB: answers  swaps     waits
        3 s     32  10 s            1915    197    10.2 14.3              460     91      9.5 16.8
        0 s     32  10 s            1914    196    10.4 14.7              395    150      8.4 13.7
        5 s     32  10 s            1893    196    10.3 16.2              486     75     10.4 15.3
       10 s     32  10 s            1815    175    11.7 18.7              509     46     15.2 19.6
        3 s      4  10 s            1275    237    15.0 23.6              447     96      9.4 13.6
        3 s     32   5 s            1814    205    10.2 16.1              445     97      9.4 13.6
        3 s     32  30 s            1914    194    10.7 17.2              462     92      9.5 16.8
"""

import math
from collections.abc import Iterable

from relayd.scheduler.capacity import Capacity
from relayd.scheduler.eviction import Eviction, LeastCost, Tenant
from relayd.scheduler.floor import Floor
from relayd.scheduler.grants import Decision, GrantAsk, Pool, Right, decide
from relayd.scheduler.growth import Growth
from relayd.scheduler.idle import AT_ONCE_SECONDS, IdleReplicas
from relayd.scheduler.ledger import lanes
from relayd.scheduler.loads import Loads
from relayd.scheduler.memory import Evict, EvictionCause, Grant, Load, LoadFailed, MemoryEffect
from relayd.scheduler.patience import Patience
from relayd.scheduler.residency import Origin, Residency, Stage
from relayd.scheduler.turns import Turns

_OTHERS_USE = "models that are in use, or being loaded, hold the memory"
_OTHERS_STAY = "other programs, or models that stay, hold the memory"
"""What a model waits for; sizes and names of others are for the operator (`relayd status`)."""

_IN_MEMORY = frozenset({Stage.LOADING, Stage.ADOPTED, Stage.HELD, Stage.LOADED})

_LOADS_BEFORE_LIMIT = 1.5
_SECONDS_BEFORE_LIMIT = 2.0
"""A wait limit is near when so many loads, and so many seconds, are left until it passes."""


class Swapper:
    """Decides which replicas are in memory; `settle` is called after each change.

    Args:
        floor: What is known of replicas, their queues, and their memory.
        loads: Orders loads.
        eviction: Chooses who leaves.
    """

    def __init__(self, floor: Floor, loads: Loads, eviction: Eviction | None = None) -> None:
        self._floor = floor
        self._loads = loads
        self._eviction = eviction or LeastCost()
        self._turns, self._idleness, self._growth = Turns(floor), IdleReplicas(floor), Growth(floor)
        self._patience = Patience(floor)
        self._opened: list[str] = []
        self._broken: list[LoadFailed] = []
        self.decision = Decision()
        self.due = math.inf

    def __repr__(self) -> str:
        return f"<Swapper {self._turns!r} {self._idleness!r} {self._growth!r}>"

    def call(self, model: str, now: float) -> list[Load] | None:
        """Order the loads of a model that a request asks for; None when it is not going to be loaded."""
        ordered = self._loads.call(model, Origin.DEMAND, now)
        is_coming = ordered or any(one.is_called_back for one in self._floor.residencies.of(model))
        return ordered if is_coming else None

    def give_up(self, model: str, *, have_timed_out: bool) -> list[MemoryEffect]:
        """Unload what was being loaded for requests, the last of which has left."""
        for one in self._floor.residencies.of(model):
            if one.want.origin is Origin.DEMAND:
                one.is_called_back = False
        unwanted = self._loads.unwanted(model, have_timed_out=have_timed_out)
        return [self._evict(one, EvictionCause.NOBODY_WAITS) for one in unwanted]

    def unload(self, name: str, *, force: bool) -> list[MemoryEffect]:
        """Unload a replica for an operator, when it has finished its work unless forced."""
        one = self._floor.residencies.get(name)
        if one is None or one.stage in (Stage.ABSENT, Stage.ENDING) or (one.is_evicted and not force):
            return []
        one.is_unloaded = True
        if force or one.stage is not Stage.LOADED or self._floor.is_idle(one):
            return [self._evict(one, EvictionCause.OPERATOR, force=force)]
        self._leave(one, EvictionCause.OPERATOR)
        return []

    def settle(self, now: float) -> list[MemoryEffect]:
        """Decide who gets memory and who leaves now, and when time alone changes that (`due`)."""
        effects = list[MemoryEffect]()
        self._floor.look()
        for one in self._growth.paying(now):
            effects += self._loads.call_replica(one, Origin.GROWTH, now)
        for one in self._idleness.returning(now):
            effects += self._loads.call_replica(one, Origin.HOME, now)
        self._floor.look()
        effects += self._grant(now)
        effects += self._unload(now)
        self._watch()
        rules = self._turns, self._idleness, self._growth, self._patience
        self.due = min(*(rule.due(now) for rule in rules), self._limits_near_at(now), self._spare_at(now))
        return effects

    def left_by_lines(self) -> list[Capacity]:
        """Return the replicas that leave, and still work on lines of batches."""
        leaving = (one for one in self._floor.present if one.turn is not None or one.leaving is not None)
        found = (self._floor.capacity(one) for one in leaving)
        return [one for one in found if one is not None and one.background and not one.accepting]

    def _spare_at(self, now: float) -> float:
        """Return when a batch may have the memory of another model (monotonic seconds)."""
        if not any(self._right(one) is Right.SPARE for one in self._asking()):
            return math.inf
        moments = (self._floor.spare_at(one) for one in self._floor.present)
        return min((moment for moment in moments if moment > now), default=math.inf)

    def turn_ends_at(self, one: Residency) -> float:
        """Return when the last turn of a replica ends at the latest (monotonic seconds); past without one."""
        return self._turns.ends_at(one)

    def why_not_loaded(self, model: str) -> str:
        """Return what a model that is not in memory waits for, for the client who asks for it."""
        asking = [one for one in self._floor.residencies.of(model) if one.stage is Stage.ASKING]
        if not asking:
            return "its load takes longer"
        is_kept = any(one.name in self.decision.waits_for for one in asking)
        return _OTHERS_USE if is_kept else _OTHERS_STAY

    def take_opened(self) -> list[str]:
        """Return the models that take work again since the last time."""
        opened, self._opened = self._opened, []
        return opened

    def take_broken(self) -> list[LoadFailed]:
        """Return the loads that cannot work, found since the last time."""
        broken, self._broken = self._broken, []
        return broken

    def _grant(self, now: float) -> list[MemoryEffect]:
        effects = list[MemoryEffect]()
        asking = {one.name: one for one in self._asking()}
        questions = list[GrantAsk]()
        for one in asking.values():
            if any(map(self._floor.ledger.is_possible, one.want.sizes)):
                questions.append(self._question(one, now))
            elif self._right(one) is not Right.NONE:
                effects.append(self._refuse(one, now))
        self.decision = decide(questions, self._pool(now) if questions else Pool({}), self._eviction, now)
        self._opened += self._turns.assign(self.decision.victims, now)
        for name, index in self.decision.grants:
            self._enter(asking[name], index, now)
            effects.append(Grant(name, index))
        return [*effects, *self._take_back(asking.values(), now)]

    def _enter(self, one: Residency, index: int, now: float) -> None:
        self._floor.ledger.enter(one.name, one.want.sizes[index])
        one.stage, one.want.granted_at = Stage.LOADING, now
        one.want.is_for_lines = self._right(one) is Right.SPARE

    def _refuse(self, one: Residency, now: float) -> Evict:
        """Give up a load for which there never is room."""
        reason = f"{one.name} {self._floor.ledger.why_impossible(one.want.sizes[-1])}"
        failed = LoadFailed(one.name, reason, is_final=True)
        self._broken.append(failed)
        self._loads.fail(one, failed, now)
        return Evict(one.name, EvictionCause.TOO_LARGE)

    def _take_back(self, asking: Iterable[Residency], now: float) -> list[MemoryEffect]:
        """Give up what was neither granted nor is going to be, where no request waits for it."""
        effects = list[MemoryEffect]()
        for one in asking:
            if one.stage is not Stage.ASKING:
                continue
            is_served, is_awaited = one.name in self.decision.waits_for, self.is_wanted(one)
            if verdict := self._patience.verdict(one, is_served=is_served, is_awaited=is_awaited, now=now):
                effects.append(self._evict(one, verdict.cause, reason=verdict.reason))
        return effects

    def _unload(self, now: float) -> list[MemoryEffect]:
        """Unload what can leave now."""
        effects = [self._make_room(one) for one in self._turns.over(now)]
        effects += [self._evict(one, EvictionCause.IDLE) for one in self._idleness.expired(now)]
        for one in self._growth.surplus(now):
            self._leave(one, EvictionCause.SHRINK)
        leaving = [one for one in self._floor.present if one.leaving is not None and not one.is_evicted]
        effects += [
            self._evict(one, one.leaving) for one in leaving if one.leaving and self._floor.is_idle(one)
        ]
        return [*effects]

    def _make_room(self, one: Residency) -> Evict:
        asker = self._floor.residencies.get(one.turn.asker) if one.turn else None
        one.left_for = asker.name if asker and self._right(asker) is not Right.SPARE else ""
        return self._evict(one, EvictionCause.MEMORY)

    def _leave(self, one: Residency, cause: EvictionCause) -> None:
        """Let a replica take no more work; it is unloaded when it has finished what it works on."""
        one.leaving = cause
        if capacity := self._floor.capacity(one):
            capacity.give_way(0)

    def _evict(self, one: Residency, cause: EvictionCause, *, force: bool = False, reason: str = "") -> Evict:
        self._leave(one, cause)
        if not one.is_evicted:
            self._floor.evicted[cause] += 1
        one.is_evicted = True
        return Evict(one.name, cause, force, reason)

    def _asking(self) -> list[Residency]:
        """Return who waits for memory, in the order of the grants; not whose memory of before is not free."""
        floor = self._floor
        asking = [one for one in floor.present if one.stage is Stage.ASKING and one.leaving is None]
        asking = [one for one in asking if not floor.ledger.holds(one.name)]
        return sorted(asking, key=lambda one: (one.want.at, one.name))

    def _question(self, one: Residency, now: float) -> GrantAsk:
        is_urgent = one.want.origin is Origin.OPERATOR or self._is_limit_near(one, now)
        return GrantAsk(one.name, one.want.sizes, self._right(one), is_urgent, one.left_for)

    def is_wanted(self, one: Residency) -> bool:
        """Return whether others make room for a replica that waits for memory."""
        return self._right(one) is not Right.NONE

    def _right(self, one: Residency) -> Right:
        """Return who may leave for a replica: only the first of a model, and only where it is wanted."""
        siblings = [other for other in self._floor.residencies.of(one.model) if other is not one]
        if any(other.stage in _IN_MEMORY and other.leaving is None for other in siblings):
            return Right.NONE
        place = (one.want.at, one.name)
        if any(other.stage is Stage.ASKING and (other.want.at, other.name) < place for other in siblings):
            return Right.NONE
        if self._floor.foreground(one.model) or one.want.origin is Origin.OPERATOR:
            return Right.TURN
        if self._floor.waiting(one.model):
            return Right.SPARE
        return Right.IDLE if one.want.origin is Origin.HOME else Right.NONE

    def _near_at(self, one: Residency) -> float:
        """Return when the wait limit of the oldest request of a model is near (monotonic seconds)."""
        ahead = _LOADS_BEFORE_LIMIT * self._floor.load_seconds(one) + _SECONDS_BEFORE_LIMIT
        return self._floor.deadline(one.model) - ahead

    def _is_limit_near(self, one: Residency, now: float) -> bool:
        """Return whether it is near, and a load may still be in time."""
        rest = self._floor.deadline(one.model) - now
        return self._near_at(one) <= now and rest >= self._floor.load_seconds(one) / 2

    def _limits_near_at(self, now: float) -> float:
        moments = (self._near_at(one) for one in self._asking() if self._floor.waiting(one.model))
        return min((moment for moment in moments if moment > now), default=math.inf)

    def _pool(self, now: float) -> Pool:
        ledger, residencies = self._floor.ledger, self._floor.present
        stays = {one.name for one in residencies if one.leaving is None and one.stage is not Stage.ENDING}
        leaving = {name: held for name, held in ledger.entries() if name not in stays}
        loading = {
            lane: one.name
            for one in residencies
            if one.stage in (Stage.LOADING, Stage.ADOPTED)
            for lane in lanes(ledger.held(one.name))
        }
        return Pool(ledger.free(), leaving, loading, self._candidates(now))

    def _candidates(self, now: float) -> list[Tenant]:
        """Return who may leave: what is loaded and well, and what is being loaded once it is."""
        floor = self._floor
        there = [one for one in floor.present if one.stage in _IN_MEMORY and one.leaving is None]
        return [
            self._candidate(one, now)
            for one in there
            if not one.resident.pin and ((capacity := floor.capacity(one)) is None or capacity.is_well)
        ]

    def _candidate(self, one: Residency, now: float) -> Tenant:
        floor, capacity = self._floor, self._floor.capacity(one)
        floor.note_demand(one, now)
        chance = floor.demand.chance(one.model, now)
        return Tenant(
            one.name,
            floor.ledger.held(one.name),
            reload_seconds=floor.load_seconds(one),
            chance=chance,
            used_at=capacity.used_at if capacity else one.loaded_at,
            is_idle=floor.works_on_lines(one),
            is_young=floor.old_at(one) > now,
            is_giving_way=one.turn is not None,
            is_loading=capacity is None,
            is_home=one.resident.home,
            warm_seconds=chance * floor.warm_seconds(one),
            is_spare=floor.spare_at(one) <= now,
        )

    def _watch(self) -> None:
        """Have the end of a replica's work noticed at once where something waits for it."""
        is_awaited = any(self.decision.waits_for) or bool(self._asking())
        for one in self._floor.present:
            if capacity := self._floor.capacity(one):
                idle_seconds = one.resident.idle_seconds
                leaves_at_once = idle_seconds is not None and idle_seconds < AT_ONCE_SECONDS
                is_leaving = one.leaving is not None and not one.is_evicted
                capacity.is_watched = is_awaited or leaves_at_once or is_leaving

"""Which replicas leave memory for another one (eviction)?

The set that frees enough bytes on the right accounts and costs least. A replica costs the seconds of its next
load, times the chance that it is wanted soon, and what its warm caches save. Replicas that are in use already
give way, at their turn's end, cost nothing more: the choice is kept.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Protocol

from relayd.scheduler.memory import Accounts

_EACH_SECONDS = 0.1
"""What an eviction costs besides: among sets of one cost the smaller wins."""

_LOOKS = 500
"""Sets that are looked at: about 1 ms. Where more are possible, the best of these is taken."""

_Weight = tuple[float, float]
"""What a set of candidates costs, and how lately it was used (the longer ago, the lower)."""

_NOTHING: _Weight = (0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Tenant:
    """A replica that may be evicted.

    Attributes:
        replica: Its name.
        held: Bytes that its end frees, account by account.
        reload_seconds: How long its next load takes.
        chance: Chance (0 to 1) that it is wanted soon.
        used_at: When its last request ended, or its load (monotonic seconds).
        is_idle: Whether it works on no request.
        is_young: Whether the model that it took the memory from may not have it back yet.
        is_giving_way: Whether it was chosen before, and is in its last turn.
        is_loading: Whether it is not loaded yet, so that it cannot leave before.
        is_home: Whether it would come back by itself.
        warm_seconds: What its warm caches save.
        is_spare: Whether lines of batches may have its memory.
    """

    replica: str
    held: Accounts
    reload_seconds: float = 1.0
    chance: float = 0.0
    used_at: float = 0.0
    is_idle: bool = True
    is_young: bool = False
    is_giving_way: bool = False
    is_loading: bool = False
    is_home: bool = False
    warm_seconds: float = 0.0
    is_spare: bool = False

    @property
    def cost_seconds(self) -> float:
        """What its eviction probably costs."""
        if self.is_giving_way and not self.is_idle:
            return 0.0
        return _EACH_SECONDS + self.reload_seconds * self.chance + self.warm_seconds


class Eviction(Protocol):
    """A policy that chooses who leaves."""

    def victims(self, need: Accounts, running: Sequence[Tenant], now: float) -> frozenset[str] | None:
        """Return the replicas that leave so that `need` bytes more are free; None when all are too few.

        Args:
            need: Bytes of each account that are missing.
            running: Who may leave.
            now: Monotonic seconds.
        """
        ...


class LeastCost:
    """Evicts the set that costs least; among equals, the one that was used longest ago."""

    def victims(self, need: Accounts, running: Sequence[Tenant], now: float) -> frozenset[str] | None:
        """Search the sets of the most promising candidates."""
        helpful = [one for one in running if any(one.held.get(account, 0) > 0 for account in need)]
        helpful.sort(key=lambda one: (one.cost_seconds / _share(one, need), one.used_at, one.replica))
        greedy = _greedy(need, helpful) if need else ()
        return None if greedy is None else _cheapest(need, helpful, greedy, now)


def _share(one: Tenant, need: Accounts) -> float:
    """Return the part of what is missing that a candidate frees."""
    parts = (min(one.held.get(account, 0), count) / count for account, count in need.items())
    return sum(parts) / len(need)


def _greedy(need: Accounts, helpful: Iterable[Tenant]) -> tuple[Tenant, ...] | None:
    """Return candidates, the cheapest by the byte first, until enough is freed; None if it never is."""
    missing, chosen = dict[str, int](need), list[Tenant]()
    for one in helpful:
        if any(missing[account] > 0 and one.held.get(account, 0) > 0 for account in missing):
            chosen.append(one)
            missing = _less(missing, one)
        if _is_enough(missing):
            return _without_surplus(missing, chosen)
    return None


def _without_surplus(spare: Mapping[str, int], chosen: Sequence[Tenant]) -> tuple[Tenant, ...]:
    """Leave out what is not needed of a set that frees more than enough, the dearest first."""
    kept = list(chosen)
    for one in sorted(chosen, key=lambda one: -one.cost_seconds):
        without = {account: count + one.held.get(account, 0) for account, count in spare.items()}
        if _is_enough(without):
            spare = without
            kept.remove(one)
    return tuple(kept)


def _cheapest(
    need: Accounts, among: Sequence[Tenant], known: tuple[Tenant, ...], now: float
) -> frozenset[str]:
    """Return the cheapest set that frees enough, at most as dear as one that is known (branch and bound)."""
    weights = [_weight(one, now) for one in among]
    best, best_rank = known, reduce(_plus, (_weight(one, now) for one in known), _NOTHING)
    stack: list[tuple[int, Mapping[str, int], tuple[Tenant, ...], _Weight]] = [(0, need, (), _NOTHING)]
    for _ in range(_LOOKS):
        if not stack:
            break
        index, missing, chosen, rank = stack.pop()
        if rank >= best_rank:
            continue
        if _is_enough(missing):
            best, best_rank = chosen, rank
        elif index < len(among):
            one, more = among[index], _plus(rank, weights[index])
            stack.append((index + 1, missing, chosen, rank))
            if more < best_rank:
                stack.append((index + 1, _less(missing, one), (*chosen, one), more))
    return frozenset(one.replica for one in best)


def _less(missing: Mapping[str, int], one: Tenant) -> dict[str, int]:
    return {account: count - one.held.get(account, 0) for account, count in missing.items()}


def _is_enough(missing: Mapping[str, int]) -> bool:
    return max(missing.values(), default=0) <= 0


def _weight(one: Tenant, now: float) -> _Weight:
    return one.cost_seconds, math.exp(min(0.0, one.used_at - now) / 3600)


def _plus(some: _Weight, one: _Weight) -> _Weight:
    """Return the weight of a larger set; costs that differ by less than a microsecond are the same."""
    return round(some[0] + one[0], 6), some[1] + one[1]

"""When is a question for memory given up that no request waits for, and why (bounded starts)?

Requests have their own wait limits. A start that nothing asks for takes no memory from other models: where
they hold it, it is given up at once, and a request brings the model back. Where other programs hold it, and
for an operator who has others make room, it waits for a bounded time; so every command comes to its end.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from relayd.scheduler.floor import Floor
from relayd.scheduler.ledger import fits, missing
from relayd.scheduler.memory import Accounts, EvictionCause
from relayd.scheduler.residency import Failure, Origin, Residency, Stage

_NO_ROOM = "there is no room for another replica"

_NAMED = 3
"""How many holders of memory a reason names."""


@dataclass(frozen=True, slots=True)
class GivenUp:
    """Why a question is given up.

    Attributes:
        cause: For counts.
        reason: For the operator; empty where the cause is enough.
    """

    cause: EvictionCause
    reason: str = ""


class Patience:
    """Decides about questions that were not granted.

    Args:
        floor: What is known of memory.
    """

    def __init__(self, floor: Floor) -> None:
        self._floor = floor

    def __repr__(self) -> str:
        bounded = sum(self._is_bounded(one) for one in self._floor.present)
        return f"<Patience: {bounded} wait for a bounded time>"

    def verdict(self, one: Residency, *, is_served: bool, is_awaited: bool, now: float) -> GivenUp | None:
        """Return why a question is given up; None while it waits.

        Args:
            one: Who asks.
            is_served: Whether it is going to get memory: others leave for it, or its turn comes.
            is_awaited: Whether others have to make room for it.
            now: Monotonic seconds.
        """
        if not is_served and not is_awaited:
            if one.resident.growth or one.want.origin is Origin.GROWTH:
                one.failure = Failure(_NO_ROOM, now + self._floor.policy.shrink_after_seconds, 0)
                return GivenUp(EvictionCause.NOBODY_WAITS)
            if one.resident.demand and one.want.origin is Origin.START:
                return GivenUp(EvictionCause.NOBODY_WAITS)
        short = self._short(one)
        if not short or not self._is_bounded(one):
            return None
        if not is_served and one.want.origin is Origin.START and self._fits_without_models(one):
            return GivenUp(EvictionCause.MEMORY, self._displaced(one, short))
        is_hopeless = not is_served and self._fits_without_models(one)
        is_over = one.want.until <= now
        return GivenUp(EvictionCause.NO_ROOM, self._no_room(short)) if is_hopeless or is_over else None

    def due(self, now: float) -> float:
        """Return when time alone gives a question up (monotonic seconds)."""
        bounds = (one.want.until for one in self._floor.present if self._is_bounded(one))
        return min((bound for bound in bounds if bound > now), default=math.inf)

    def _is_bounded(self, one: Residency) -> bool:
        is_ours = one.want.origin in (Origin.START, Origin.OPERATOR)
        return one.stage is Stage.ASKING and is_ours and not self._floor.waiting(one.model)

    def _short(self, one: Residency) -> Accounts:
        """Return what is missing, memory counted that is about to be free."""
        ledger = self._floor.ledger
        free = ledger.free()
        if free is None:
            return {}
        ending = (ledger.held(other.name) for other in self._floor.present if other.stage is Stage.ENDING)
        return missing(one.want.sizes[-1], _plus(free, *ending))

    def _fits_without_models(self, one: Residency) -> bool:
        """Return whether models hold what is missing; else other programs do."""
        ledger = self._floor.ledger
        free = ledger.free() or {}
        return fits(one.want.sizes[-1], _plus(free, *(held for _, held in ledger.entries())))

    def _displaced(self, one: Residency, short: Accounts) -> str:
        ask = f"a request, or `relayd load {one.model}`, has others make room"
        return f"{self._holders(short)} hold its memory; {ask}"

    def _no_room(self, short: Accounts) -> str:
        return f"there is no room for it: {self._holders(short)} hold the memory"

    def _holders(self, short: Accounts) -> str:
        """Return who holds memory that is missing, with what keeps each there."""
        found = list(self._held_by(short))
        more = [f"{len(found) - _NAMED} more"] if len(found) > _NAMED else []
        return ", ".join([*found[:_NAMED], *more]) or "other programs"

    def _held_by(self, short: Accounts) -> Iterator[str]:
        for name, held in self._floor.ledger.entries():
            one = self._floor.residencies.get(name)
            if any(held.get(account, 0) for account in short):
                yield f"{name} ({_why_kept(one, is_idle=self._floor.is_idle(one))})" if one else name


def _why_kept(one: Residency, *, is_idle: bool) -> str:
    if one.resident.pin:
        return "pinned"
    if one.stage is not Stage.LOADED:
        return "being loaded"
    return "loaded" if is_idle else "in use"


def _plus(free: Accounts, *more: Accounts) -> dict[str, int]:
    found = dict[str, int](free)
    for entry in more:
        for account, count in entry.items():
            found[account] = found.get(account, 0) + count
    return found

"""May a replica without a process take its memory, by the numbers of the plan? (admission by an operator).

What was planned beside the others has its memory by that. A replica that did not fit beside them may have
what those leave that are stopped, and no more.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from relayd.daemon.parts import DaemonParts
from relayd.desired.lines import by_room
from relayd.errors import NotLoadedError
from relayd.planner import Planned
from relayd.planner.budget import Budget, Room
from relayd.supervisor import Replica, State
from relayd.supervisor.state import DOWN
from relayd.units import Bytes, show_apart

SMALLER = "lower its context, slots or cache_ram_mib"


@dataclass(frozen=True, slots=True)
class NoRoom:
    """Why a replica cannot have its memory now.

    Attributes:
        name: The replica, `MODEL#N`.
        room: The device that is too small, with what the others leave of it.
        need: What the replica asks of it.
    """

    name: str
    room: Room
    need: Bytes

    def __str__(self) -> str:
        """Return need, have and who holds the rest."""
        need, have = show_apart(self.need, self.room.usable)
        return f"it needs {need} of {self.room.account}, {have} can be used ({self.room.explain()})"

    def refusal(self) -> NotLoadedError:
        """Return what an operator is answered who asks for the replica."""
        holders = " or ".join(name for name, _ in self.room.takers)
        remedy = f"Stop {holders} first, or {SMALLER}." if holders else f"{SMALLER.capitalize()}."
        return NotLoadedError(f"{self.name} does not fit beside the replicas that run: {self}", remedy=remedy)


def shortage(parts: DaemonParts, replica: Replica) -> NoRoom | None:
    """Return why a replica cannot have its memory now; None where it has it, or may take it."""
    budget, others = parts.desired.budget, [one for one in parts.fleet.select(None) if one is not replica]
    up = [one for one in others if one.state not in DOWN]
    beyond_plan = bool(replica.wanted.cold) or any(one.wanted.cold for one in up)
    if budget is None or replica.state not in DOWN or not beyond_plan or _has_others_make_room(replica):
        return None
    return _too_small(replica.wanted, up, budget)


def _has_others_make_room(replica: Replica) -> bool:
    """Return whether others leave for a replica: it is on demand, or they have its place by the plan."""
    wanted = replica.wanted
    return replica.state is State.COLD and (wanted.residence.demand or not wanted.cold)


def why_down(parts: DaemonParts, replica: Replica) -> str:
    """Return why a replica is not in memory, as far as memory is the reason, or that there is room for it."""
    if short := shortage(parts, replica):
        return str(short)
    if replica.state is not State.COLD:
        return ""
    if replica.wanted.cold and not replica.wanted.residence.demand and parts.desired.budget is not None:
        return f"there is room for it now: relayd start {replica.name}"
    return replica.status().reason


def _too_small(wanted: Planned, up: Sequence[Replica], budget: Budget) -> NoRoom | None:
    left = budget
    for one in up:
        needs = one.status().planned.needs or one.wanted.needs
        left = left.minus(by_room(needs), one.name)
    found = left.short_of(by_room(wanted.needs))
    return NoRoom(wanted.name, *found) if found else None

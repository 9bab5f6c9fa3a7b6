"""How replicas are restarted by a new plan of their models (restart by command)."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from relayd.daemon.parts import DaemonParts
from relayd.daemon.shutdown import Shutdown
from relayd.desired.lines import by_room
from relayd.desired.state import DesiredState, remember_plan
from relayd.errors import RelaydError
from relayd.journal import Journal
from relayd.planner import Planned
from relayd.supervisor import Replica, State
from relayd.supervisor.state import DOWN, SETTLED

Replan = Callable[[DesiredState, Collection[str]], DesiredState]
"""Plans some models of a desired state anew; may block, runs in a thread."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What a restart goes by.

    Attributes:
        changed: Replica → what its new plan changes for its process.
        larger: Those whose new plan takes more of a device than what runs now.
        unloaded: Those for which it has no place.
        placed: Replicas that had no place in the plan before.
        note: Why the earlier plan is kept; "" where there is a new one.
    """

    changed: Mapping[str, Sequence[str]]
    larger: frozenset[str] = frozenset()
    unloaded: tuple[Replica, ...] = ()
    placed: tuple[Replica, ...] = ()
    note: str = ""


class PlannedRestart:
    """Plans models anew, as `relayd plan --fresh` shows them, and starts their replicas by that plan.

    The configuration stays the one that the daemon follows: edits of its files are a reload's.

    Args:
        parts: Of the daemon.
        replan: Plans models anew.
        shutdown: A daemon that is about to end restarts nothing.
    """

    def __init__(self, parts: DaemonParts, replan: Replan, shutdown: Shutdown) -> None:
        self._parts = parts
        self._replan = replan
        self._shutdown = shutdown
        self._journal = Journal("daemon")

    def __repr__(self) -> str:
        return f"<PlannedRestart of {self._parts.fleet!r}>"

    async def plan(self, models: Collection[str]) -> Applied:
        """Plan models anew around the others that run; every replica has its new plan afterwards.

        Nothing is started or ended but replicas for which the new plan has no place: they are unloaded. Where
        no plan can be made, and while an upgrade is under way, the earlier one stays.
        """
        if self._parts.upgrading:
            return Applied({}, note="the earlier plan is kept while an upgrade is under way")
        async with self._parts.changing:
            try:
                desired = await asyncio.to_thread(self._replan, self._parts.desired, models)
                desired = await asyncio.to_thread(remember_plan, desired)
            except RelaydError as error:
                self._journal.error("restart.not_planned", message=str(error))
                return Applied({}, note=f"the earlier plan is kept, as no other can be made: {error}")
            self._shutdown.check_staying()
            return self._follow(desired, models)

    async def run(self, replicas: Sequence[Replica], applied: Applied, *, rolling: bool) -> dict[str, State]:
        """Start replicas anew by their plans, and return how each came out.

        Those that take more than before follow when the others are up, in the memory that these have left.
        """
        fleet, found = self._parts.fleet, dict[str, State]()
        await asyncio.gather(*(one.down() for one in applied.unloaded))
        larger = [one for one in replicas if one.name in applied.larger]
        for some in ([one for one in replicas if one not in larger], larger):
            found |= await fleet.restart(some, rolling=rolling)
        for one in applied.placed:
            one.load()
        others = dict.fromkeys((*applied.placed, *applied.unloaded))
        return found | {one.name: await one.reached(*SETTLED) for one in others}

    def _follow(self, desired: DesiredState, models: Collection[str]) -> Applied:
        """Give each replica its new plan."""
        changes = self._parts.changes_to(desired)
        changed = {one.planned.name: one.reasons for one in changes.changed}
        planned, larger = {one.name: one for one in desired.plan}, set[str]()
        unloaded, placed = list[Replica](), list[Replica]()
        for replica in self._parts.fleet.select(None):
            new, was_cold = planned.get(replica.name), bool(replica.wanted.cold)
            stays = replica.spec.model in desired.away and replica.state not in DOWN
            follows = replica.spec.model in models or _may_follow(replica, changed)
            if new is None or stays or not follows:
                changed.pop(replica.name, None)
                continue
            if _takes_more(replica, new):
                larger.add(replica.name)
            replica.replan(new)
            if new.cold:
                unloaded.append(replica)
                replica.unload(new.cold, self._parts.fleet.drain_seconds)
            elif was_cold:
                placed.append(replica)
        self._parts.desired = desired
        self._parts.view.changed()
        return Applied(changed, frozenset(larger), tuple(unloaded), tuple(placed))


def _may_follow(replica: Replica, changed: Collection[str]) -> bool:
    """Return whether a replica that is not restarted can take a new plan: its process stays as it is."""
    return replica.state in DOWN or replica.name not in changed


def _takes_more(replica: Replica, planned: Planned) -> bool:
    """Return whether a plan takes more of any device than what runs now."""
    if replica.state in DOWN:
        return True
    before = by_room(replica.status().planned.needs or replica.wanted.needs)
    return any(nbytes > before.get(device, 0) for device, nbytes in by_room(planned.needs).items())

"""Which replicas stay in memory, as relay.toml and operators have it, and how they come and go (residence).

The scheduler decides what is loaded and what makes room; here it is given each replica's policy, and what it
decides is carried out by the fleet.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping

from relayd.journal import Journal
from relayd.planner import Planned
from relayd.scheduler import Event, Evict, EvictionCause, Load, ResidenceSet, Resident, UnloadWanted
from relayd.store import Pins
from relayd.supervisor import Fleet

_READ_BYTES_PER_SECOND = 1e9
"""A slow disk, and a page cache that is cold: how long a load takes is learnt from the first one on."""

_REASONS: Mapping[EvictionCause, str] = {
    EvictionCause.MEMORY: "its memory was needed for another model",
    EvictionCause.IDLE: "no request came for it",
    EvictionCause.OPERATOR: "it was unloaded by command",
    EvictionCause.NOBODY_WAITS: "the requests that it was loaded for have ended",
    EvictionCause.SHRINK: "fewer replicas were enough",
    EvictionCause.NO_ROOM: "what holds the memory did not leave in time",
    EvictionCause.TOO_LARGE: "it needs more memory than models may take",
}
"""Why a replica is not in memory, for `relayd status`."""

_JOURNAL = Journal("daemon")


class Residents:
    """Gives the scheduler the policies of replicas, and lets the fleet carry out what it decides.

    Args:
        post: Gives the scheduler an event.
        fleet: The replicas.
        pins: What commands have set.
    """

    def __init__(self, post: Callable[[Event], None], fleet: Fleet, pins: Pins) -> None:
        self._post = post
        self._fleet = fleet
        self._store = pins
        self._pins: dict[str, bool] = {}
        self._writing = asyncio.Lock()
        self._is_held = False
        self._later: list[tuple[Load | Evict, int]] = []

    def __repr__(self) -> str:
        return f"<Residents: {len(self._pins)} models pinned or unpinned by command>"

    def recall(self) -> None:
        """Read what commands have set before. Blocks."""
        self._pins = dict(self._store.read())

    def is_pinned(self, planned: Planned) -> bool:
        """Return whether nothing but a command ends a replica."""
        return self._pins.get(planned.model, planned.residence.pin)

    def enter(self, plan: Iterable[Planned]) -> None:
        """Give the scheduler the policy of each replica of a plan."""
        for planned in plan:
            residence = planned.residence
            self._post(
                ResidenceSet(
                    planned.name,
                    planned.model,
                    Resident(
                        pin=self.is_pinned(planned),
                        home=residence.home,
                        demand=residence.demand,
                        idle_seconds=residence.idle_seconds,
                        growth=residence.growth,
                        reload_seconds=_load_seconds(planned),
                    ),
                )
            )

    async def pin(self, model: str, *, pinned: bool) -> None:
        """Keep a model in memory once it is there, or let it make room again, also over daemons.

        Raises:
            StateError: It could not be written down; nothing has changed.
        """
        plan = [one for one in self._fleet.plan if one.model == model]
        async with self._writing:
            pins = {name: pin for name, pin in self._pins.items() if name != model}
            if any(one.residence.pin is not pinned for one in plan):
                pins[model] = pinned
            await asyncio.to_thread(self._store.write, pins)
            self._pins = pins
        self.enter(plan)

    def release(self, model: str) -> bool:
        """Have a model leave memory after its requests, as a client asked for it; a request brings it back.

        Returns:
            Whether it does: only what is loaded on demand and not pinned is a client's to unload.
        """
        plan = [one for one in self._fleet.plan if one.model == model]
        if not plan or any(self.is_pinned(one) or not one.residence.demand for one in plan):
            return False
        for one in plan:
            self._post(UnloadWanted(one.name, force=False))
        return True

    def hold(self) -> None:
        """Begin no load and no eviction: a new daemon is about to take over, and to decide on its own."""
        self._is_held = True

    def go_on(self) -> None:
        """Carry out what was held back: this daemon stays.

        What was decided about a process that has ended since is dropped: the next one has asked anew.
        """
        self._is_held, later, self._later = False, self._later, []
        for effect, incarnation in later:
            if self._fleet.incarnation(effect.replica) != incarnation:
                continue
            match effect:
                case Load():
                    self.load(effect)
                case Evict():
                    self.evict(effect)

    def load(self, effect: Load) -> None:
        """Load a replica that is not in memory."""
        if self._is_held:
            self._hold_back(effect)
        else:
            self._fleet.load_cold(effect.replica)

    def evict(self, effect: Evict) -> None:
        """Unload a replica, which has nothing to do or is to end at once."""
        if self._is_held:
            self._hold_back(effect)
            return
        _JOURNAL.info("replica.evicted", replica=effect.replica, cause=effect.cause.value)
        self._fleet.unload(effect.replica, self._why(effect), at_once=True)

    def _hold_back(self, effect: Load | Evict) -> None:
        self._later.append((effect, self._fleet.incarnation(effect.replica)))

    def _why(self, effect: Evict) -> str:
        """Return why a replica is not in memory: the plan's words, with numbers, if too large."""
        if effect.reason:
            return effect.reason
        planned = (one.cold for one in self._fleet.plan if one.name == effect.replica)
        known = next(planned, "") if effect.cause is EvictionCause.TOO_LARGE else ""
        return known or _REASONS[effect.cause]


def _load_seconds(planned: Planned) -> float:
    """Return how long a load takes that was never seen."""
    return 0.5 + sum(planned.needs.values()) / _READ_BYTES_PER_SECOND

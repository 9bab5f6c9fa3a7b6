"""What do hubs get to know of this machine, and what may they have it do?"""

import platform
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from relayd import __version__
from relayd.api import ModelView
from relayd.daemon.nodeslots import SlotsForHub
from relayd.daemon.sharedfiles import FilesForOthers
from relayd.errors import NotServedError
from relayd.planner import Planned
from relayd.profile import LOCAL
from relayd.remote.capacity import OfferState, RemoteCapacity
from relayd.remote.messages import Inventory, NodeAccount, NodeCommand, ServedProfile, ServedReplica
from relayd.supervisor import State, Status

if TYPE_CHECKING:
    from relayd.daemon.parts import DaemonParts

_STATES: Mapping[State, str] = {
    State.READY: "ready",
    State.COLD: "cold",
    State.STOPPED: "gone",
    State.FATAL: "gone",
    State.DRAINING: "paused",
    State.UNHEALTHY: "paused",
}
"""How a replica's state is stated; any other one is on its way."""

_OFFERED: Mapping[OfferState, str] = {
    OfferState.READY: "ready",
    OfferState.PAUSED: "paused",
    OfferState.GONE: "gone",
}

Commands = Mapping[str, Callable[[NodeCommand], Awaitable[object]]]
"""What hubs may have this machine do, by verb."""

_PLATFORM = f"{platform.system().lower()} {platform.machine()}"


class MachineFacts:
    """This machine, as its hubs see it.

    Args:
        parts: Of the daemon.
        commands: What hubs may have it do.
        shared: Its files that other machines may have.
        is_ending: Returns whether it takes no new requests, as it is about to end.
    """

    def __init__(
        self,
        parts: "DaemonParts",
        commands: Commands,
        shared: FilesForOthers,
        is_ending: Callable[[], bool] = lambda: False,
    ) -> None:
        self._parts = parts
        self._shared = shared
        self._commands = commands
        self._is_ending = is_ending

    def __repr__(self) -> str:
        return f"<MachineFacts of {self._parts.fleet!r}>"

    def inventory(self) -> Inventory:
        """Return what it is and serves."""
        parts, budget = self._parts, self._parts.desired.budget
        views = {view.name: view for view in parts.view.models()}
        planned = {one.name: one for one in parts.fleet.plan}
        loads, away = parts.scheduler.memory.load_seconds, parts.desired.away
        local = (
            _of_replica(
                one,
                views.get(one.spec.model),
                planned.get(one.spec.name),
                loads.get(one.spec.model, 0.0),
                is_here=one.spec.model not in away,
            )
            for one in parts.fleet.statuses()
        )
        return Inventory(
            relayd=__version__,
            platform=_PLATFORM,
            devices=tuple(room.name for room in budget.rooms) if budget is not None else (),
            accounts=tuple(
                NodeAccount(row.account, row.capacity, row.held, row.free)
                for row in parts.scheduler.memory.ledger()
            ),
            replicas=(*local, *map(_of_upstream, self._upstreams())),
            draining=self._is_ending(),
            files=self._shared.digests,
        )

    async def read_block(self, sha256: str, at: int, size: int) -> bytes:
        """Return bytes of a model file that hubs may have; empty where it is not here."""
        return await self._shared.read(sha256, at, size)

    def slots_for(self, hub: str) -> SlotsForHub:
        """Return what grants slots to a hub."""
        parts = self._parts
        return SlotsForHub(hub, parts.scheduler, parts.dispatcher, parts.doors.exchanges, self._served)

    async def carry_out(self, command: NodeCommand) -> object:
        """Carry out a command of a hub, and return its answer.

        Raises:
            RelaydError: It cannot be carried out.
        """
        run = self._commands.get(command.verb)
        if run is None:
            raise NotServedError(f"A hub cannot have a node {command.verb[:40]!r}.")
        return await run(command)

    def _served(self) -> list[str]:
        local = [one.spec.name for one in self._parts.fleet.statuses()]
        return [*local, *(one.offer.replica for one in self._upstreams())]

    def _upstreams(self) -> list[RemoteCapacity]:
        """Return the upstreams of this machine; what its own nodes serve is not passed on."""
        return [one for one in self._parts.remotes if one.offer.kind == "upstream"]


def _of_replica(
    status: Status, view: ModelView | None, planned: Planned | None, load_seconds: float, *, is_here: bool
) -> ServedReplica:
    spec = status.spec
    return ServedReplica(
        replica=spec.name,
        model=spec.model,
        incarnation=status.incarnation,
        slots=spec.slots,
        state=_STATES.get(status.state, "expected"),
        reason="" if status.state is State.READY else status.reason or status.state.value,
        context=spec.context,
        abilities=view.abilities if view else ("completion",),
        aliases=view.aliases if view else (),
        needs={account: int(size) for account, size in planned.needs.items()} if planned else {},
        load_seconds=round(load_seconds, 1),
        is_here=is_here,
        can_load=status.state is State.COLD and is_here and not (planned and planned.refused),
    )


def _of_upstream(one: RemoteCapacity) -> ServedReplica:
    offer, profile = one.offer, one.endpoint.profile
    return ServedReplica(
        replica=offer.replica,
        model=offer.model,
        incarnation=one.endpoint.incarnation,
        slots=max(1, offer.slots),
        state=_OFFERED.get(one.state, "expected"),
        reason=one.reason,
        context=offer.context,
        abilities=offer.abilities,
        aliases=offer.aliases,
        profile=None
        if profile is LOCAL
        else ServedProfile(profile.model, profile.continues, profile.silence_seconds),
    )


async def last_lines(feed: AsyncGenerator[object]) -> list[object]:
    """Return everything that a feed yields which comes to its end."""
    return [line async for line in feed]

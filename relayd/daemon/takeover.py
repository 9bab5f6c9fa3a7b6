"""How a daemon gets its place: free, left by one that ended, or from a predecessor that lives (take-over)."""

import asyncio
import os
import socket
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from relayd.config import show_addresses
from relayd.daemon.inventory import take_up
from relayd.daemon.parts import DaemonParts
from relayd.daemon.place import DaemonPlace, take_place
from relayd.desired.state import DesiredState
from relayd.errors import UpgradeError
from relayd.handover import HandoverState, Predecessor, predecessor_of
from relayd.journal import Journal
from relayd.lock import Lock
from relayd.supervisor.orphans import end_orphans


@dataclass(frozen=True, slots=True)
class Claim:
    """The place of a daemon, before it serves.

    Attributes:
        lock: Its right to the runtime folder.
        listening: Sockets that clients connect to already.
        predecessor: The daemon that it takes over from.
        state: What that one left.
    """

    lock: Lock
    listening: tuple[socket.socket, ...] = ()
    predecessor: Predecessor | None = None
    state: HandoverState = field(default_factory=HandoverState)

    def close(self) -> None:
        """Give the place up."""
        self.lock.close()
        for one in self.listening:
            one.close()
        if self.predecessor:
            self.predecessor.close()


async def claim(desired: DesiredState, place: DaemonPlace | None = None) -> Claim:
    """Return this daemon's place; until this returns, a predecessor serves as ever.

    Args:
        desired: What the daemon is given.
        place: The place that it took before; None where it takes one now, or takes over.

    Raises:
        DaemonRunningError: Another daemon holds the runtime folder.
        ListenError: An address cannot be listened on.
        UpgradeError: The predecessor has changed its mind, or is of an earlier build, and goes on.
        StateError: The lock's folder cannot be used.
    """
    if (predecessor := predecessor_of(desired.environ)) is None:
        own = place or take_place(desired.paths, desired.config.server.listen, desired.environ)
        return Claim(own.lock, own.sockets)
    try:
        return await _claim_from(predecessor, desired)
    except BaseException:
        predecessor.close()
        raise


async def _claim_from(predecessor: Predecessor, desired: DesiredState) -> Claim:
    try:
        shared = await predecessor.prepare(show_addresses(desired.config.server.listen))
        path = desired.paths.lock
        if (lock := Lock.inherited(path, shared.lock)) is None:
            raise UpgradeError(
                f"the runtime folder is {path.parent} now, and the running daemon has another",
                remedy="Restart the service instead.",
            )
        state = await predecessor.commit()
    except ConnectionError as error:
        raise UpgradeError(f"the hand-over ended: {error}") from error
    lock.sign(os.getpid())
    return Claim(lock, shared.listening, predecessor, state)


class Takeover:
    """Adopts the replicas that run already, and brings up the others.

    Args:
        parts: Of this daemon; its doors are open.
        claim: Its place.
    """

    def __init__(self, parts: DaemonParts, claim: Claim) -> None:
        self._parts = parts
        self._claim = claim
        self._left: frozenset[str] = frozenset()
        self._connections: set[asyncio.Task[None]] = set()
        self._journal = Journal("daemon")

    def __repr__(self) -> str:
        return f"<Takeover: {len(self._left)} replicas left to the predecessor>"

    def expect(self) -> None:
        """Have requests wait that come before `run` knows what becomes of each replica."""
        self._parts.view.begin()
        for planned in self._parts.desired.plan:
            self._parts.bridge.expected(planned.name, planned.model)

    async def run(self) -> None:
        """Adopt what can be, take the predecessor's requests, end what is not wanted, and start the rest.

        What cannot be adopted but runs the predecessor's requests is left to it until `finish`.
        """
        parts, state = self._parts, self._claim.state
        parts.residence.hold()  # no load begins before what is in memory is known
        self.expect()
        parts.grants.configure(parts.desired.budget)
        parts.residence.enter(parts.desired.plan)
        adopted = parts.fleet.adopt()
        self._enter_held(adopted)
        cold = take_up(parts, state)
        if self._claim.predecessor:
            self._claim.predecessor.take_over(state, parts.dispatcher, self._serve, parts.keys.count)
        self._left = state.in_use - adopted.keys()
        self._hold_left()
        await self._end_orphans(adopted.values())
        parts.fleet.load(leave=cold | self._left)
        parts.view.begin(over=True)
        parts.residence.go_on()

    async def finish(self) -> None:
        """Wait for the predecessor's end, and replace what was left to it."""
        if (predecessor := self._claim.predecessor) is None:
            return
        await predecessor.gone()
        self._journal.info("upgrade.done", old_pid=predecessor.pid)
        left, self._left = self._left, frozenset()
        fleet = self._parts.fleet
        await self._end_orphans({status.pid for status in fleet.statuses() if status.pid})
        for name in left:
            self._parts.grants.release(name)
        fleet.load(leave={planned.name for planned in fleet.plan} - left)

    def _enter_held(self, adopted: Mapping[str, int]) -> None:
        """Enter what is in memory already, before anything else gets memory."""
        for status in self._parts.fleet.statuses():
            name = status.spec.name
            if name in adopted:
                self._parts.grants.hold(status.planned, adopted[name])
                self._parts.grants.measure(name)

    def _hold_left(self) -> None:
        """Enter what the predecessor still has in memory; it ends with it."""
        for planned in self._parts.fleet.plan:
            if planned.name in self._left:
                self._parts.grants.hold(planned, None)

    def _serve(self, descriptor: int) -> None:
        self._connections.add(task := asyncio.create_task(self._parts.doors.listener.attach(descriptor)))
        task.add_done_callback(self._connections.discard)

    async def _end_orphans(self, adopted: Collection[int]) -> None:
        desired = self._parts.desired
        runtime, patience = desired.paths.runtime, desired.config.replicas.stop_seconds
        if pids := await end_orphans(runtime, adopted, patience_seconds=patience, spared=self._left):
            self._journal.warning("daemon.ended_orphans", pids=" ".join(map(str, pids)))

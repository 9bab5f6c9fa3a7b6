"""How does this daemon give its place to a new one?"""

import asyncio
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from relayd import __version__
from relayd.daemon.actor import Actor
from relayd.daemon.doors import Doors
from relayd.errors import UpgradeError
from relayd.handover import HandoverState, Predecessor, Prepared, Successor
from relayd.journal import Journal
from relayd.lock import Lock
from relayd.router import Dispatcher
from relayd.scheduler import Scheduler
from relayd.service import Notifier
from relayd.supervisor import Fleet, State

_LOOK_SECONDS = 0.05
"""How often connections that have become idle are passed on."""

_AT_ONCE = 32
"""How many of them at a time: what the pair of sockets does not hold would hold the loop up."""


@dataclass(frozen=True, slots=True)
class Estate:
    """What a daemon leaves.

    Attributes:
        lock: Its right to this runtime folder.
        doors: Open ones.
    """

    lock: Lock
    doors: Doors
    fleet: Fleet
    scheduler: Scheduler
    dispatcher: Dispatcher
    actor: Actor
    notifier: Notifier


class Upgrade:
    """One attempt to hand over.

    Args:
        estate: What there is to leave.
        environ: The new daemon's environment.
        drain_seconds: How long requests that are under way may take.
    """

    def __init__(self, estate: Estate, environ: Mapping[str, str], drain_seconds: float) -> None:
        self._estate = estate
        self._drain_seconds = drain_seconds
        self._successor = Successor.start(environ, estate.dispatcher.on_answer)
        self._taken = False
        self._settled = asyncio.Event()
        self._journal = Journal("daemon")
        self._journal.info("upgrade.begins", pid=self._successor.pid)

    async def hand_over(
        self, check: Callable[[], None], leave: Callable[[], None], patience_seconds: float
    ) -> dict[str, Any]:
        """Wait until the new daemon is there, leave everything to it, and say what was left.

        Args:
            check: Raises `RelaydError` when this daemon had better stay.
            leave: Called when there is no way back: this daemon is to `finish` and nothing else.
            patience_seconds: How long the new one may take to get ready, and again to take over.

        Raises:
            RelaydError: It did not come up; nothing has changed unless `leave` was called.
        """
        successor = self._successor
        new = await self._await_ready(check, patience_seconds)
        leave()
        left = self._commit()
        try:
            async with asyncio.timeout(patience_seconds):
                await successor.taken_over()
        except (TimeoutError, ConnectionError) as error:
            successor.kill()  # one that hangs has the lock
            raise UpgradeError("the new daemon ended as it took over", remedy="relayd serve") from error
        else:
            self._taken = True
            self._estate.notifier.hand_over(successor.pid)
        finally:
            self._settled.set()
        versions = {"version": new.version, "old_version": __version__}
        return left | {"pid": successor.pid, **versions, "drain_seconds": self._drain_seconds}

    async def _await_ready(self, check: Callable[[], None], patience_seconds: float) -> Prepared:
        successor, estate = self._successor, self._estate
        try:
            async with asyncio.timeout(patience_seconds):
                new = await successor.prepared()
                if new.listen != estate.doors.listen:
                    raise UpgradeError(
                        f"server.listen is {new.listen} now, and clients connect to {estate.doors.listen}",
                        remedy="restart the service instead",
                    )
                files = (estate.lock.descriptor, estate.doors.listener.descriptors())
                await successor.standby(*files, self._state())
            check()
        except TimeoutError as error:
            await successor.abandon()
            raise UpgradeError(f"the new daemon did not come up in {patience_seconds:g} s") from error
        except ConnectionError as error:
            words = await successor.abandon()
            check()
            raise UpgradeError(f"the new daemon did not come up: {words}") from error
        except BaseException:
            await successor.abandon()
            raise
        return new

    def give_up(self) -> None:
        """Go no further: this daemon is about to end."""
        self._successor.cancel()

    def _commit(self) -> dict[str, Any]:
        """Let go of everything within one turn of the loop."""
        estate, successor = self._estate, self._successor
        estate.doors.listener.stop_listening()
        estate.fleet.release()
        state = self._state()
        estate.dispatcher.post = successor.post
        estate.actor.close()
        estate.lock.close()
        # The replicas stay our children; one that ends must be gone for the new daemon to see, no zombie.
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        successor.commit(state)
        left = {"running": len(state.running), "waiting": len(state.waiting)}
        self._journal.info("upgrade.handed_over", **left)
        return left

    def _state(self) -> HandoverState:
        """Return what would go over now."""
        estate = self._estate
        stopped = (one.spec.name for one in estate.fleet.statuses() if one.state is State.STOPPED)
        return HandoverState(
            tuple(estate.scheduler.running()), tuple(estate.scheduler.waiting()), frozenset(stopped)
        )

    async def finish(self) -> None:
        """Let the requests that are here end, and pass on every connection that none of them uses.

        Raises:
            UpgradeError: The new daemon ended as it took over, so nobody serves.
        """
        await self._settled.wait()
        listener, successor, loop = self._estate.doors.listener, self._successor, asyncio.get_running_loop()
        deadline = loop.time() + self._drain_seconds
        while True:
            for connection in () if successor.gone else islice(listener.let_go(), _AT_ONCE):
                successor.pass_on(connection)
            if await listener.drained(_LOOK_SECONDS) or loop.time() >= deadline:
                break
        await listener.close(0)
        successor.close()
        if not self._taken:
            raise UpgradeError("the new daemon ended as it took over", remedy="relayd serve")


def check_upgradable(
    environ: Mapping[str, str], pid: int, fleet: Fleet, predecessor: Predecessor | None
) -> None:
    """Make sure that a new daemon could take the place of this one now.

    Nobody may watch this very process and take its end for a failure: systemd can be told of another
    process, launchd and a container cannot. A replica that is being stopped would be a riddle to it.

    Raises:
        UpgradeError: It could not.
    """
    if predecessor and predecessor.alive:
        before = f"the daemon before this one (pid {predecessor.pid})"
        raise UpgradeError(
            f"{before} has {predecessor.open_count} requests to finish",
            remedy="upgrade when it has ended",
        )
    if pid == 1:
        raise UpgradeError(
            "this daemon is the first process of its container, which ends with it",
            remedy="replace the container",
        )
    if environ.get("XPC_SERVICE_NAME", "0") != "0":
        raise UpgradeError(
            "launchd starts its own daemon as soon as this one ends",
            remedy='set replicas.on_daemon_exit = "keep", then: launchctl kickstart -k',
        )
    for status in fleet.statuses():
        if status.state in (State.DRAINING, State.STOPPING):
            raise UpgradeError(
                f"{status.spec.name} is {status.state.value}", remedy="upgrade when it has stopped"
            )

"""How does this daemon give its place to a new one?"""

import asyncio
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from relayd import __version__
from relayd.actor import Actor
from relayd.api import Listener
from relayd.errors import UpgradeError
from relayd.handover import Successor
from relayd.journal import Journal
from relayd.router import Dispatcher
from relayd.scheduler import Scheduler
from relayd.service import Notifier
from relayd.store import Lock
from relayd.supervisor import Fleet, State

_LOOK_SECONDS = 0.05
"""How often connections that have become idle are passed on."""

_REPLACED_BY_RESTART = "nothing has changed; restart the service instead"


@dataclass(frozen=True, slots=True)
class Estate:
    """What a daemon leaves.

    Attributes:
        lock: Its right to this runtime folder.
        listener: The open doors.
        listen: Where they are, as configured.
    """

    lock: Lock
    listener: Listener
    listen: str
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
    """

    def __init__(self, estate: Estate, environ: Mapping[str, str]) -> None:
        self._estate = estate
        self._successor = Successor.start(environ, estate.dispatcher.on_answer)
        self._journal = Journal("daemon")
        self._journal.info("upgrade.begins", pid=self._successor.pid)

    async def hand_over(self, check: Callable[[], None], patience_seconds: float) -> dict[str, Any]:
        """Wait until the new daemon is there, leave everything to it, and say what was left.

        Args:
            check: Raises `RelaydError` when this daemon had better stay.
            patience_seconds: How long the new one may take.

        Raises:
            RelaydError: It did not come up, and nothing has changed.
        """
        successor, estate = self._successor, self._estate
        try:
            async with asyncio.timeout(patience_seconds):
                new = await successor.prepared()
                if new.listen != estate.listen:
                    raise UpgradeError(
                        f"server.listen is {new.listen} now, and clients are connected to {estate.listen}",
                        remedy=_REPLACED_BY_RESTART,
                    )
                await successor.ready(estate.lock.descriptor, estate.listener.descriptors())
            check_settled(estate.fleet)
            check()
        except TimeoutError as error:
            await successor.abandon()
            raise UpgradeError(f"the new daemon did not come up in {patience_seconds:g} s") from error
        except ConnectionError as error:
            raise UpgradeError(f"the new daemon did not come up: {await successor.abandon()}") from error
        except BaseException:
            await successor.abandon()
            raise
        left = self._commit()
        await successor.taken()
        return left | {"pid": successor.pid, "version": new.version, "old_version": __version__}

    def _commit(self) -> dict[str, Any]:
        """Let go of everything within one turn of the loop."""
        estate, successor = self._estate, self._successor
        estate.listener.stop_listening()
        estate.fleet.release()
        running, waiting = estate.scheduler.running(), estate.scheduler.waiting()
        stopped = [one.spec.name for one in estate.fleet.statuses() if one.state is State.STOPPED]
        estate.dispatcher.post = successor.post
        estate.actor.close()
        estate.notifier.hand_over(successor.pid)
        estate.lock.close()
        # The replicas stay our children; one that ends must be gone for the new daemon to see, no zombie.
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        successor.commit(running, waiting, stopped)
        self._journal.info("upgrade.handed_over", running=len(running), waiting=len(waiting))
        return {"running": len(running), "waiting": len(waiting)}

    async def finish(self, drain_seconds: float) -> None:
        """Let the requests that are here end, and pass on every connection that none of them uses.

        Args:
            drain_seconds: How long they may take.
        """
        listener, loop = self._estate.listener, asyncio.get_running_loop()
        deadline = loop.time() + drain_seconds
        while loop.time() < deadline:
            for connection in listener.let_go():
                self._successor.pass_on(connection)
            if await listener.drained(_LOOK_SECONDS):
                break
        await listener.close(0)
        self._successor.close()


def check_replaceable(environ: Mapping[str, str], pid: int) -> None:
    """Make sure that nobody watches this very process and would take its end for a failure.

    systemd can be told of another process; launchd and a container cannot.

    Raises:
        UpgradeError: Somebody does.
    """
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


def check_settled(fleet: Fleet) -> None:
    """Make sure that no replica is being stopped: the new daemon would not know why.

    Raises:
        UpgradeError: One is.
    """
    for status in fleet.statuses():
        if status.state in (State.DRAINING, State.STOPPING):
            raise UpgradeError(
                f"{status.spec.name} is {status.state.value}", remedy="upgrade when it has stopped"
            )

"""How a running daemon gives its place to a new one (upgrade)."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Mapping
from itertools import islice

from relayd import __version__
from relayd.daemon.inventory import handover_state
from relayd.daemon.parts import DaemonParts
from relayd.daemon.report import UpgradeReport
from relayd.daemon.shutdown import Shutdown
from relayd.daemon.takeover import Claim
from relayd.errors import UpgradeError
from relayd.handover import HandoverState, Predecessor, Prepared, Successor
from relayd.journal import Journal
from relayd.lock import Lock
from relayd.supervisor import Fleet, State

_IDLE_SECONDS = 0.05
"""How often connections that have become idle are passed on."""

_CALM_SECONDS = 5.0
"""How long a model may take to leave memory before an upgrade is refused."""

_BATCH = 32
"""How many of them at a time: a full socket pair would block the event loop."""

_DRAIN_SECONDS = 600.0
"""How long answers under way may take, at least, unless the command sets it: their replicas serve the new
daemon meanwhile, so that they keep nothing waiting but the next upgrade."""


class Upgrade:
    """Replaces this daemon by the build that is installed now, one attempt at a time.

    Args:
        parts: What is handed over.
        claim: This daemon's place; a predecessor that lives still needs it.
        shutdown: Requested once there is no way back.
    """

    def __init__(self, parts: DaemonParts, claim: Claim, shutdown: Shutdown) -> None:
        self._parts = parts
        self._claim = claim
        self._shutdown = shutdown
        self._attempt: _Attempt | None = None

    def __repr__(self) -> str:
        return f"<Upgrade: {self._attempt or 'no successor'}>"

    async def run(self, drain_seconds: float | None) -> UpgradeReport:
        """Start a new daemon, leave everything to it, and end with the last answer that is under way.

        Args:
            drain_seconds: How long answers under way may take; None for ten minutes, or the
                configured time if that is longer.

        Raises:
            RelaydError: It did not come up, or had better not be started; nothing has changed.
        """
        parts = self._parts
        async with parts.changing:
            await _calm(parts)
            self._check()
            config = parts.desired.config
            drain = (
                max(config.replicas.drain_seconds, _DRAIN_SECONDS) if drain_seconds is None else drain_seconds
            )
            self._attempt = _Attempt(parts, self._claim.lock, drain)
            takeover_seconds = config.server.takeover_seconds
            parts.upgrading = True
            try:
                return await self._attempt.run(self._check, self._shutdown.hand_over, takeover_seconds)
            finally:
                parts.upgrading = False
                if not self._shutdown.handed_over:
                    parts.residence.go_on()
                    parts.keys.take_back()
                    parts.batches.runner.begin()

    def cancel(self) -> None:
        """Make an attempt that is under way fail: this daemon is about to end."""
        if self._attempt:
            self._attempt.cancel()

    async def finish(self) -> None:
        """Finish the requests that are here after a hand-over.

        Raises:
            UpgradeError: The new daemon ended as it took over: no daemon serves.
        """
        if self._attempt:
            await self._attempt.finish()

    def _check(self) -> None:
        self._shutdown.check_staying()
        check_upgradable(self._parts.desired.environ, os.getpid(), self._parts.fleet, self._claim.predecessor)


class _Attempt:
    """One attempt to hand over."""

    def __init__(self, parts: DaemonParts, lock: Lock, drain_seconds: float) -> None:
        self._parts = parts
        self._lock = lock
        self._drain_seconds = drain_seconds
        self._successor = Successor.start(parts.desired.environ, parts.dispatcher.on_answer)
        self._taken_over = False
        self._settled = asyncio.Event()
        self._journal = Journal("daemon")
        self._journal.info("upgrade.begins", pid=self._successor.pid)

    def __repr__(self) -> str:
        return f"{self._successor!r}{', has taken over' if self._taken_over else ''}"

    async def run(
        self, check: Callable[[], None], leave: Callable[[], None], takeover_seconds: float
    ) -> UpgradeReport:
        """Wait until the new daemon stands by, leave everything to it, and report what was left.

        Args:
            check: Raises `RelaydError` when this daemon had better stay.
            leave: Called when there is no way back: this daemon is to `finish` and nothing else.
            takeover_seconds: How long the new one may take to stand by, and again to take over.

        Raises:
            RelaydError: It did not come up; nothing has changed unless `leave` was called.
        """
        new = await self._await_standby(check, takeover_seconds)
        leave()
        state = self._commit()
        try:
            async with asyncio.timeout(takeover_seconds):
                await self._successor.taken_over()
        except (TimeoutError, ConnectionError) as error:
            self._successor.kill()  # one that hangs has the lock
            raise _none_serves() from error
        else:
            self._taken_over = True
            self._parts.notifier.hand_over(self._successor.pid)
        finally:
            self._settled.set()
        return UpgradeReport(
            running=len(state.running),
            waiting=len(state.waiting) + self._parts.doors.arriving,
            pid=self._successor.pid,
            version=new.version,
            old_version=__version__,
            drain_seconds=self._drain_seconds,
        )

    async def _await_standby(self, check: Callable[[], None], takeover_seconds: float) -> Prepared:
        successor, doors = self._successor, self._parts.doors
        try:
            async with asyncio.timeout(takeover_seconds):
                new = await successor.prepared()
                if new.listen != doors.listen:
                    raise UpgradeError(
                        f"server.listen is {new.listen} now, and clients connect to {doors.listen}",
                        remedy="Restart the service instead.",
                    )
                files = (self._lock.descriptor, doors.listener.descriptors())
                await successor.standby(*files, handover_state(self._parts))
                self._parts.residence.hold()
                await _calm(self._parts)
                await self._parts.fleet.launched()  # what has no record yet would not be adopted
                await self._parts.batches.runner.hold()
                await self._parts.keys.give_up()  # the database goes with the lock
                await self._parts.doors.responses.save()
            check()
        except TimeoutError as error:
            await successor.abandon()
            raise UpgradeError(f"the new daemon did not come up in {takeover_seconds:g} s") from error
        except ConnectionError as error:
            output = await successor.abandon()
            check()
            raise UpgradeError(f"the new daemon did not come up: {output}") from error
        except BaseException:
            await successor.abandon()
            raise
        return new

    def cancel(self) -> None:
        """Go no further: this daemon is about to end."""
        self._successor.cancel()

    def _commit(self) -> HandoverState:
        """Let go of everything within one turn of the loop."""
        parts, successor = self._parts, self._successor
        parts.doors.listener.stop_listening()
        parts.nodes.go_away("another daemon has taken over", self._drain_seconds)
        parts.membership.go_away()
        parts.grants.close()
        parts.fleet.release()
        state = handover_state(parts)
        parts.keys.usage.leave_off()  # what is over from now on goes through the channel
        parts.doors.responses.leave_off()
        parts.dispatcher.redirect(successor.post)
        parts.actor.close()
        self._lock.close()
        # The replicas stay our children; one that ends must be gone for the new daemon to see, no zombie.
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        successor.commit(state)
        self._journal.info("upgrade.handed_over", running=len(state.running), waiting=len(state.waiting))
        return state

    async def finish(self) -> None:
        """Let the requests that are here end, and pass on every connection that none of them uses.

        Raises:
            UpgradeError: The new daemon ended as it took over: no daemon serves.
        """
        await self._settled.wait()
        self._parts.workers.hand_over(self._drain_seconds)
        listener, successor, loop = self._parts.doors.listener, self._successor, asyncio.get_running_loop()
        deadline = loop.time() + self._drain_seconds
        while True:
            for connection in () if successor.gone else islice(listener.detach_idle(), _BATCH):
                successor.pass_on(connection)
            if await listener.drained(_IDLE_SECONDS) or loop.time() >= deadline:
                break
        await self._parts.membership.finished(max(0.0, deadline - loop.time()))
        await listener.close(0, self._parts.interrupt)
        successor.close()
        if not self._taken_over:
            raise _none_serves()


async def _calm(parts: DaemonParts) -> None:
    """Wait a moment for a model that makes room for another one: it can be taken over then."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_CALM_SECONDS):
            await parts.fleet.calm()


def _none_serves() -> UpgradeError:
    return UpgradeError("the new daemon ended as it took over", remedy="Start one: `relayd serve`.")


def check_upgradable(
    environ: Mapping[str, str], pid: int, fleet: Fleet, predecessor: Predecessor | None
) -> None:
    """Make sure that a new daemon could take the place of this one now.

    No service manager may watch this very process and take its end for a failure: systemd can be given
    another pid, launchd and a container cannot. The new daemon cannot know whether a stopping replica was
    meant to stop.

    Raises:
        UpgradeError: It could not.
    """
    if predecessor and predecessor.alive:
        before = f"the daemon before this one (pid {predecessor.pid})"
        raise UpgradeError(
            f"{before} has {predecessor.open_count} requests to finish",
            remedy="Upgrade when it has ended.",
        )
    if pid == 1:
        raise UpgradeError(
            "this daemon is the first process of its container, which ends with it",
            remedy="Replace the container.",
        )
    if environ.get("XPC_SERVICE_NAME", "0") != "0":
        raise UpgradeError(
            "launchd starts its own daemon as soon as this one ends",
            remedy='Set replicas.on_daemon_exit = "keep", then run `launchctl kickstart -k`.',
        )
    for status in fleet.statuses():
        if status.state in (State.DRAINING, State.STOPPING, State.EXITED):
            raise UpgradeError(
                f"{status.spec.name} is {status.state.value}", remedy="Upgrade when it has stopped."
            )

"""The life of a daemon: start-up, main loop, shutdown."""

import asyncio
import logging
import signal
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

from relayd.api.control import Verb, open_control
from relayd.daemon.administration import Administration, offered
from relayd.daemon.announce import NO_OUTPUT, Announcer, DaemonOutput
from relayd.daemon.arguments import TargetArguments
from relayd.daemon.bus import bus_place
from relayd.daemon.certwatch import CertificateWatch
from relayd.daemon.filewatch import FileWatch
from relayd.daemon.happenings import Happenings
from relayd.daemon.heap import leave_lasting_objects_alone, return_freed_memory
from relayd.daemon.livelook import waits
from relayd.daemon.nodefacts import Commands, MachineFacts
from relayd.daemon.nodeoperations import NodeOperations, commands, node_verbs, offered_to_admins
from relayd.daemon.notifications import Notifications
from relayd.daemon.operations import Operations, verbs
from relayd.daemon.parts import assemble
from relayd.daemon.place import DaemonPlace
from relayd.daemon.power import IdleSleep
from relayd.daemon.reload import Refresh, Reload
from relayd.daemon.restart import PlannedRestart
from relayd.daemon.shutdown import Shutdown
from relayd.daemon.takeover import Claim, Takeover, claim
from relayd.daemon.upgrade import Upgrade
from relayd.daemon.upstreams import upstream_plan
from relayd.daemon.vitals import vitals
from relayd.daemon.watchdog import LoopWatchdog
from relayd.daemon.watching import Watching, dashboard_link, followed, owners
from relayd.desired.state import DesiredState, planned_anew
from relayd.journal import Journal
from relayd.service import stop_budget_seconds
from relayd.supervisor.limits import no_core
from relayd.supervisor.rotation import Rotation
from relayd.units import mib

_FIRST_LOOK_SECONDS = 1.0
"""How long upstreams may take to list their models before clients are let in."""


class Daemon:
    """One relayd: doors, a scheduler, and the replicas behind them.

    Args:
        desired: What it is given.
        refresh: Makes that again, for a reload.
        output: What shows what the daemon does.
        place: The place that it took before it planned; None where it takes over from another daemon.
    """

    def __init__(
        self,
        desired: DesiredState,
        refresh: Refresh,
        output: DaemonOutput = NO_OUTPUT,
        place: DaemonPlace | None = None,
    ) -> None:
        self._parts = assemble(desired)
        self._parts.keys.on_closed = output.closed
        self._shutdown = Shutdown()
        self._reload = Reload(self._parts, refresh, self._shutdown, output.reloaded)
        self._announcer = Announcer(self._parts, self._shutdown, output)
        self._upgrade: Upgrade | None = None
        self._commands: Commands = {}
        self._output = output
        self._place = place
        self._journal = Journal("daemon")

    def __repr__(self) -> str:
        return f"<Daemon at {self._parts.doors.url or 'no address'}: {self._parts.counts()}>"

    async def run(self) -> None:
        """Serve until a signal, a command or a successor ends it.

        Raises:
            DaemonRunningError: Another daemon holds the runtime folder.
            UpgradeError: The daemon that started this one goes on itself, or this one's successor failed.
            ListenError: The address cannot be listened on.
            StateError: A folder cannot be used.
        """
        async with AsyncExitStack() as stack:
            try:
                await self._start_up(stack)
            except BaseException:
                await self._parts.fleet.abandon()
                raise
            await self._shutdown.wait()
            await self._shut_down()
        self._journal.info("daemon.stopped")

    async def _start_up(self, stack: AsyncExitStack) -> None:
        """Get the daemon's place, open control socket and doors, adopt and start replicas."""
        parts = self._parts
        return_freed_memory()
        no_core()
        stack.enter_context(LoopWatchdog(parts.clock))
        self._watch_signals(stack)
        parts.nodes.bus = bus_place(parts.desired.config.bus, parts.nodes, parts.membership, parts.clock)
        upstreams = await asyncio.to_thread(upstream_plan, parts.desired.config)
        place = await claim(parts.desired, self._place)
        stack.callback(place.close)
        operations = await self._open_control(stack, place)
        stack.push_async_callback(parts.requests.close)
        stack.push_async_callback(parts.keys.close)
        parts.doors.vitals = partial(vitals, parts)
        await parts.doors.open_entrance(parts.desired.paths.state)
        await parts.keys.open(parts.desired.config.server, place.state.lent_key)
        for exchange in place.state.finished:
            parts.keys.count(exchange)
        await parts.batches.book.open()
        on_disk = parts.desired.config.server.kept_responses == "disk"
        await parts.doors.responses.open(parts.desired.paths.state, enabled=on_disk)
        stack.push_async_callback(parts.doors.responses.save)
        await asyncio.to_thread(parts.residence.recall)
        takeover = Takeover(parts, place)
        takeover.expect()
        parts.upstreams.follow(upstreams.sources)
        stack.callback(parts.upstreams.close)
        await parts.upstreams.settled(_FIRST_LOOK_SECONDS)
        url = await parts.doors.open(parts.desired.config, place.listening)
        stack.push_async_callback(parts.doors.listener.close, 0, parts.interrupt)
        for_person = self._output.shows_dashboard and not place.predecessor
        dashboard = dashboard_link(parts).url if for_person else ""
        self._output.listening(url, keyed=not parts.keys.is_open, dashboard=dashboard)
        await takeover.run()
        _run_aside(stack, takeover.finish())
        if not place.predecessor:  # the first daemon has reported it already
            self._announcer.await_settled()
        parts.nodes.follow(parts.desired.config, url)
        await self._join_hubs(stack)
        _run_aside(stack, self._file_watch(operations).run())
        _run_aside(stack, parts.keys.usage.run())
        _run_aside(stack, parts.doors.responses.run())
        _run_aside(stack, parts.batches.runner.run())
        _run_aside(stack, parts.batches.collect())
        parts.batches.runner.begin()
        if certificate := parts.doors.certificate:
            _run_aside(stack, CertificateWatch(certificate, self._file_check_seconds).run())
        _run_aside(stack, Rotation(self._open_logs, self._log_limits, parts.clock).run())
        parts.notifier.ready(parts.counts())
        _run_aside(stack, parts.notifier.keep_alive(parts.counts))
        leave_lasting_objects_alone()

    async def _shut_down(self) -> None:
        """Finish requests, and bring the replicas down unless they stay or belong to a successor.

        Replicas serve what was let in until the drain timeout, also what waits; what is left then is answered
        before they end. Those without a request end at once.
        """
        if self._upgrade and self._shutdown.handed_over:
            await self._upgrade.finish()
            return
        if self._upgrade:
            self._upgrade.cancel()
        parts, keep = self._parts, self._shutdown.keep_replicas
        await parts.batches.runner.hold()
        open_requests = parts.open_requests
        self._journal.info("daemon.stopping", open_requests=open_requests, keep=keep)
        replicas = parts.desired.config.replicas
        budget = stop_budget_seconds(replicas.drain_seconds, replicas.stop_seconds, replicas.kill_seconds)
        parts.notifier.stopping(budget, open_requests=open_requests)
        self._output.stopping(open_requests, replicas.drain_seconds)
        if not keep:
            parts.stop_unused()
        parts.nodes.go_away("the hub stops", replicas.drain_seconds)
        parts.membership.go_away()
        await parts.membership.finished(replicas.drain_seconds)
        await parts.doors.listener.close(replicas.drain_seconds, parts.interrupt)
        await parts.fleet.stop([] if keep else parts.fleet.select(None), 0)
        parts.actor.close()

    def _watch_signals(self, stack: AsyncExitStack) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._on_signal, number)
            stack.callback(loop.remove_signal_handler, number)

    def _on_signal(self, number: signal.Signals) -> None:
        """Reload on SIGHUP of a service; end on the others; on the second of them kill the replicas."""
        self._journal.info("daemon.signal", signal=number.name)
        desired, shutdown = self._parts.desired, self._shutdown
        if number is signal.SIGHUP and not desired.on_terminal:
            self._reload.request()
        elif not shutdown.handed_over:  # after that nothing is left to end but streams, which have their time
            if shutdown.requested and not shutdown.keep_replicas:
                self._output.cut(self._parts.open_requests)
                self._parts.fleet.kill()
            shutdown.request(keep_replicas=desired.config.replicas.on_daemon_exit == "keep")

    async def _open_control(self, stack: AsyncExitStack, place: Claim) -> Operations:
        self._upgrade = Upgrade(self._parts, place, self._shutdown)
        restart = PlannedRestart(self._parts, planned_anew, self._shutdown)
        operations = Operations(
            self._parts, self._reload, restart, self._upgrade, self._shutdown, place.predecessor
        )
        administration = Administration(self._parts, operations, _happenings(stack))
        watching = Watching(self._parts, place.predecessor, self._shutdown)
        _listen_to_journal(stack, watching.events)
        self._parts.doors.figures = watching.figures()
        notifications = self._notifications()
        _listen_to_journal(stack, notifications)
        _run_aside(stack, notifications.run())
        machines = NodeOperations(self._parts)
        nodes = node_verbs(machines, verbs(operations))
        over_tcp = offered(administration, operations, self._parts, self._reload.run)
        self._parts.doors.offer(offered_to_admins({**over_tcp, **followed(watching)}, nodes, machines))
        self._shared = machines.shared
        _run_aside(stack, machines.shared.run())
        self._commands = commands(operations, administration, watching.runs, machines.machines.reporter)
        _run_aside(stack, watching.history.run())
        stack.push_async_callback(watching.history.write)
        stack.callback(watching.runs.close)
        path = self._parts.desired.paths.control_socket
        add = over_tcp["add_upstream"]
        assert isinstance(add, Verb)  # noqa: S101 - for the type checker
        own = {**owners(watching, administration), ("POST", "add_upstream"): add}
        runner = await open_control(path, {**nodes, **own})
        stack.push_async_callback(runner.cleanup)
        stack.callback(self._remove_control, path)
        return operations

    async def _join_hubs(self, stack: AsyncExitStack) -> None:
        """Dial the hubs that this machine is a node of."""
        parts = self._parts
        facts = MachineFacts(parts, self._commands, self._shared, lambda: self._shutdown.requested)
        stack.push_async_callback(parts.membership.close)
        stack.push_async_callback(parts.nodes.hub.close)
        stack.callback(parts.node_loads.close)
        if parts.nodes.bus is not None:
            _run_aside(stack, parts.nodes.bus.work())
        sleep = IdleSleep(lambda: parts.desired.config.power, lambda: parts.open_requests > 0, parts.clock)
        _run_aside(stack, sleep.run())
        await parts.membership.begin(facts, mib(parts.desired.config.server.max_body_mib))

    def _notifications(self) -> Notifications:
        parts = self._parts
        return Notifications(
            lambda: parts.desired.config.notify,
            parts.clock,
            partial(waits, parts),
            lambda: parts.totals.refused,
        )

    def _file_watch(self, operations: Operations) -> FileWatch:
        parts = self._parts
        return FileWatch(
            lambda: [] if self._shutdown.handed_over else parts.fleet.select(None),
            lambda replica: operations.start(TargetArguments(replica)),
            self._file_check_seconds,
        )

    def _file_check_seconds(self) -> float:
        return self._parts.desired.config.restart.file_check_seconds

    def _remove_control(self, path: Path) -> None:
        if not self._shutdown.handed_over:
            path.unlink(missing_ok=True)

    def _open_logs(self) -> list[tuple[Path, int]]:
        if self._shutdown.handed_over:
            return []  # the new daemon rotates them
        statuses = self._parts.fleet.statuses()
        return [(status.log, status.pid) for status in statuses if status.log and status.pid]

    def _log_limits(self) -> tuple[int, int]:
        logs = self._parts.desired.config.logs
        return mib(logs.max_mib), logs.backups


def _happenings(stack: AsyncExitStack) -> Happenings:
    """Return the feed of the journal, which ends with the daemon."""
    feed = Happenings()
    _listen_to_journal(stack, feed)
    return feed


def _listen_to_journal(stack: AsyncExitStack, handler: logging.Handler) -> None:
    """Give a handler every event of the journal until the daemon ends."""
    journal = logging.getLogger("relayd")
    journal.addHandler(handler)
    stack.callback(journal.removeHandler, handler)


def _run_aside(stack: AsyncExitStack, work: Coroutine[Any, Any, None]) -> None:
    stack.callback(asyncio.create_task(work).cancel)

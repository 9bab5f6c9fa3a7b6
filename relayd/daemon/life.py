"""What does the daemon consist of, and in which order do its parts live and die?"""

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Collection, Coroutine, Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypedDict

from relayd.api import Door
from relayd.api.control import open_control
from relayd.clock import SystemClock
from relayd.config import Config, changed_settings, parse_listen
from relayd.daemon.actor import Actor
from relayd.daemon.coalesce import Coalesced
from relayd.daemon.doors import Doors
from relayd.daemon.events import Bridge, FleetView
from relayd.daemon.footprint import Footprints
from relayd.daemon.launch import launcher
from relayd.daemon.operations import Commands
from relayd.daemon.report import daemon_report, fleet_report, reload_report
from relayd.daemon.upgrade import Estate, Upgrade, check_upgradable
from relayd.daemon.watchdog import Pulse
from relayd.desired.smaller import smaller
from relayd.desired.state import DesiredState
from relayd.errors import DaemonError, RelaydError, UpgradeError
from relayd.handover import Predecessor, predecessor_of
from relayd.hardware import OomKills
from relayd.journal import Journal
from relayd.lock import Lock, lock_of_daemon
from relayd.planner import compare
from relayd.router import Dispatcher, Pools
from relayd.scheduler import Dispatch, Idle, Refuse, Scheduler
from relayd.service import Notifier, counts, inherited_socket, managed, stop_budget_seconds
from relayd.supervisor import Dependencies, Fleet, Settings, State, Status
from relayd.supervisor.orphans import end_orphans
from relayd.supervisor.rotation import Rotation
from relayd.units import mib

_UNSETTLED = frozenset({State.STOPPED, State.STARTING, State.LOADING})


class Daemon:
    """One relayd: a door, a scheduler, and the replicas behind them.

    Args:
        desired: What it is given.
        refresh: Makes that again, for a reload.
        on_listening: Called with the base URL once clients can connect.
        on_settled: Called with every replica's status once none is loading any more.
    """

    def __init__(
        self,
        desired: DesiredState,
        refresh: Callable[[], DesiredState],
        *,
        on_listening: Callable[[str], None] = lambda _: None,
        on_settled: Callable[[list[Status]], None] = lambda _: None,
    ) -> None:
        config, clock = desired.config, SystemClock()
        self._desired = desired
        self._refresh = refresh
        self._reloading = asyncio.Lock()
        self._reload = Coalesced(self._reload_once)
        self._keep_replicas = False
        self._on_listening = on_listening
        self._on_settled: Callable[[list[Status]], None] | None = on_settled
        self._journal = Journal("daemon")
        self._started = clock.wall()
        self._stop = asyncio.Event()
        self._scheduler = Scheduler(**_limits(config))
        self._pools = Pools()
        self._actor = Actor(self._scheduler, clock)
        self._dispatcher = Dispatcher(self._actor.post, clock, max_wait_seconds=config.queue.max_wait_seconds)
        self._bridge = Bridge(self._actor.post, self._pools.retire, self._changed)
        starved = OomKills().ended
        world = Dependencies(launcher(desired), self._bridge, clock, self._is_busy, smaller, starved)
        self._fleet = Fleet(desired.plan, world, _settings(config))
        self._footprints = Footprints(clock)
        self._view = FleetView(config, self._started, self._fleet.statuses)
        self._doors = Doors(self._view, self._dispatcher, self._pools, clock)
        self._actor.on(Dispatch, self._dispatcher.on_answer)
        self._actor.on(Refuse, self._dispatcher.on_answer)
        self._actor.on(Idle, self._fleet.on_idle)
        self._notifier = Notifier(desired.environ, clock)
        self._predecessor: Predecessor | None = None
        self._upgrade: Upgrade | None = None
        self._upgrading: Upgrade | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Serve until a signal or a command ends it.

        Raises:
            DaemonRunningError: Another daemon holds the runtime folder.
            UpgradeError: The daemon that started this one to take over has changed its mind.
            ListenError: The address cannot be listened on.
            StateError: A folder cannot be used.
        """
        async with AsyncExitStack() as stack:
            stack.enter_context(Pulse(SystemClock()))
            self._watch_signals(stack)
            predecessor = predecessor_of(self._desired.environ)
            await (self._take_over(stack, predecessor) if predecessor else self._begin(stack))
            rotation = Rotation(self._open_logs, self._log_limits, SystemClock())
            _run_aside(stack, rotation.run())
            self._notifier.ready(self._counts())
            _run_aside(stack, self._notifier.keep_alive(self._counts))
            await self._stop.wait()
            if self._upgrade:
                await self._upgrade.finish()
            else:
                await self._wind_down()
        self._journal.info("daemon.stopped")

    async def _begin(self, stack: AsyncExitStack) -> None:
        """Take what is free, and what a daemon that died has left."""
        self._lock = lock_of_daemon(self._desired.paths.lock)
        stack.callback(self._lock.close)
        server = parse_listen(self._desired.config.server.listen)
        await self._open_control(stack)
        opened = inherited_socket(self._desired.environ, server.host, server.port)
        await self._open_doors(stack, [opened] if opened else [])
        adopted = self._adopt()
        await self._end_orphans(adopted.values())
        self._fleet.start()

    async def _take_over(self, stack: AsyncExitStack, predecessor: Predecessor) -> None:
        """Take the place of a daemon that lives.

        Raises:
            UpgradeError: It has changed its mind, or is of an earlier build, and goes on.
        """
        self._predecessor = predecessor
        self._on_settled = None  # whoever started the first daemon was told
        stack.callback(predecessor.close)
        try:
            shared = await predecessor.prepare(self._desired.config.server.listen)
            self._lock = self._share_lock(shared.lock)
            stack.callback(self._lock.close)
            state = await predecessor.commit()
        except ConnectionError as error:
            raise UpgradeError(f"the hand-over ended: {error}") from error
        self._lock.sign(os.getpid())
        await self._open_control(stack)
        await self._open_doors(stack, shared.listening)
        adopted = self._adopt()
        for name in state.stopped & {planned.name for planned in self._fleet.plan}:
            self._bridge.gone(name, f"{name} is stopped")
        predecessor.take_over(state, self._dispatcher, self._take_connection)
        kept = state.in_use - adopted.keys()
        await self._end_orphans(adopted.values(), spared=kept)
        self._fleet.start(leave=state.stopped | kept)
        _run_aside(stack, self._outlive(predecessor, kept))

    async def _outlive(self, predecessor: Predecessor, kept: frozenset[str]) -> None:
        """Replace what the old daemon still used and this one could not adopt, once it has ended."""
        await predecessor.gone()
        self._journal.info("upgrade.done", old_pid=predecessor.pid)
        running = {status.pid for status in self._fleet.statuses() if status.pid}
        await self._end_orphans(running)
        self._fleet.start(leave={planned.name for planned in self._fleet.plan} - kept)

    def _take_connection(self, descriptor: int) -> None:
        self._tasks.add(task := asyncio.create_task(self._doors.listener.take(descriptor)))
        task.add_done_callback(self._tasks.discard)

    def _adopt(self) -> dict[str, int]:
        for planned in self._desired.plan:
            self._bridge.expected(planned.name, planned.model)
        return self._fleet.adopt()

    async def _wind_down(self) -> None:
        """Let requests finish, and bring the replicas down unless they shall stay."""
        if self._upgrading:
            self._upgrading.give_up()
        keep = self._keep_replicas
        self._journal.info("daemon.stopping", open_requests=self._dispatcher.open_count, keep=keep)
        replicas = self._desired.config.replicas
        budget = stop_budget_seconds(replicas.drain_seconds, replicas.stop_seconds, replicas.kill_seconds)
        self._notifier.stopping(budget, open_requests=self._dispatcher.open_count)
        closing = self._doors.listener.close(replicas.drain_seconds)
        await asyncio.gather(
            closing, self._fleet.stop([] if keep else self._fleet.select(None), replicas.drain_seconds)
        )
        self._actor.close()

    def _share_lock(self, descriptor: int) -> Lock:
        path = self._desired.paths.lock
        if (lock := Lock.inherited(path, descriptor)) is None:
            raise UpgradeError(
                f"the runtime folder is {path.parent} now, and the running daemon has another",
                remedy="restart the service instead",
            )
        return lock

    async def _open_control(self, stack: AsyncExitStack) -> None:
        commands = Commands(
            self._fleet,
            named=self._view.named,
            report=self._status,
            reload=self._reload.ask,
            preview=partial(self._follow_files, dry_run=True),
            end=self._end,
            upgrade=self._hand_over,
            check_staying=self._check_staying,
        )
        path = self._desired.paths.control_socket
        runner = await open_control(path, commands.verbs())
        stack.push_async_callback(runner.cleanup)
        stack.callback(self._remove_control, path)

    def _remove_control(self, path: Path) -> None:
        if self._upgrade is None:
            path.unlink(missing_ok=True)

    async def _open_doors(self, stack: AsyncExitStack, inherited: Sequence[socket.socket]) -> None:
        url = await self._doors.open(self._desired.config, inherited, any_port=self._desired.any_port)
        stack.push_async_callback(self._doors.listener.close, 0)
        self._on_listening(url)

    async def _end_orphans(self, adopted: Collection[int], spared: Collection[str] = ()) -> None:
        runtime, patience = self._desired.paths.runtime, self._desired.config.replicas.stop_seconds
        if pids := await end_orphans(runtime, adopted, patience_seconds=patience, spared=spared):
            self._journal.warning("daemon.ended_orphans", pids=" ".join(map(str, pids)))

    def _open_logs(self) -> list[tuple[Path, int]]:
        if self._upgrade:
            return []  # the new daemon rotates them
        return [(status.log, status.pid) for status in self._fleet.statuses() if status.log and status.pid]

    def _log_limits(self) -> tuple[int, int]:
        logs = self._desired.config.logs
        return mib(logs.max_mib), logs.backups

    def _watch_signals(self, stack: AsyncExitStack) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._on_signal, number)
            stack.callback(loop.remove_signal_handler, number)

    def _on_signal(self, number: signal.Signals) -> None:
        self._journal.info("daemon.signal", signal=number.name)
        if number is signal.SIGHUP and not self._desired.on_terminal:
            self._reload_task = asyncio.create_task(self._reload_quietly())
            return
        if self._upgrade:
            return  # nothing is left to end but streams, which have their time
        if self._stop.is_set() and not self._keep_replicas:
            self._fleet.kill()
        self._keep_replicas = self._desired.config.replicas.on_daemon_exit == "keep"
        self._stop.set()

    async def _hand_over(self, drain_seconds: float | None) -> dict[str, Any]:
        """Start a new daemon, leave everything to it, and end with the last answer that is under way.

        Raises:
            RelaydError: It did not come up, or had better not be started; nothing has changed.
        """
        async with self._reloading:
            self._check_upgradable()
            drain = self._desired.config.replicas.drain_seconds if drain_seconds is None else drain_seconds
            rooms = (self._fleet, self._scheduler, self._dispatcher, self._actor, self._notifier)
            estate = Estate(self._lock, self._doors, *rooms)
            self._upgrading = upgrade = Upgrade(estate, self._desired.environ, drain)

            def leave() -> None:
                self._upgrade = upgrade
                self._stop.set()

            patience = self._desired.config.server.takeover_seconds
            return await upgrade.hand_over(self._check_upgradable, leave, patience)

    def _check_upgradable(self) -> None:
        self._check_staying()
        check_upgradable(self._desired.environ, os.getpid(), self._fleet, self._predecessor)

    def _end(self) -> int:
        """End the daemon and every replica, whatever `on_daemon_exit` says; return our pid."""
        self._keep_replicas = False
        self._stop.set()
        return os.getpid()

    def _check_staying(self) -> None:
        """Let nothing be started by a daemon that is stopping: nobody would stop it.

        Raises:
            DaemonError: It is.
        """
        if self._upgrade:
            raise DaemonError("a new daemon has taken over meanwhile", remedy="ask again")
        if self._stop.is_set():
            raise DaemonError("this daemon is stopping", remedy="wait for its end, then: relayd serve")

    async def _reload_quietly(self) -> None:
        with suppress(RelaydError):  # it is in the log, and nobody waits for an answer
            await self._reload.ask()

    async def _reload_once(self) -> dict[str, Any]:
        try:
            return await self._follow_files(dry_run=False)
        except RelaydError as error:
            self._journal.error("reload.refused", message=str(error))
            raise

    async def _follow_files(self, *, dry_run: bool) -> dict[str, Any]:
        """Read the configuration again and follow it; a bad one changes nothing.

        Raises:
            RelaydError: It cannot be followed.
        """
        async with self._reloading:
            desired = await asyncio.to_thread(self._refresh)
            self._check_staying()
            settings = changed_settings(self._desired.config, desired.config)
            changes = compare(self._fleet.plan, desired.plan)
            report = reload_report(settings, changes, dry_run=dry_run)
            if dry_run:
                return report
            door = self._doors.make(desired.config)
            self._journal.info("reload.begins", settings=len(settings), replicas=len(changes.changed))
            self._notifier.reloading()
            try:
                self._follow(desired, door)
                states = await self._fleet.apply(changes)
            finally:
                self._view.changed()
                self._notifier.ready(self._counts())
            return report | {"replicas": {name: state.value for name, state in states.items()}}

    def _follow(self, desired: DesiredState, door: Door) -> None:
        """Take over what needs no restart of a replica."""
        config = desired.config
        self._desired = desired
        self._doors.follow(door)
        self._scheduler.configure(**_limits(config))
        self._dispatcher.configure(max_wait_seconds=config.queue.max_wait_seconds)
        self._fleet.configure(_settings(config))
        self._view.configure(config)

    def _changed(self) -> None:
        self._view.changed()
        asyncio.get_running_loop().call_soon(self._tell_settled)

    def _tell_settled(self) -> None:
        statuses = self._fleet.statuses()
        if not self._stop.is_set():
            self._notifier.status(self._counts())
        if self._on_settled and not any(status.state in _UNSETTLED for status in statuses):
            self._on_settled(statuses)
            self._on_settled = None

    def _counts(self) -> str:
        states = [status.state for status in self._fleet.statuses()]
        loads = [self._scheduler.load(model.name) for model in self._desired.config.model]
        return counts(
            states.count(State.READY),
            len(states),
            running=sum(load.running for load in loads),
            waiting=sum(load.waiting for load in loads),
        )

    def _is_busy(self, replica: str) -> bool:
        return self._scheduler.running_on(replica) > 0

    async def _status(self) -> dict[str, Any]:
        before, statuses = self._predecessor, self._fleet.statuses()
        lives = before is not None and before.alive
        footprints = await self._footprints.read(statuses)
        service = managed(self._desired.environ, os.getpid())
        return daemon_report(self._desired, service) | {
            "since": self._started,
            "url": self._doors.url,
            "stopping": self._stop.is_set(),
            "predecessor": {"pid": before.pid, "requests": before.open_count} if before and lives else None,
            "models": fleet_report(self._desired.config, statuses, self._scheduler.load, footprints),
        }


def _run_aside(stack: AsyncExitStack, work: Coroutine[Any, Any, None]) -> None:
    stack.callback(asyncio.create_task(work).cancel)


class _Limits(TypedDict):
    depth: int
    attempts: int
    avoid_seconds: float


def _limits(config: Config) -> _Limits:
    queue = config.queue
    return _Limits(depth=queue.depth, attempts=queue.attempts, avoid_seconds=queue.avoid_seconds)


def _settings(config: Config) -> Settings:
    return Settings(config.replicas, config.restart, config.probe)

"""What does the daemon consist of, and in which order do its parts live and die?"""

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypedDict

from aiohttp import web

from relayd import __version__
from relayd.actor import Actor
from relayd.api import (
    Door,
    FailedKeys,
    Keyring,
    Limits,
    health_routes,
    listen,
    make_policy,
    openai_routes,
)
from relayd.api.control import control_app, control_socket
from relayd.bridge import Bridge, FleetView
from relayd.clock import SystemClock
from relayd.coalesce import Coalesced
from relayd.commands import Commands
from relayd.config import Config, changed_settings, parse_listen, parse_ports
from relayd.endpoint import Endpoint
from relayd.engine import command, environment
from relayd.errors import DaemonError, DaemonRunningError, ListenError, RelaydError, StateError
from relayd.footprint import Footprints
from relayd.hardware import OomKills
from relayd.journal import Journal
from relayd.planner import ReplicaSpec, compare
from relayd.report import SCHEMA, fleet_report, reload_report
from relayd.router import Dispatcher, Pools, Proxy
from relayd.scheduler import Dispatch, Idle, Refuse, Scheduler
from relayd.service import Notifier, Pulse, counts, inherited_socket, stop_budget_seconds
from relayd.store import Lock, holder
from relayd.supervisor import EngineLauncher, Fleet, Settings, State, Status, World
from relayd.supervisor.orphans import end_orphans
from relayd.supervisor.rotation import Rotation
from relayd.units import mib
from relayd.wish import Wish, smaller

_UNSETTLED = frozenset({State.STOPPED, State.STARTING, State.LOADING})


class Daemon:
    """One relayd: a door, a scheduler, and the replicas behind them.

    Args:
        wish: What it is told.
        refresh: Reads again what it is told, for a reload.
        on_listening: Called with the base URL once clients can connect.
        on_settled: Called with every replica's status once none is loading any more.
    """

    def __init__(
        self,
        wish: Wish,
        refresh: Callable[[], Wish],
        *,
        on_listening: Callable[[str], None] = lambda _: None,
        on_settled: Callable[[list[Status]], None] = lambda _: None,
    ) -> None:
        config, clock = wish.config, SystemClock()
        self._wish = wish
        self._refresh = refresh
        self._reloading = asyncio.Lock()
        self._reload = Coalesced(self._reload_once)
        self._keep_replicas = False
        self._on_listening = on_listening
        self._on_settled: Callable[[list[Status]], None] | None = on_settled
        self._journal = Journal("daemon")
        self._started = clock.wall()
        self._url = ""
        self._stop = asyncio.Event()
        self._scheduler = Scheduler(**_limits(config))
        self._pools = Pools()
        self._actor = Actor(self._scheduler, clock)
        self._dispatcher = Dispatcher(self._actor.post, clock, max_wait_seconds=config.queue.max_wait_seconds)
        self._bridge = Bridge(self._actor.post, self._pools.retire, self._changed)
        starved = OomKills().ended
        world = World(self._launcher(), self._bridge, clock, self._is_busy, smaller, starved)
        self._fleet = Fleet(wish.specs, world, _settings(config))
        self._footprints = Footprints(clock)
        self._view = FleetView(config, self._started, self._fleet.statuses)
        self._actor.on(Dispatch, self._dispatcher.on_dispatch)
        self._actor.on(Refuse, self._dispatcher.on_refuse)
        self._actor.on(Idle, self._fleet.on_idle)
        self._failed_keys = FailedKeys(clock)
        self._notifier = Notifier(wish.environ, clock)

    async def run(self) -> None:
        """Serve until a signal or a command ends it.

        Raises:
            DaemonRunningError: Another daemon holds the runtime folder.
            ListenError: The address cannot be listened on.
            StateError: A folder cannot be used.
        """
        async with AsyncExitStack() as stack:
            stack.enter_context(Pulse(SystemClock()))
            self._take_lock(stack)
            self._watch_signals(stack)
            await self._open_control(stack)
            await self._open_door(stack)
            for spec in self._wish.specs:
                self._bridge.expected(spec.name, spec.model)
            await self._end_orphans(self._fleet.adopt())
            rotation = Rotation(self._open_logs, self._log_limits, SystemClock())
            stack.callback(asyncio.create_task(rotation.run()).cancel)
            self._fleet.start()
            self._notifier.ready(self._counts())
            stack.callback(asyncio.create_task(self._notifier.keep_alive(self._counts)).cancel)
            await self._stop.wait()
            await self._wind_down()
        self._journal.info("daemon.stopped")

    async def _wind_down(self) -> None:
        """Let requests finish, and bring the replicas down unless they shall stay."""
        keep = self._keep_replicas
        self._journal.info("daemon.stopping", open_requests=self._dispatcher.open_count, keep=keep)
        replicas = self._wish.config.replicas
        budget = stop_budget_seconds(replicas.drain_seconds, replicas.stop_seconds, replicas.kill_seconds)
        self._notifier.stopping(budget, open_requests=self._dispatcher.open_count)
        closing = self._listener.close(replicas.drain_seconds)
        await asyncio.gather(closing, self._fleet.stop([] if keep else self._fleet.select(None)))
        self._actor.close()

    def _take_lock(self, stack: AsyncExitStack) -> None:
        path = self._wish.paths.lock
        try:
            lock = Lock.try_take(path)
        except OSError as error:
            raise StateError(f"the lock {path} cannot be made: {error.strerror}") from error
        if lock is None:
            pid = holder(path)
            raise DaemonRunningError(
                f"another relayd{f' (pid {pid})' if pid else ''} runs here already",
                remedy="see it with `relayd status`, end it with `relayd stop`",
            )
        lock.sign(os.getpid())
        stack.callback(lock.close)

    async def _open_control(self, stack: AsyncExitStack) -> None:
        path = self._wish.paths.control_socket
        commands = Commands(
            self._fleet,
            report=self._status,
            reload=self._reload.ask,
            preview=partial(self._follow_files, dry_run=True),
            end=self._end,
            check_staying=self._check_staying,
        )
        runner = web.AppRunner(control_app(commands.verbs()), access_log=None)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        bound = control_socket(path)
        stack.callback(partial(path.unlink, missing_ok=True))
        await web.SockSite(runner, bound).start()

    async def _open_door(self, stack: AsyncExitStack) -> None:
        server = self._wish.config.server
        address = parse_listen(server.listen)
        self._door = self._make_door(self._wish.config)
        limits = Limits(header_seconds=server.header_seconds, idle_seconds=server.keep_alive_seconds)

        async def answer(request: web.BaseRequest) -> web.StreamResponse:
            return await self._door(request)  # looked up each time: a reload makes another

        opened = inherited_socket(self._wish.environ, address.host, address.port)
        try:
            self._listener = await listen(answer, address.host, address.port, limits, sock=opened)
        except ListenError:
            if not self._wish.any_port:
                raise
            self._listener = await listen(answer, address.host, 0, limits)
        stack.push_async_callback(self._listener.close, 0)
        host, port = self._listener.addresses[0]
        self._url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        self._journal.info("daemon.listening", url=self._url, version=__version__, pid=os.getpid())
        self._on_listening(self._url)

    def _make_door(self, config: Config) -> Door:
        server = config.server
        keys = {server.api_key.digest(): "configured"} if server.api_key else {}
        policy = make_policy(
            parse_listen(server.listen).host,
            allowed_hosts=server.allowed_hosts,
            cors_origins=server.cors_origins,
            keyed=bool(keys),
        )
        proxy = Proxy(self._pools, write_stall_seconds=server.write_stall_seconds, on_fault=self._note_fault)
        openai = openai_routes(
            self._view,
            self._dispatcher,
            proxy,
            max_body=mib(server.max_body_mib),
            body_seconds=server.body_seconds,
        )
        return Door((*openai, *health_routes(self._view)), policy, Keyring(keys, self._failed_keys))

    def _launcher(self) -> EngineLauncher:
        wish = self._wish
        features, binary = wish.engine.features, wish.engine.path
        empty = wish.paths.runtime / "xdg"

        def argv(spec: ReplicaSpec, address: Any, key_file: Path) -> tuple[str, ...]:
            return (str(binary), *command(spec, features, address, key_file))

        def child_environment(replica: str) -> dict[str, str]:
            return environment(
                wish.environ, instance=str(wish.paths.runtime), replica=replica, empty_config_home=empty
            )

        tcp = wish.config.replicas.listen == "tcp"
        return EngineLauncher(
            argv,
            child_environment,
            runtime=wish.paths.runtime,
            logs=wish.paths.state / "logs",
            engine=f"{binary} {wish.engine.version}",
            clock=SystemClock(),
            ports=parse_ports(wish.config.replicas.ports) if tcp else (),
        )

    async def _end_orphans(self, adopted: set[int]) -> None:
        patience = self._wish.config.replicas.stop_seconds
        if pids := await end_orphans(self._wish.paths.runtime, adopted, patience_seconds=patience):
            self._journal.warning("daemon.ended_orphans", pids=" ".join(map(str, pids)))

    def _open_logs(self) -> list[tuple[Path, int]]:
        return [(status.log, status.pid) for status in self._fleet.statuses() if status.log and status.pid]

    def _log_limits(self) -> tuple[int, int]:
        logs = self._wish.config.logs
        return mib(logs.max_mib), logs.backups

    def _watch_signals(self, stack: AsyncExitStack) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._on_signal, number)
            stack.callback(loop.remove_signal_handler, number)

    def _on_signal(self, number: signal.Signals) -> None:
        self._journal.info("daemon.signal", signal=number.name)
        if number is signal.SIGHUP and not self._wish.on_terminal:
            self._reload_task = asyncio.create_task(self._reload_quietly())
            return
        if self._stop.is_set() and not self._keep_replicas:
            self._fleet.kill()
        self._keep_replicas = self._wish.config.replicas.on_daemon_exit == "keep"
        self._stop.set()

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
            wish = await asyncio.to_thread(self._refresh)
            self._check_staying()
            settings = changed_settings(self._wish.config, wish.config)
            changes = compare(self._fleet.specs, wish.specs)
            report = reload_report(settings, changes, dry_run=dry_run)
            if dry_run:
                return report
            door = self._make_door(wish.config)
            self._journal.info("reload.begins", settings=len(settings), replicas=len(changes.changed))
            self._notifier.reloading()
            try:
                self._follow(wish, door)
                states = await self._fleet.apply(changes)
            finally:
                self._view.changed()
                self._notifier.ready(self._counts())
            return report | {"replicas": {name: state.value for name, state in states.items()}}

    def _follow(self, wish: Wish, door: Door) -> None:
        """Take over what needs no restart of a replica."""
        config = wish.config
        self._wish, self._door = wish, door
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

    def _note_fault(self, endpoint: Endpoint, message: str) -> None:
        self._journal.warning(
            "request.fault", replica=endpoint.replica, incarnation=endpoint.incarnation, message=message
        )

    def _counts(self) -> str:
        states = [status.state for status in self._fleet.statuses()]
        loads = [self._scheduler.load(model.name) for model in self._wish.config.model]
        return counts(
            states.count(State.READY),
            len(states),
            running=sum(load.running for load in loads),
            waiting=sum(load.waiting for load in loads),
        )

    def _is_busy(self, replica: str) -> bool:
        return self._scheduler.running_on(replica) > 0

    async def _status(self) -> dict[str, Any]:
        wish, statuses = self._wish, self._fleet.statuses()
        footprints = await self._footprints.read(statuses)
        return {
            "schema": SCHEMA,
            "version": __version__,
            "pid": os.getpid(),
            "since": self._started,
            "url": self._url,
            "keyed": bool(wish.config.server.api_key),
            "config": list(wish.sources),
            "warnings": list(wish.warnings),
            "engine": {
                "path": str(wish.engine.path),
                "version": wish.engine.version,
                "source": wish.engine.source,
            },
            "logs": str(wish.paths.state / "logs"),
            "runtime": str(wish.paths.runtime),
            "stopping": self._stop.is_set(),
            "models": fleet_report(wish.config, statuses, self._scheduler.load, footprints),
        }


class _Limits(TypedDict):
    depth: int
    attempts: int
    avoid_seconds: float


def _limits(config: Config) -> _Limits:
    queue = config.queue
    return _Limits(depth=queue.depth, attempts=queue.attempts, avoid_seconds=queue.avoid_seconds)


def _settings(config: Config) -> Settings:
    return Settings(config.replicas, config.restart, config.probe)

"""The parts of a daemon in folders of its own, with an engine that cannot be started."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from relayd.config import Config, Model
from relayd.config.schema import Server
from relayd.daemon.operations import Operations
from relayd.daemon.parts import DaemonParts, assemble
from relayd.daemon.reload import Refresh, Reload
from relayd.daemon.restart import PlannedRestart, Replan
from relayd.daemon.shutdown import Shutdown
from relayd.daemon.takeover import Claim
from relayd.daemon.upgrade import Upgrade
from relayd.desired.state import DesiredState
from relayd.engine import Engine
from relayd.engine.argv import Features
from relayd.folders import make_folders, paths
from relayd.lock import lock_of_daemon
from relayd.planner import Planned, ReplicaSpec
from relayd.secret import Secret

MODEL = Model(name="m", file="/m.gguf", aliases=("nick",), replicas=2)
SERVER = Server(listen="127.0.0.1:0", api_key=Secret("a-key-that-is-long-enough-for-relayd"))

Result = TypeVar("Result")


def desired(
    home: Path, *models: Model, server: Server = SERVER, environ: Mapping[str, str] = MappingProxyType({})
) -> DesiredState:
    """Return what a daemon in `home` is given; its engine does not exist."""
    own = paths({"RELAYD_RUNTIME_DIR": str(home / "r")}, home)
    make_folders(own)
    plan = tuple(
        Planned(
            ReplicaSpec(model.name, index, Path(model.file), slots=model.slots or 4, context=model.context)
        )
        for model in models
        for index in range(model.least_replicas)
    )
    features = Features("b1", 1, frozenset({"--no-ui", "--fit", "--log-file"}), {}, unix_sockets=True)
    engine = Engine(home / "no-llama-server", "configured", features)
    return DesiredState(
        Config(server=server, model=models), plan, engine, own, environ, sources=("relay.toml",)
    )


@dataclass
class Assembled:
    """The parts, and what acts on them; a reload calls `refresh`, a restart `replan`."""

    parts: DaemonParts
    shutdown: Shutdown
    reload: Reload
    operations: Operations
    refresh: Refresh
    replan: Replan


def with_parts(state: DesiredState, story: Callable[[Assembled], Awaitable[Result]]) -> Result:
    """Assemble a daemon, open its doors, and return what comes of a story about it."""

    async def scene() -> Result:
        async with AsyncExitStack() as stack, asyncio.timeout(120):
            parts, shutdown = assemble(state), Shutdown()
            lock = lock_of_daemon(state.paths.lock)
            stack.callback(lock.close)
            await parts.keys.open(state.config.server)
            stack.push_async_callback(parts.keys.close)
            await parts.doors.open(state.config)
            stack.push_async_callback(parts.doors.listener.close, 0)

            def refresh(given_up: Collection[str]) -> DesiredState:
                return assembled.refresh(given_up)

            reload = Reload(parts, refresh, shutdown)
            upgrade = Upgrade(parts, Claim(lock), shutdown)

            def replan(now: DesiredState, models: Collection[str]) -> DesiredState:
                return assembled.replan(now, models)

            restart = PlannedRestart(parts, replan, shutdown)
            operations = Operations(parts, reload, restart, upgrade, shutdown)
            assembled = Assembled(parts, shutdown, reload, operations, lambda _: state, lambda now, _: now)
            result = await story(assembled)
            await parts.fleet.stop(parts.fleet.select(None), 0)
            return result

    return asyncio.run(scene())

"""What a request can do to a real llama-server, and what the supervisor does about it."""

import asyncio
import json
import resource
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from relayd.clock import SystemClock
from relayd.config import Model
from relayd.config.schema import MemoryBudget
from relayd.daemon.launch import launcher
from relayd.endpoint import Endpoint, UnixAddress
from relayd.engine import Engine
from relayd.planner import Planned
from relayd.planner.reserve import allowance
from relayd.router import Pools
from relayd.secret import Secret
from relayd.supervisor import Dependencies, Fleet, Replica, State
from relayd.supervisor.causes import Cause
from relayd.supervisor.child import Files
from relayd.units import MIB
from tests.daemon.assembled import desired
from tests.planner.models import machine
from tests.supervisor.sleepers import FAST, Listener, until

pytestmark = [pytest.mark.real, pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA is Linux's")]

SLOTS = 2
SETTINGS = replace(
    FAST,
    probe=msgspec.structs.replace(FAST.probe, timeout_seconds=1, ready_seconds=60, suspect_seconds=0.5),
)
DOUBLED = "\n".join(
    ["root ::= r30", *(f"r{n} ::= r{n - 1} r{n - 1}" for n in range(30, 0, -1)), 'r0 ::= "a"?']
)
BOMBS: tuple[dict[str, Any], ...] = (
    {"repeat_last_n": 2**31 - 1, "repeat_penalty": 1.1},
    {"grammar": DOUBLED},
)
LONG_ENUM = {"json_schema": {"enum": [f"v{number:06d}" for number in range(200_000)]}}
"""What the door refuses; here it is sent straight to the engine."""


async def live(
    engine: Engine, home: Path, model: Path, story: Callable[[Fleet, Replica], Awaitable[None]]
) -> None:
    """Tell a story of one replica of the real engine, and end it."""
    line = Model(name="m", file=str(model), slots=SLOTS, context=512, cache_ram_mib=16)
    state = replace(desired(home, line), engine=engine, budget=allowance(machine("ram=8"), MemoryBudget()))
    spec = replace(state.plan[0].spec, cache_ram_mib=16, fit=False, threads=1)
    needs = Dependencies(launcher(state), Listener(), SystemClock(), Pools().get)
    fleet = Fleet([Planned(spec)], needs, SETTINGS)
    (replica,) = fleet.select(None)
    async with asyncio.timeout(300):
        fleet.load()
        await replica.reached(State.READY)
        await story(fleet, replica)
        await fleet.stop([replica], 0)


def where(home: Path) -> tuple[Path, str]:
    files = Files.of(home / "r", "m#0")
    return files.socket, files.key.read_text().strip()


def send(home: Path, body: dict[str, Any]) -> socket.socket:
    """Send a completion straight to the engine."""
    path, key = where(home)
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(240)
    client.connect(str(path))
    text = json.dumps({"prompt": "a", "n_predict": 2, **body}).encode()
    head = (
        "POST /completion HTTP/1.1", "Host: localhost", "Connection: close", "Content-Type: application/json",
        f"Authorization: Bearer {key}", f"Content-Length: {len(text)}", "", "",
    )  # fmt: skip
    client.sendall("\r\n".join(head).encode() + text)
    return client


def answered(client: socket.socket) -> int:
    """Return the status of an answer, once it has ended; 0 without one."""
    text = b""
    with client:
        while more := client.recv(1 << 16):
            text += more
    return int(text.split(None, 2)[1]) if text else 0


def test_a_bomb_is_refused_below_the_wall_and_the_engine_lives_on(
    engine: Engine, home: Path, tiny_model: Path
) -> None:
    async def story(_fleet: Fleet, replica: Replica) -> None:
        status = replica.status()
        assert status.wall
        assert status.pid
        assert status.wall.limit == resource.prlimit(status.pid, resource.RLIMIT_DATA)[0]
        assert 2 * MIB == resource.prlimit(status.pid, resource.RLIMIT_STACK)[0]
        for bomb in BOMBS:
            assert await asyncio.to_thread(answered, send(home, bomb)) in (400, 500)
            with ExitStack() as opened:  # each is a thread, and one that cannot be made ends the engine
                for _ in range(SLOTS + 2):
                    client = opened.enter_context(socket.socket(socket.AF_UNIX))
                    client.connect(str(where(home)[0]))
                    client.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
                    assert await asyncio.to_thread(client.recv, 64)
                assert 200 == await asyncio.to_thread(answered, send(home, {}))
        assert (State.READY, status.pid) == (replica.state, replica.status().pid)

    asyncio.run(live(engine, home, tiny_model, story))


def test_an_inference_thread_that_one_request_holds_is_found_and_ended(
    engine: Engine, home: Path, tiny_model: Path
) -> None:
    async def story(fleet: Fleet, replica: Replica) -> None:
        assert 200 == await asyncio.to_thread(answered, send(home, {}))
        before = replica.status().pid
        with send(home, LONG_ENUM):
            await until_silent(home)
            fleet.suspect("m#0")
            await until(lambda: replica.status().last_exit is not None)
        last = replica.status().last_exit
        assert last
        assert (Cause.NOT_ANSWERING, True) == (last.cause, "stood still" in last.message)
        await replica.reached(State.READY)
        assert before != replica.status().pid
        assert 200 == await asyncio.to_thread(answered, send(home, {}))

    asyncio.run(live(engine, home, tiny_model, story))


async def until_silent(home: Path) -> None:
    """Wait until the inference thread answers nothing more."""
    path, key = where(home)
    endpoint, pools = Endpoint(UnixAddress(path), Secret(key), "m#0", 1), Pools()
    while True:
        try:
            await pools.get(endpoint, "/metrics", with_key=True, timeout_seconds=1)
        except OSError:
            return

"""Five models, memory for two: how long do clients wait, and how often are models swapped?

    python -m tests.bench.residence [--seconds 60] [--routers relayd,llama-server] [--scenarios zipf,abab]

relayd (`[memory] host_mib`), the engine's own router (`llama-server --models-max`), and llama-swap where it
is on PATH, one after the other on the same files and the same requests. A load is a process that was started;
`lost` is every request without a complete answer. The machine is rarely quiet: compare rows of one run.
Needs a llama-server: LLAMA_SERVER_PATH, or the one that relayd has installed.

    zipf    five models, room for two, 16 clients that ask for model k with a chance of 1/k, without a pause
    abab    two models, room for one, eight clients each, without a pause
    pauses  the same, each client pausing up to a second
    burst   three models, room for two: eight clients on two of them, then 32 requests at once for the third
"""

import argparse
import asyncio
import contextlib
import json
import math
import random
import shutil
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import aiohttp
import psutil

from relayd.cli.engine import lend_installer
from relayd.engine import ensure
from relayd.folders import cache_dir
from tests.bench.peers import free_port
from tests.bench.running import started
from tests.ggufs import SLOW, make_model

SLOTS, CONTEXT, TOKENS = 4, 2048, 16
MODEL_MIB = 470
"""What a replica of the slow model takes by relayd's plan, rounded up: 432 MiB."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """What clients do.

    Attributes:
        models: How many there are.
        room: How many fit into memory.
        clients: Clients that ask again as soon as they have their answer.
        chooses: Returns the number of the model that a client asks for next.
        pause_seconds: The longest pause between an answer and the next request.
        burst: Requests for the last model at a third of the time, all at once.
    """

    models: int
    room: int
    clients: int
    chooses: Callable[[random.Random, int], int]
    pause_seconds: float = 0
    burst: int = 0


def _zipf(dice: random.Random, _client: int) -> int:
    return dice.choices(range(5), weights=[1 / (rank + 1) for rank in range(5)])[0]


def _by_turns(_dice: random.Random, client: int) -> int:
    return client % 2


TRAFFIC = {
    "zipf": Traffic(5, 2, 16, _zipf),
    "abab": Traffic(2, 1, 16, _by_turns),
    "pauses": Traffic(2, 1, 16, _by_turns, pause_seconds=1),
    "burst": Traffic(3, 2, 8, _by_turns, burst=32),
}


@dataclass
class Seen:
    """What all clients saw; seconds."""

    waits: list[float] = field(default_factory=list)
    burst: list[float] = field(default_factory=list)
    lost: int = 0
    why: set[str] = field(default_factory=set)


def main() -> None:
    """Measure every router in every scenario, and print a row for each."""
    parser = argparse.ArgumentParser(description="Compare routers where models do not fit together.")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--routers", default="relayd,llama-server,llama-swap")
    parser.add_argument("--scenarios", default=",".join(TRAFFIC), help=", ".join(TRAFFIC))
    parser.add_argument("--memory", default="", help="more lines of [memory] for relayd, a ; between them")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="res"))
    routers = [name for name in options.routers.split(",") if name != "llama-swap" or shutil.which(name)]
    try:
        models = folder / "models"
        models.mkdir()
        first = make_model(models / "m0.gguf", SLOW)
        for number in range(1, 5):
            shutil.copy(first, models / f"m{number}.gguf")
        print(f"{'':8} {'router':14} answers  loads  lost    p50 s    p95 s  longest s  burst's longest s")
        for scenario in options.scenarios.split(","):
            for router in routers:
                print(_row(folder, router, scenario, options), flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _row(folder: Path, router: str, scenario: str, options: argparse.Namespace) -> str:
    traffic, port = TRAFFIC[scenario], free_port()
    home = folder / f"{router}-{scenario}"
    home.mkdir()
    command = COMMANDS[router](home, folder / "models", port, traffic, options.memory.replace(";", "\n"))
    with started(command, home, home / "out.log") as process, _counted_loads(process) as loads:
        _await_port(port)
        seen = asyncio.run(_ask_all(port, traffic, options.seconds))
        count = len(loads)
    waits = seen.waits or [math.nan]
    burst = f"{max(seen.burst):11.1f}" if seen.burst else ""
    why = f"  {', '.join(sorted(seen.why))}" if seen.why else ""
    return (
        f"{scenario:8} {router:14} {len(seen.waits):7d} {count:6d} {seen.lost:5d} "
        f"{_quantile(waits, 0.5):8.2f} {_quantile(waits, 0.95):8.2f} {max(waits):10.1f} {burst}{why}"
    )


async def _ask_all(port: int, traffic: Traffic, seconds: float) -> Seen:
    seen, ends_at = Seen(), time.monotonic() + seconds
    timeout = aiohttp.ClientTimeout(total=seconds + 120)
    async with aiohttp.ClientSession(
        f"http://127.0.0.1:{port}", timeout=timeout, connector=aiohttp.TCPConnector(limit=0)
    ) as session:

        async def client(number: int) -> None:
            dice = random.Random(number)
            while time.monotonic() < ends_at:
                await _ask(session, traffic.chooses(dice, number), seen, seen.waits)
                await asyncio.sleep(dice.uniform(0, traffic.pause_seconds))

        async def burst() -> None:
            await asyncio.sleep(seconds / 3)
            last = traffic.models - 1
            await asyncio.gather(*(_ask(session, last, seen, seen.burst) for _ in range(traffic.burst)))

        await asyncio.gather(burst(), *map(client, range(traffic.clients)))
    return seen


async def _ask(session: aiohttp.ClientSession, number: int, seen: Seen, waits: list[float]) -> None:
    asked = time.monotonic()
    body = {"model": f"m{number}", "prompt": "a b c d", "max_tokens": TOKENS}
    try:
        async with session.post("/v1/completions", json=body) as answer:
            content = await answer.read()
            if answer.status != 200:
                raise aiohttp.ClientError(f"{answer.status} {content[:80].decode(errors='replace')}")
            json.loads(content)["choices"]
    except (aiohttp.ClientError, TimeoutError, ValueError, KeyError) as error:
        seen.lost += 1
        seen.why.add(str(error)[:100] or type(error).__name__)
        await asyncio.sleep(0.1)  # one that refuses at once would be asked a thousand times
    else:
        waits.append(time.monotonic() - asked)


def _relayd(home: Path, models: Path, port: int, traffic: Traffic, memory: str) -> tuple[str, ...]:
    lines = "".join(
        f'[[model]]\nname = "m{number}"\nfile = "{models}/m{number}.gguf"\nload = "demand"\n'
        f"slots = {SLOTS}\ncontext = {CONTEXT}\ncache_ram_mib = 0\nthreads = 1\n"
        for number in range(traffic.models)
    )
    config = home / "relay.toml"
    config.write_text(
        f'[engine]\npath = "{_engine()}"\n[memory]\nhost_mib = {traffic.room * MODEL_MIB}\n{memory}\n{lines}'
    )
    config.chmod(0o600)
    listen = f"127.0.0.1:{port}"
    return (sys.executable, "-m", "relayd", "serve", "--config", str(config), "--listen", listen)


def _engine_flags() -> tuple[str, ...]:
    return ("-np", str(SLOTS), "-c", str(CONTEXT * SLOTS), "--cache-ram", "0", "-ngl", "0", "-t", "1")


def _router_mode(_home: Path, models: Path, port: int, traffic: Traffic, _memory: str) -> tuple[str, ...]:
    own = ("--models-dir", str(models), "--models-max", str(traffic.room), "--port", str(port))
    return (_engine(), *own, *_engine_flags(), "--no-ui")


def _llama_swap(home: Path, models: Path, port: int, traffic: Traffic, _memory: str) -> tuple[str, ...]:
    """Return llama-swap with one group; it counts no memory, so one model at a time is its only bound."""
    engine = " ".join((_engine(), *_engine_flags()))
    lines = "".join(
        f"  m{number}:\n    cmd: {engine} --port ${{PORT}} -m {models}/m{number}.gguf\n"
        for number in range(traffic.models)
    )
    (home / "swap.yaml").write_text(f"models:\n{lines}")
    return ("llama-swap", "--config", str(home / "swap.yaml"), "--listen", f"127.0.0.1:{port}")


COMMANDS: dict[str, Callable[[Path, Path, int, Traffic, str], tuple[str, ...]]] = {
    "relayd": _relayd,
    "llama-server": _router_mode,
    "llama-swap": _llama_swap,
}


@cache
def _engine() -> str:
    with lend_installer() as installer:
        return str(ensure(installer, cache=cache_dir() / "engine").path)


def _quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(int(len(values) * share), len(values) - 1)] if values else math.nan


@contextmanager
def _counted_loads(process: psutil.Process) -> Iterator[set[int]]:
    """Count the engines that a router starts, by their process ids."""
    found, over = set[int](), threading.Event()

    def look() -> None:
        while not over.wait(0.05):
            with contextlib.suppress(psutil.Error):
                for one in process.children(recursive=True):
                    if one.pid not in found and {"-m", "--model"} & {*one.cmdline()}:
                        found.add(one.pid)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield found
    finally:
        over.set()
        looking.join()


def _await_port(port: int, seconds: float = 120) -> None:
    ends_at = time.monotonic() + seconds
    while time.monotonic() < ends_at:
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2),
        ):
            return
        threading.Event().wait(0.1)
    raise SystemExit("the router does not answer")


if __name__ == "__main__":
    main()

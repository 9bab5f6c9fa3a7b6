"""Hubs that share scripted nodes: what is lost, what a hub adds to each token, and what that costs it.

Hubs are real daemons; nodes (links, slots) are relayd's own code in one process, over replicas that
write tokens at a steady rate. Beside the streams over hubs, some go straight to a replica: how old a token is
there as it is read is what the same machine takes without a hub.
"""

import argparse
import asyncio
import json
import multiprocessing as mp
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import psutil

from relayd.cli.engine import lend_installer
from relayd.engine import ensure
from relayd.files import write_atomic
from relayd.folders import cache_dir
from tests.daemons import FAST, Daemon, wait_until
from tests.fleet.scripted import MODEL, Plan, run
from tests.fleet.streams import WHOLE, Streams, share

if TYPE_CHECKING:
    from tests.remote.busserver import BusServer


@dataclass
class Timed(Streams):
    """Streams whose tokens are the times at which they were written."""

    delays: list[float] = field(default_factory=list)

    def on_event(self, line: bytes) -> None:
        """Note how old a token is."""
        now = time.monotonic()
        text = json.loads(line[6:])["choices"][0]["text"]
        self.delays.append(now - float(text))


@dataclass
class Hubs:
    """Hubs that have all nodes.

    Attributes:
        replica: The port that every node's replica has.
        die: Has one node end.
        bus: What is between; None for direct links.
    """

    daemons: list[Daemon]
    keys: list[str]
    replica: int
    die: "mp.synchronize.Event"
    bus: "BusServer | None" = None


def main() -> None:
    """Measure once, and print it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--hubs", type=int, default=3)
    parser.add_argument("--nodes", type=int, default=20)
    parser.add_argument("--slots", type=int, default=100)
    parser.add_argument("--streams", type=int, default=2000)
    parser.add_argument("--rate", type=float, default=20.0, help="tokens a second of each stream")
    parser.add_argument("--tokens", type=int, default=300)
    parser.add_argument("--bus", action="store_true", help="nats-server between, no direct link")
    parser.add_argument("--away", type=float, default=0.0, help="seconds without the bus in mid-stream")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, _hubs(Path(folder), asked) as hubs:
        asyncio.run(_measured(hubs, asked))


async def _measured(hubs: Hubs, asked: argparse.Namespace) -> None:
    share_of = asked.streams // asked.hubs
    over = [
        Timed(one.url, key, MODEL, ramp_seconds=5.0) for one, key in zip(hubs.daemons, hubs.keys, strict=True)
    ]
    straight = Timed(f"http://127.0.0.1:{hubs.replica}", "k", MODEL)
    processes = [psutil.Process(one.process.pid) for one in hubs.daemons]
    before, began = [_cpu(one) for one in processes], time.monotonic()
    middle = asked.tokens / asked.rate / 2
    happens = (
        _bus_away(hubs.bus, middle, asked.away) if hubs.bus and asked.away else _convergence(hubs, middle)
    )
    waiting = asyncio.create_task(happens)
    await asyncio.gather(
        *(one.run(share_of, asked.tokens, 0.5) for one in over), straight.run(20, asked.tokens, 0.5)
    )
    seconds, used = (
        time.monotonic() - began,
        [_cpu(one) - start for one, start in zip(processes, before, strict=True)],
    )
    sent, chunks = sum(one.outcomes.total() for one in over), sum(len(one.delays) for one in over)
    failed = {text: count for one in over for text, count in one.outcomes.items() if text != WHOLE}
    theirs, own = [delay for one in over for delay in one.delays], straight.delays
    lines = (
        f"{asked.hubs} hubs, {asked.nodes} nodes of {asked.slots} slots, {sent} streams",
        f"{asked.tokens} tokens each at {asked.rate:g}/s, in {seconds:.1f} s",
        f"lost {sum(failed.values())} {failed or ''}",
        f"after {await waiting:.1f} s "
        + ("the bus was back" if asked.away else "no hub used the node that died"),
        f"ms of a token to its client, p50 / p99: over a hub {_spread(theirs)}, straight {_spread(own)}",
        f"a hub: {sum(used) / seconds / asked.hubs:.2f} cores, {1e6 * sum(used) / chunks:.0f} us a token",
    )
    sys.stdout.write("\n".join(lines) + "\n")


def _spread(delays: list[float]) -> str:
    return f"{1000 * share(delays, 0.5):.1f} / {1000 * share(delays, 0.99):.1f}"


async def _bus_away(bus: "BusServer", after: float, seconds: float) -> float:
    """Have no bus for a while, and return how long that was."""
    await asyncio.sleep(after)
    began = time.monotonic()
    bus.stop()
    await asyncio.sleep(seconds)
    await asyncio.to_thread(bus.start)
    return time.monotonic() - began


async def _convergence(hubs: Hubs, after: float) -> float:
    """Have one node die, and return after how many seconds no hub counts on it."""
    await asyncio.sleep(after)
    hubs.die.set()
    began = time.monotonic()
    while await asyncio.to_thread(lambda: any(map(_uses_first, hubs.daemons))):
        await asyncio.sleep(0.1)
    return time.monotonic() - began


def _uses_first(hub: Daemon) -> bool:
    (first,) = (one for one in hub.client.nodes().nodes if one.name == "n0")
    return any(one.state == "ready" for one in first.replicas)


def _connected(hub: Daemon) -> int:
    return sum(one.state == "connected" and bool(one.replicas) for one in hub.client.nodes().nodes)


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


@contextmanager
def _hubs(folder: Path, asked: argparse.Namespace) -> Iterator[Hubs]:
    with lend_installer() as installer:
        engine = ensure(installer, cache=cache_dir() / "engine")
    config = f"{FAST}\n[queue]\ndepth = 4096\n"
    with ExitStack() as stack:
        daemons, keys = [], []
        bus, members = _bus(folder, asked) if asked.bus else (None, {})
        if bus is not None:
            stack.callback(bus.stop)
        for number in range(asked.hubs):
            home = folder / f"h{number}"
            home.mkdir()
            over = ["--bus", bus.url, "--bus-credentials", str(members[f"h{number}"])] if bus else []
            made = Daemon(home, engine.path, config, ["--hub", *over], {})
            stack.callback(_end, made)
            daemons.append(made)
            keys.append(made.run("keys", "create", "me").stdout.strip() if made.url else "")
        tokens = tuple(
            {
                f"ws{one.url.removeprefix('http')}": one.client.node_token(f"n{number}").token
                for one in daemons
            }
            for number in range(asked.nodes)
        )
        context = mp.get_context("spawn")
        port, dies, ends = context.Queue(), context.Event(), context.Event()
        plan = Plan(tokens, asked.slots, asked.rate)
        if bus is not None:
            seeds = tuple(members[f"n{number}"].read_bytes() for number in range(asked.nodes))
            plan = Plan(
                tokens, asked.slots, asked.rate, bus.url, seeds, tuple(f"h{n}" for n in range(asked.hubs))
            )
        nodes = context.Process(target=run, args=(plan, port, dies, ends))
        nodes.start()
        stack.callback(nodes.join, 10)
        stack.callback(ends.set)
        wait_until(lambda: all(_connected(one) == asked.nodes for one in daemons))
        yield Hubs(daemons, keys, port.get(timeout=10), dies, bus)


def _bus(folder: Path, asked: argparse.Namespace) -> "tuple[BusServer, dict[str, Path]]":
    """Return nats-server, and the credentials of each hub and node."""
    from relayd.remote.bus.keys import make_credentials
    from relayd.remote.bus.subjects import BusRole
    from tests.remote.busserver import BusServer

    made = [make_credentials(BusRole.HUB, f"h{number}") for number in range(asked.hubs)]
    made += [make_credentials(BusRole.NODE, f"n{number}") for number in range(asked.nodes)]
    files = {one.name: folder / f"{one.name}.json" for one in made}
    for one in made:
        write_atomic(files[one.name], msgspec.json.encode(one))
    return BusServer(folder, made), files


def _end(daemon: Daemon) -> None:
    daemon.end()
    daemon.leftovers()

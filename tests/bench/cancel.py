"""How soon is a slot free after its client has left, stage by stage? `python -m tests.bench.cancel`

    python -m tests.bench.cancel [--aborts 1000] [--seed 1] [--quiet]

relayd's data path in this process, from the listener to two llama-servers with two slots each on a slow
model, `-b 512`. A stream runs on each of them all the time, unless `--quiet`. Requests, streamed and plain,
are left while they are queued, wait for a load, are in prefill, or in decode, each at a random moment.

A row counts from the client's close to the moment at which relayd counts the slot as free. Orphan seconds
are those in which an engine still worked on a request after that, by the times in its own log; an engine
reads a cancellation at the end of its batch, so each ends with the batch that was under way. The batch is
what was learned of the engine's progress and timings. Exits 1 if a counter is not back at zero. Needs a
llama-server.
"""

import argparse
import asyncio
import contextlib
import json
import random
import socket
import statistics
import struct
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from relayd.api.door import Door
from relayd.api.fleet import ModelState, ModelView
from relayd.api.guard import make_policy
from relayd.api.inference import Inference
from relayd.api.keys import FailedKeys, Keyring
from relayd.api.openai import OPENAI, openai_routes
from relayd.api.served import behind
from relayd.api.server import listen
from relayd.cli.engine import lend_installer
from relayd.clock import SystemClock
from relayd.daemon.actor import Actor, Executors
from relayd.engine import ensure
from relayd.folders import cache_dir
from relayd.router import Dispatcher, Exchanges, Pools, Proxy, inferred_batch
from relayd.scheduler import Abandoned, Arrived, Dispatch, Event, Expected, Finished, Ready, Scheduler
from relayd.units import mib
from tests.bench.orphans import BATCH, REPLICAS, SLOTS, WARM, Engine, engines, orphans

STAGES = ("queued", "loading", "prefill", "decode")
COLD = "cold"


@dataclass
class Watch:
    """When which request asked for a slot, was left, and gave it back (monotonic seconds), by its session."""

    arrived: dict[str, asyncio.Event] = field(default_factory=lambda: defaultdict(asyncio.Event))
    placed: dict[str, asyncio.Event] = field(default_factory=lambda: defaultdict(asyncio.Event))
    free: dict[str, asyncio.Future[float]] = field(default_factory=dict)
    steps: dict[str, list[tuple[float, int]]] = field(default_factory=lambda: defaultdict(list))
    places: dict[str, str] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    held: dict[int, str] = field(default_factory=dict)

    def see(self, event: Event) -> None:
        """Take note of what happened to a request."""
        match event:
            case Arrived(ticket):
                self.names[ticket.id] = ticket.ask.session
                self.arrived[ticket.ask.session].set()
            case Abandoned(ticket_id, held_id):
                self.held[held_id] = self.names.pop(ticket_id)
            case Finished(ticket_id):
                name = self.held.pop(ticket_id, "") or self.names.pop(ticket_id, "")
                if not name:
                    return
                now = time.monotonic()
                if name in self.places:
                    self.steps[self.places[name]].append((now, -1))
                if name in self.free and not self.free[name].done():
                    self.free[name].set_result(now)

    def place(self, ticket_id: int, replica: str) -> None:
        """Take note of where a request runs."""
        name = self.names[ticket_id]
        self.places[name] = replica
        self.steps[replica].append((time.monotonic(), 1))
        self.placed[name].set()

    def expect(self, name: str) -> asyncio.Future[float]:
        """Return what is set when a request gives its slot back."""
        return self.free.setdefault(name, asyncio.get_running_loop().create_future())


class Models:
    """A model that serves, and one that is being loaded for ever."""

    def models(self) -> tuple[ModelView, ...]:
        """Return both."""
        return tuple(
            ModelView(n, (), 2, 2, SLOTS, 8192, ModelState.READY, demo=False, created=1, is_affine=True)
            for n in (WARM, COLD)
        )


@dataclass
class DataPath:
    """relayd's data path, and what was seen of it."""

    port: int
    scheduler: Scheduler
    dispatcher: Dispatcher
    pools: Pools
    watch: Watch

    @property
    def is_busy(self) -> bool:
        """Whether a request waits, runs, or keeps its slot."""
        return bool(self.scheduler.running() or self.scheduler.waiting() or self.dispatcher.open_count)

    def counters(self) -> str:
        """Return what has to be at zero in the end."""
        return f"{self.scheduler!r} {self.dispatcher!r} {self.pools!r}"


@asynccontextmanager
async def serving(found: list[Engine]) -> AsyncIterator[DataPath]:
    """Open the data path in front of engines."""
    clock, watch = SystemClock(), Watch()
    scheduler = Scheduler(depth=256)
    actor = Actor(scheduler, clock)

    def post(event: Event) -> None:
        watch.see(event)
        actor.post(event)

    dispatcher = Dispatcher(post, clock, max_wait_seconds=600)

    def placed(effect: Dispatch) -> None:
        watch.place(effect.ticket_id, effect.endpoint.replica)
        dispatcher.on_answer(effect)

    actor.start(Executors(placed, dispatcher.on_answer, lambda _: None))
    exchanges = Exchanges(clock)
    pools = Pools(infer_batch=lambda one: inferred_batch(exchanges.newest(), one, BATCH))
    proxy = Proxy(pools, write_stall_seconds=60, on_fault=lambda *fault: print("fault:", *fault))
    for one in found:
        post(Ready(one.name, WARM, SLOTS, one.endpoint, 0.0))
    post(Expected(f"{COLD}#0", COLD))
    inference = Inference(Models(), dispatcher, proxy, exchanges, max_body=mib(16), body_seconds=30)
    door = Door(
        openai_routes(inference),
        make_policy("127.0.0.1", keyed=False),
        Keyring(FailedKeys(clock)),
        OPENAI,
    )
    listener = await listen(behind(lambda: door), "127.0.0.1", 0, dialect=OPENAI, door=lambda: door)
    try:
        yield DataPath(listener.addresses[0][1], scheduler, dispatcher, pools, watch)
    finally:
        await listener.close(5)
        pools.close()
        actor.close()


class Client:
    """Sends requests, and leaves them."""

    def __init__(self, path: DataPath, dice: random.Random) -> None:
        self._path = path
        self._dice = dice
        self._count = 0

    async def send(self, *, model: str = WARM, stream: bool, words: int = 1, tokens: int) -> "Request":
        """Send a request for a chat whose prompt no cache knows."""
        self._count += 1
        name = f"s{self._count}"
        text = " ".join(str(self._dice.random())[2:8] for _ in range(words))
        members = {"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": tokens}
        body = json.dumps({**members, "ignore_eos": True, "stream": stream}).encode()
        freed = self._path.watch.expect(name)
        reader, writer = await asyncio.open_connection("127.0.0.1", self._path.port)
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nX-Session-Id: {name}\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        return Request(name, reader, writer, freed)


@dataclass
class Request:
    """One that was sent."""

    name: str
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    freed: asyncio.Future[float]

    async def finish(self) -> None:
        """Read a stream to its end."""
        with contextlib.closing(self.writer):
            while not (await self.reader.readline()).startswith(b"0\r\n"):
                pass

    async def leave(self, *, reset: bool) -> float:
        """Leave it, and return after how many seconds its slot was free."""
        left = time.monotonic()
        if reset:
            linger = struct.pack("ii", 1, 0)
            self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.writer.transport.abort()
        else:
            self.writer.close()
        free = await asyncio.wait_for(self.freed, 120)
        return free - left


async def abort(path: DataPath, client: Client, stage: str, dice: random.Random) -> tuple[bool, float]:
    """Leave a request at a random moment of a stage; return whether it was a stream, and the seconds."""
    stream, watch = dice.random() < 0.5, path.watch
    words = 450 if stage == "prefill" else 1
    request = await client.send(
        model=COLD if stage == "loading" else WARM, stream=stream, words=words, tokens=1500
    )
    if stage in {"queued", "loading"}:
        await watch.arrived[request.name].wait()
        await asyncio.sleep(dice.random() * 0.3)
    else:
        await watch.placed[request.name].wait()
        if stage == "decode" and stream:
            await request.reader.readuntil(b"data: ")
        await asyncio.sleep(dice.random() + (0.5 if stage == "decode" and not stream else 0))
    return stream, await request.leave(reset=dice.random() < 0.5)


async def keep_busy(client: Client) -> None:
    """Run one stream after another."""
    while True:
        await (await client.send(stream=True, tokens=3000)).finish()


@asynccontextmanager
async def neighbours(client: Client, count: int) -> AsyncIterator[None]:
    """Keep that many slots busy."""
    tasks = [asyncio.ensure_future(keep_busy(client)) for _ in range(count)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def run(engine: Path, aborts: int, seed: int, stages: Sequence[str], *, quiet: bool) -> int:
    """Measure, print a table, and return the exit status."""
    dice, rows, ends = random.Random(seed), defaultdict[tuple[str, bool], list[float]](list), {}
    with engines(engine) as found:
        async with serving(found) as path:
            client = Client(path, dice)
            for _ in range(2 * len(found)):  # as any replica has answered that serves for a while
                await (await client.send(stream=True, words=20, tokens=4)).finish()
            for stage in stages:
                await _measure(path, client, stage, aborts // len(stages), dice, rows, quiet=quiet)
                await _until_zero(path, found)
                ends[stage] = time.monotonic()
            batches = [path.pools.batch_seconds(one.endpoint) for one in found]
            return _report(rows, path, found, batches, ends)


async def _measure(
    path: DataPath, client: Client, stage: str, count: int, dice: random.Random,
    rows: dict[tuple[str, bool], list[float]], *, quiet: bool,
) -> None:  # fmt: skip
    slots = SLOTS * REPLICAS
    busy = slots if stage == "queued" else 0 if quiet else REPLICAS
    at_once = asyncio.Semaphore(1 if quiet else 4 if stage in {"queued", "loading"} else slots - busy)

    async def one() -> None:
        async with at_once:
            stream, seconds = await abort(path, client, stage, dice)
            rows[stage, stream].append(seconds)

    async with neighbours(client, busy):
        await asyncio.sleep(1)
        await asyncio.gather(*(one() for _ in range(count)))


async def _until_zero(path: DataPath, found: list[Engine]) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(120):
            while path.is_busy or any(one.works for one in found):
                await asyncio.sleep(0.05)


def _report(
    rows: dict[tuple[str, bool], list[float]],
    path: DataPath,
    found: list[Engine],
    batches: list[float],
    ends: dict[str, float],
) -> int:
    print(f"{'':24} aborts    p50 s    p99 s    max s")
    for (stage, stream), seconds in sorted(rows.items(), key=lambda row: STAGES.index(row[0][0])):
        label = f"{stage}, {'stream' if stream else 'plain'}"
        tail = (ranked := sorted(seconds))[min(len(seconds) - 1, int(0.99 * len(seconds)))]
        print(f"{label:24} {len(ranked):6} {statistics.median(ranked):8.3f} {tail:8.3f} {ranked[-1]:8.3f}")
    print(f"learned batch of {BATCH} tokens: {', '.join(f'{one:.3f} s' for one in batches)}")
    left = [each for one in found for each in orphans(one.steps, path.watch.steps[one.name])]
    for stage, end in ends.items():
        of_stage = [seconds for began, seconds in left if began <= end]
        left = [(began, seconds) for began, seconds in left if began > end]
        print(
            f"orphan slot-seconds, {stage}: {sum(of_stage):.2f} in {len(of_stage)} times, "
            f"longest {max(of_stage, default=0.0):.3f}"
        )
    works = sum(one.works for one in found)
    print(f"requests that an engine still works on: {works}")
    print(path.counters())
    return 1 if works or path.is_busy else 0


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description="Leave requests at random stages.")
    parser.add_argument("--aborts", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quiet", action="store_true", help="nothing runs beside the request that is left")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES)
    options = parser.parse_args()
    with lend_installer() as installer:
        engine = ensure(installer, cache=cache_dir() / "engine").path
    sys.exit(uvloop.run(run(engine, options.aborts, options.seed, options.stages, quiet=options.quiet)))


if __name__ == "__main__":
    main()

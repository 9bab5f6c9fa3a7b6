"""`python -m tests.soak --seed N --minutes 10`: real replicas under load, and every fault at random.

Exits with 1 if an invariant is broken.
"""

import argparse
import asyncio
import random
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from relayd.errors import DaemonError
from tests.soak import measure, report
from tests.soak.certain import answer
from tests.soak.clients import WHOLE, Question, ask
from tests.soak.daemon_faults import DaemonFaults
from tests.soak.injector import RECOVERY_SECONDS
from tests.soak.load import Load
from tests.soak.poison import prepare
from tests.soak.replica_faults import ReplicaFaults
from tests.soak.timeline import Timeline
from tests.soak.watch import Watch
from tests.soak.world import FAST, World, plans

_ROUND_SECONDS = 45.0

_LAST_TOKENS = 80
"""Of the answer that a stop has to wait for, within its 8 s: 0.4 s without other work, and 20 times that."""


def main() -> int:
    """Run and return the exit status."""
    options = _options().parse_args()
    timeline = Timeline()
    timeline.say(f"seed {options.seed}, {options.minutes:g} minutes, replicas {options.replicas}")
    try:
        asyncio.run(_soak(options, timeline))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130
    return 1 if timeline.broken else 0


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="of everything that is chosen")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--replicas", default="2,2,1", help="of each model; the first two are slow")
    parser.add_argument("--clients", type=int, default=12, help="that ask at a time")
    parser.add_argument("--only", default="", help="inject only these faults, named like their functions")
    parser.add_argument("--measure", action="store_true", help="measure instead, at default intervals")
    return parser


async def _soak(options: argparse.Namespace, timeline: Timeline) -> None:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    loop.set_default_executor(ThreadPoolExecutor(32))
    replicas = tuple(int(count) for count in options.replicas.split(","))
    world = World(plans(replicas), timeline, "" if options.measure else FAST)
    try:
        await world.start()
        assert await world.settled(60), "not all replicas came up"
        if options.measure:
            await measure.run(world, timeline, options.minutes)
        else:
            await _rounds(world, timeline, options)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        world.close()


async def _rounds(world: World, timeline: Timeline, options: argparse.Namespace) -> None:
    load = Load(world, timeline, random.Random(options.seed))
    watch = Watch(world, timeline)
    only = set(filter(None, options.only.split(",")))
    lanes = (
        ReplicaFaults(world, timeline, random.Random(options.seed + 1_000)),
        DaemonFaults(world, timeline, random.Random(options.seed + 2_000)),
    )
    try:
        prepare([*(model.name for model in world.models), "extra"])
        watch.start()
        load.start(options.clients)
        seconds = options.minutes * 60
        while seconds > 0:
            await asyncio.gather(*(lane.run(min(seconds, _ROUND_SECONDS), only) for lane in lanes))
            seconds -= _ROUND_SECONDS
            if not await world.settled(RECOVERY_SECONDS):
                timeline.violate(f"not all ready after a round: {await _states(world)}")
        await _end(world, timeline, load, watch)
    finally:
        sys.stdout.writelines(f"{line}\n" for line in report.lines(world, timeline, load, watch))


async def _end(world: World, timeline: Timeline, load: Load, watch: Watch) -> None:
    """Bring everything down as an operator would, and look for what is left."""
    await load.stop()
    await asyncio.sleep(5)
    status = await world.status()
    busy = [(one["name"], one["running"], one["waiting"]) for one in (status or {})["models"]]
    if any(running or waiting for _, running, waiting in busy):
        timeline.violate(f"requests are counted that nobody sent: {busy}")
    await watch.stop()
    await _stop(world, timeline)
    if ended := await world.ended():
        timeline.violate(f"the last daemon ended with status {ended}")
    left = world.leftovers()
    timeline.say(f"left behind: {', '.join(left) or 'nothing'}")
    for one in left:
        timeline.violate(f"left behind: {one}")


async def _stop(world: World, timeline: Timeline) -> None:
    """Stop it while a request runs, and have others ask for the opposite meanwhile."""
    question = Question("slow", "!", _LAST_TOKENS, stream=True, chat=False)
    last = asyncio.create_task(ask(world.port, question, answer("!", _LAST_TOKENS)))
    await asyncio.sleep(0.2)
    stopping = asyncio.create_task(asyncio.to_thread(world.run, "stop"))
    while (status := await world.status()) and not status["stopping"]:
        await asyncio.sleep(0.02)
    world.turn_a_knob("extra")
    world.write_config()
    for verb in ("start", "reload"):
        try:
            await world.command(verb)
            timeline.violate(f"{verb} was carried out by a daemon that is stopping")
        except DaemonError as error:
            timeline.say(f"{verb} while it stops: {error.message}")
    if (failure := (await last)[0]) != WHOLE:
        timeline.violate(f"the request that was to be finished before the stop: {failure}")
    try:
        stopped = await stopping
        if stopped.returncode:
            timeline.violate(f"relayd stop ended with {stopped.returncode}: {stopped.stderr}")
    except subprocess.TimeoutExpired:
        timeline.violate("relayd stop did not end")


async def _states(world: World) -> dict[str, str]:
    return {name: one["state"] for name, one in (await world.replicas()).items()}


if __name__ == "__main__":
    sys.exit(main())

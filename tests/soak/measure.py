"""How fast is a fleet back, and what does it cost to keep one idle?"""

import asyncio
import os
import signal
import statistics
from collections.abc import Awaitable, Callable

import psutil

from relayd.units import show_bytes
from tests.soak.clients import Question, ask
from tests.soak.timeline import Timeline
from tests.soak.world import World

_TIMES = 4
"""As many as there are replicas: each is killed once, for every further restart waits longer."""
_QUESTION = Question("slow", "x", 1, stream=True, chat=False)


async def run(world: World, timeline: Timeline, minutes: float) -> None:
    """Measure recovery some times each, then idling for a time, and print it."""
    for name, one in (
        ("SIGKILL of the daemon to the first answer of an adopted replica", _daemon),
        ("  of which the next daemon needs to listen", _listening),
        ("SIGKILL of a replica to READY", _child),
    ):
        timeline.say(f"{name}: {await _several(world, one)}")
    await asyncio.sleep(5)
    await _idle(world, timeline, minutes * 60)


async def _several(world: World, measure: Callable[[World], Awaitable[float]]) -> str:
    seconds = [await measure(world) for _ in range(_TIMES)]
    return (
        f"median {statistics.median(seconds):.2f} s of {_TIMES}, {min(seconds):.2f} to {max(seconds):.2f} s"
    )


async def _daemon(world: World) -> float:
    clock = asyncio.get_running_loop().time
    before = set(world.tagged())
    began = await _kill_daemon(world)
    await world.start()
    while (await ask(world.port, _QUESTION, ""))[0] in (
        "connection refused",
        "connection closed without an answer",
    ):
        await asyncio.sleep(0.005)
    seconds = clock() - began
    assert before == set(world.tagged()), "a replica was not adopted"
    return seconds


async def _listening(world: World) -> float:
    began = await _kill_daemon(world)
    await world.start()
    seconds = asyncio.get_running_loop().time() - began
    await world.settled(30)
    return seconds


async def _kill_daemon(world: World) -> float:
    assert world.daemon is not None
    began = asyncio.get_running_loop().time()
    world.daemon.process.kill()
    await world.ended()
    return began


async def _child(world: World) -> float:
    clock = asyncio.get_running_loop().time
    replicas = await world.replicas()
    name = next(name for name, one in replicas.items() if not one["restarts"])
    victim = replicas[name]["pid"]
    began = clock()
    os.kill(victim, signal.SIGKILL)
    while (one := (await world.replicas())[name])["state"] != "ready" or one["pid"] == victim:
        await asyncio.sleep(0.005)
    return clock() - began


async def _idle(world: World, timeline: Timeline, seconds: float) -> None:
    assert world.daemon is not None
    process = psutil.Process(world.daemon.process.pid)
    before, used = process.memory_info().rss, sum(process.cpu_times()[:2])
    descriptors = process.num_fds()
    await asyncio.sleep(seconds)
    share = (sum(process.cpu_times()[:2]) - used) / seconds
    after = process.memory_info().rss
    ready = [one["state"] for one in (await world.replicas()).values()].count("ready")
    timeline.say(
        f"idle for {seconds:.0f} s with {ready} ready replicas: {share:.2%} of a core, "
        f"memory {show_bytes(before)} to {show_bytes(after)}, "
        f"descriptors {descriptors} to {process.num_fds()}"
    )

"""What does every fault need: a victim, a command, and patience until the fleet is whole again?"""

import asyncio
import os
import random
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from relayd.errors import DaemonError
from tests.soak import timeline as kinds
from tests.soak.timeline import Timeline
from tests.soak.world import World

RECOVERY_SECONDS = 30.0
"""Longest time from a fault to a replica that is ready again."""

Fault = Callable[[], Awaitable[str]]
"""Does something to the fleet, waits for what comes of it, and tells that in a line."""


class Injector:
    """One lane of faults, which come one after the other.

    Args:
        world: Whom it is done to.
        timeline: Where it is noted.
        chance: Chooses.
    """

    def __init__(self, world: World, timeline: Timeline, chance: random.Random) -> None:
        self.world = world
        self.timeline = timeline
        self.chance = chance
        self._bag: list[Fault] = []

    def faults(self) -> list[Fault]:
        """Return what goes into the bag, some of it more than once."""
        return []

    async def run(self, seconds: float, only: set[str]) -> None:
        """Inject faults for a time, from a bag that is shuffled anew when it is empty."""
        clock = asyncio.get_running_loop().time
        until = clock() + seconds
        while clock() < until:
            if not self._bag:
                chosen = [fault for fault in self.faults() if not only or fault.__name__ in only]
                self._bag = self.chance.sample(chosen, len(chosen))
            if not self._bag:
                return
            fault = self._bag.pop()
            told = await fault()
            self.timeline.faults[fault.__name__] += 1
            self.timeline.say(f"{fault.__name__}: {told}")
            await asyncio.sleep(self.chance.uniform(0.2, 2))

    def choose(self) -> tuple[int, str]:
        """Return a living replica: its pid and its name."""
        living = sorted(self.world.tagged().items())
        return self.chance.choice(living) if living else (0, "none#0")

    async def command(self, verb: str, **arguments: object) -> dict[str, Any] | None:
        """Send a command; one that fails for want of resources is sent again until it succeeds."""
        clock = asyncio.get_running_loop().time
        began, error = clock(), ""
        while clock() - began < RECOVERY_SECONDS:
            try:
                return await self.world.command(verb, **arguments)
            except DaemonError as refusal:
                error = refusal.message
            met = set(self.timeline.in_force("", began, clock()))
            if not met & {kinds.NO_DESCRIPTORS, kinds.DISK_FULL}:
                break
            await asyncio.sleep(0.5)
        self.timeline.violate(f"{verb} {arguments} failed: {error}")
        return None

    async def replaced(self, replica: str, pid: int) -> str:
        """Wait for a successor that is ready, and return how long that took."""
        clock = asyncio.get_running_loop().time
        began = clock()
        while clock() - began < RECOVERY_SECONDS:
            replicas = await self.world.replicas()
            if replicas and replica not in replicas:
                return ", which is no longer wanted"
            one = replicas.get(replica, {"state": "", "pid": pid})
            if one["state"] in ("ready", "stopped") and one["pid"] != pid:
                return f", {one['state']} after {clock() - began:.2f} s"
            await asyncio.sleep(0.05)
        known = {name: one.get(name) for name in ("state", "pid", "incarnation", "restarts", "last_exit")}
        self.timeline.violate(f"{replica} was not replaced within {RECOVERY_SECONDS:g} s: {known}")
        return ", not replaced"

    async def recovered(self, since: str, *models: str) -> None:
        if not await self.world.settled(RECOVERY_SECONDS, *models):
            found = {
                name: one["state"] if one["state"] == "ready" else (one["state"], one["last_exit"])
                for name, one in (await self.world.replicas()).items()
            }
            self.timeline.violate(f"not all ready {RECOVERY_SECONDS:g} s after {since}: {found}")


def model_of(replica: str) -> str:
    return replica.rpartition("#")[0]


def send(pid: int, number: signal.Signals) -> None:
    if pid:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def outcome_of(answer: dict[str, Any] | None) -> str:
    if isinstance(answer, dict) and isinstance(answer.get("replicas"), dict):
        return ", ".join(f"{name} {state}" for name, state in answer["replicas"].items()) or "nothing to do"
    return "refused"

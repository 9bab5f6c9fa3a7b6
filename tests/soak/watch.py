"""What may never happen, looked for all the time: a replica that runs twice, a daemon that ends unasked."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import psutil

from tests.soak.timeline import MODEL_STOPPED, Timeline
from tests.soak.world import World

_TWICE_SECONDS = 0.03
_STATUS_SECONDS = 0.15
_FIGURES_SECONDS = 1.0


@dataclass(slots=True)
class Figures:
    """Memory and descriptors of one daemon over its life."""

    pid: int
    began: float
    samples: list[tuple[float, int, int]] = field(default_factory=list)


@dataclass(slots=True)
class Watch:
    """Samples a world until it is told to stop."""

    world: World
    timeline: Timeline
    looks: int = 0
    figures: list[Figures] = field(default_factory=list)
    outages: dict[str, tuple[float, float, str]] = field(default_factory=dict)
    stopped_outages: dict[str, float] = field(default_factory=dict)
    _tasks: list["asyncio.Task[None]"] = field(default_factory=list)
    _dark: dict[str, float] = field(default_factory=dict)

    def start(self) -> None:
        """Begin to look."""
        for look in (self._twice(), self._readiness(), self._daemon()):
            self._tasks.append(asyncio.create_task(look))

    async def stop(self) -> None:
        """Look no more; a look that failed fails here."""
        for task in self._tasks:
            task.cancel()
        for outcome in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome

    async def _twice(self) -> None:
        known: set[tuple[int, ...]] = set()
        while True:
            self.looks += 1
            for replica, pids in self._doubles():
                if pids not in known:
                    known.add(pids)
                    self.timeline.violate(f"{replica} runs {len(pids)} times: pids {pids}")
            await asyncio.sleep(_TWICE_SECONDS)

    def _doubles(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        replicas: defaultdict[str, list[int]] = defaultdict(list)
        for pid, replica in self.world.tagged().items():
            replicas[replica].append(pid)
        for replica, pids in replicas.items():
            if len(pids) > 1:
                # Not one moment but many files are read: only who is still there now counts.
                now = self.world.tagged()
                alive = tuple(sorted(pid for pid in pids if now.get(pid) == replica))
                if len(alive) > 1:
                    yield replica, alive

    async def _readiness(self) -> None:
        while True:
            replicas = await self.world.replicas()
            now = time.monotonic()
            for model in self.world.models:
                states = [one["state"] for name, one in replicas.items() if name.startswith(f"{model.name}#")]
                if "ready" not in states:
                    self._dark.setdefault(model.name, now)
                elif model.name in self._dark:
                    self._note_outage(model.name, self._dark.pop(model.name), now)
            await asyncio.sleep(_STATUS_SECONDS)

    def _note_outage(self, model: str, began: float, ended: float) -> None:
        causes = self.timeline.in_force(model, began - 1, ended)
        length = ended - began
        if MODEL_STOPPED in causes:
            self.stopped_outages[model] = max(length, self.stopped_outages.get(model, 0))
        elif length > self.outages.get(model, (0, 0, ""))[0]:
            self.outages[model] = (length, began - self.timeline.started, ", ".join(causes) or "no fault")

    async def _daemon(self) -> None:
        while True:
            daemon = self.world.daemon
            if daemon is not None:
                if daemon.process.poll() is not None:
                    status = await self.world.ended()
                    self.timeline.violate(
                        f"the daemon ended by itself with status {status}: {self.world.stderr[-5:]}"
                    )
                    await self.world.start()
                else:
                    self._sample(daemon.process.pid)
            await asyncio.sleep(_FIGURES_SECONDS)

    def _sample(self, pid: int) -> None:
        now = time.monotonic() - self.timeline.started
        if not self.figures or self.figures[-1].pid != pid:
            self.figures.append(Figures(pid, now))
        try:
            process = psutil.Process(pid)
            self.figures[-1].samples.append((now, process.memory_info().rss, process.num_fds()))
        except psutil.Error:
            return

"""Which replicas shall run, and how does one plan follow another?"""

import asyncio
from collections import defaultdict
from collections.abc import Container, Iterable, Sequence
from typing import Protocol

from relayd.errors import ModelNotFoundError
from relayd.planner import Changes, Planned, ReplicaSpec
from relayd.supervisor.dependencies import Dependencies
from relayd.supervisor.replica import Replica
from relayd.supervisor.state import SETTLED, State
from relayd.supervisor.status import Settings, Status


class HasReplica(Protocol):
    """Names a replica, as the scheduler's effects do."""

    @property
    def replica(self) -> str:
        """Its name, `MODEL#N`."""
        ...


class Fleet:
    """Every replica of this daemon.

    Args:
        plan: What shall run.
        dependencies: What the replicas touch.
        settings: Every interval.
    """

    def __init__(self, plan: Iterable[Planned], dependencies: Dependencies, settings: Settings) -> None:
        self._dependencies = dependencies
        self._settings = settings
        self._replicas = {planned.name: self._replica(planned) for planned in plan}

    @property
    def drain_seconds(self) -> float:
        """How long requests may take to finish before a stop, where nobody says otherwise."""
        return self._settings.replicas.drain_seconds

    @property
    def plan(self) -> tuple[Planned, ...]:
        """What every replica is meant to be; it may be smaller to fit."""
        return tuple(replica.wanted for replica in self._replicas.values())

    def adopt(self) -> dict[str, int]:
        """Take over what an earlier daemon left running, and return the pids by replica."""
        adopted = [replica for replica in self._replicas.values() if replica.adopt()]
        return {replica.spec.name: pid for replica in adopted if (pid := replica.status().pid)}

    def start(self, leave: Container[str] = ()) -> None:
        """Bring every replica up that is not, but for some."""
        for name, replica in self._replicas.items():
            if name not in leave and not replica.wanted.cold:
                replica.start()

    def release(self) -> None:
        """Leave every process as it is to another daemon."""
        for replica in self._replicas.values():
            replica.release()

    def select(self, target: str | None) -> list[Replica]:
        """Return the replicas that `MODEL` or `MODEL#N` names; None names all.

        Raises:
            ModelNotFoundError: Nothing has that name.
        """
        chosen = [
            replica for replica in self._replicas.values() if target is None or _names(target, replica.spec)
        ]
        if target is not None and not chosen:
            known = ", ".join(sorted(self._replicas)) or "none"
            raise ModelNotFoundError(
                f"no model or replica is called {target!r}", remedy=f"there are: {known}"
            )
        return chosen

    def on_idle(self, effect: HasReplica) -> None:
        """Take note that a draining replica has nothing left to do."""
        if replica := self._replicas.get(effect.replica):
            replica.idle()

    async def stop(self, replicas: Sequence[Replica], drain_timeout: float | None) -> None:
        """Bring replicas down, all at once, and wait until they are.

        Args:
            replicas: Which ones.
            drain_timeout: Seconds that their requests may take to finish; None waits for ever.
        """
        for replica in replicas:
            replica.stop(drain_timeout)
        await asyncio.gather(*(replica.down() for replica in replicas))

    async def restart(self, replicas: Sequence[Replica], *, rolling: bool = False) -> dict[str, State]:
        """Start replicas anew, and return how each came out.

        Args:
            replicas: Which ones.
            rolling: One after the other within a model, and no further once one does not come
                up; else all at once.
        """
        if rolling:
            return await self._roll([(replica, None) for replica in replicas])
        for replica in replicas:
            replica.restart()
        return {replica.spec.name: await replica.reached(*SETTLED) for replica in replicas}

    async def apply(self, changes: Changes) -> dict[str, State]:
        """Go from the present plan to another, and return how each new or changed replica came out.

        What is unchanged is not touched. What changed follows one by one within a model, so that
        the others of that model serve meanwhile.
        """
        removed = [self._replicas[planned.name] for planned in changes.removed]
        added = [self._replica(planned) for planned in changes.added]
        self._replicas |= {replica.spec.name: replica for replica in added}
        warmed = [planned for planned in changes.unchanged if self._replicas[planned.name].wanted.cold]
        changed = [
            (self._replicas[one.name], one)
            for one in (*(change.planned for change in changes.changed), *warmed)
            if not one.cold
        ]
        cooled = [change.planned for change in changes.changed if change.planned.cold]
        for replica in added:
            if replica.wanted.cold:
                self._dependencies.listener.gone(replica.spec.name, replica.wanted.cold)
            else:
                replica.start()
        for planned in cooled:
            self._replicas[planned.name].wanted = planned
        rolled, *_ = await asyncio.gather(
            self._roll(changed),
            self._remove(removed),
            self.stop([self._replicas[planned.name] for planned in cooled], self.drain_seconds),
        )
        return rolled | {replica.spec.name: await replica.reached(*SETTLED) for replica in added}

    def configure(self, settings: Settings) -> None:
        """Take new intervals, for what begins from now on."""
        self._settings = settings
        for replica in self._replicas.values():
            replica.configure(settings)

    def kill(self) -> None:
        """Send SIGKILL to every process group now."""
        for replica in self._replicas.values():
            replica.kill()

    def statuses(self) -> list[Status]:
        """Return every replica as it is now, in the order of the plan."""
        return [replica.status() for replica in self._replicas.values()]

    def _replica(self, planned: Planned) -> Replica:
        return Replica(planned, self._dependencies, self._settings)

    async def _remove(self, replicas: Sequence[Replica]) -> None:
        await self.stop(replicas, self.drain_seconds)
        for replica in replicas:
            del self._replicas[replica.spec.name]
            self._dependencies.listener.forgotten(replica.spec.name)

    async def _roll(self, wanted: Sequence[tuple[Replica, Planned | None]]) -> dict[str, State]:
        models: defaultdict[str, list[tuple[Replica, Planned | None]]] = defaultdict(list)
        for replica, planned in wanted:
            models[replica.spec.model].append((replica, planned))
        outcomes = await asyncio.gather(*map(_one_by_one, models.values()))
        return {name: state for outcome in outcomes for name, state in outcome.items()}


async def _one_by_one(wanted: Sequence[tuple[Replica, Planned | None]]) -> dict[str, State]:
    outcome: dict[str, State] = {}
    for replica, planned in wanted:
        replica.restart(planned)
        outcome[replica.spec.name] = state = await replica.reached(*SETTLED)
        if state is not State.READY:
            break
    return outcome


def _names(target: str, spec: ReplicaSpec) -> bool:
    return target in (spec.name, spec.model)

"""Every replica of this daemon, and how one plan follows another."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence

from relayd.errors import ModelNotFoundError
from relayd.names import ReplicaName
from relayd.planner import Changes, Planned, ReplicaSpec
from relayd.supervisor.dependencies import Dependencies
from relayd.supervisor.replica import Replica
from relayd.supervisor.sizing import line_of
from relayd.supervisor.snapshot import Snapshot
from relayd.supervisor.state import COMING_UP, SETTLED, State
from relayd.supervisor.status import Settings, Status

_CHANGING = COMING_UP | {State.DRAINING, State.STOPPING, State.EXITED}
"""States of a replica that is about to serve, or to serve no more."""


_CALM = frozenset(State) - {State.DRAINING, State.STOPPING, State.EXITED}
"""States of a replica that another daemon can take over."""

ON_DEMAND = "it is loaded when a client asks for it"
"""Why a replica is not in memory that nothing has asked for yet."""


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

    def __repr__(self) -> str:
        states = Counter(replica.state.value for replica in self._replicas.values())
        return f"<Fleet: {', '.join(f'{count} {state}' for state, count in states.items()) or 'no replica'}>"

    @property
    def drain_seconds(self) -> float:
        """How long requests may take to finish before a stop, unless a command gives another time."""
        return self._settings.replicas.drain_seconds

    @property
    def plan(self) -> tuple[Planned, ...]:
        """What every replica is meant to be; it may be smaller to fit."""
        return tuple(replica.wanted for replica in self._replicas.values())

    def pid(self, name: str) -> int | None:
        """Return the process of a replica, `MODEL#N`; None while there is none."""
        replica = self._replicas.get(name)
        return replica.status().pid if replica else None

    def incarnation(self, name: str) -> int:
        """Return how many processes a replica, `MODEL#N`, has had; 0 for one that is not known."""
        replica = self._replicas.get(name)
        return replica.status().incarnation if replica else 0

    def adopt(self) -> dict[str, int]:
        """Take over what an earlier daemon left running and has learnt; return the pids by replica."""
        known = self._dependencies.reductions.read()
        for name, replica in self._replicas.items():
            replica.recall(known.get(name))
        adopted = [replica for replica in self._replicas.values() if replica.adopt()]
        return {replica.name: pid for replica in adopted if (pid := replica.status().pid)}

    def load_cold(self, name: str) -> None:
        """Bring a replica up that is cold, `MODEL#N`; nothing if there is none, or it is not cold."""
        if replica := self._replicas.get(name):
            replica.load()

    def load(self, leave: Container[str] = ()) -> None:
        """Bring every cold replica up that starts with the daemon, but for some."""
        for name, replica in self._replicas.items():
            if name in leave or replica.state is not State.COLD:
                continue
            if reason := _why_cold(replica.wanted):
                replica.unload(reason, 0)
            else:
                replica.load()

    @property
    def given_up(self) -> frozenset[str]:
        """Models of which every replica is given up: none holds memory or is tried again."""
        up = {one.spec.model for one in self._replicas.values() if one.state is not State.FATAL}
        return frozenset(one.spec.model for one in self._replicas.values()) - up

    def snapshots(self) -> dict[str, Snapshot]:
        """Return what is known of every replica beyond its process, by name."""
        return {name: replica.snapshot() for name, replica in self._replicas.items()}

    def resume(self, known: Mapping[str, Snapshot]) -> None:
        """Continue with what another daemon knows of replicas."""
        for name, snapshot in known.items():
            if replica := self._replicas.get(name):
                replica.resume(snapshot)

    async def calm(self) -> None:
        """Wait until no replica is about to end, or has ended for a reason that is not known yet."""
        for replica in tuple(self._replicas.values()):
            await replica.reached(*_CALM)

    async def launched(self) -> None:
        """Wait until every start that is under way has its process, and its record for the next daemon."""
        while work := [job for replica in self._replicas.values() if (job := replica.launch_work)]:
            await asyncio.wait(work)

    def unload(self, name: str, reason: str, *, at_once: bool = False) -> None:
        """Bring a replica down so that a request may bring it back; nothing if there is none.

        Args:
            name: `MODEL#N`.
            reason: Why, for clients that ask for the model meanwhile.
            at_once: Without the time that its requests may take to finish.
        """
        if replica := self._replicas.get(name):
            replica.unload(reason, 0 if at_once else self.drain_seconds)

    def renew(self, name: str, reason: str) -> None:
        """Replace the process of a replica after what it works on, one at a time within a model.

        While another of its model comes up or goes down nothing happens: what is wrong will be seen again.

        Args:
            name: `MODEL#N`.
            reason: What is wrong with it, for the journal.
        """
        if replica := self._replicas.get(name):
            others = (one for one in self._replicas.values() if one is not replica)
            if not any(one.state in _CHANGING and one.wanted.model == replica.wanted.model for one in others):
                replica.renew(reason)

    def suspect(self, name: str) -> None:
        """Find out whether the inference thread of a replica stands still, and if so end it.

        For a replica, `MODEL#N`, that owes the end of a request while none of its connections gets a byte.
        """
        if replica := self._replicas.get(name):
            replica.suspect()

    def release(self) -> None:
        """Leave every process as it is to another daemon."""
        for replica in self._replicas.values():
            replica.release()

    def select(self, target: str | None) -> list[Replica]:
        """Return the replicas that `MODEL` or `MODEL#N` names; None names all.

        Raises:
            ModelNotFoundError: Nothing here has that name.
        """
        chosen = [
            replica for replica in self._replicas.values() if target is None or _covers(target, replica.spec)
        ]
        if target is not None and not chosen:
            known = ", ".join(sorted(self._replicas)) or "none"
            raise ModelNotFoundError(
                f"no model or replica is called {target!r}", remedy=f"There are: {known}."
            )
        return chosen

    def idle(self, name: str) -> None:
        """Take note that a draining replica, `MODEL#N`, has nothing left to do."""
        if replica := self._replicas.get(name):
            replica.idle()

    async def stop(self, replicas: Sequence[Replica], drain_timeout: float | None) -> None:
        """Bring replicas down, all at once, and wait until they are.

        Args:
            replicas: Which ones.
            drain_timeout: Seconds that their requests may take to finish; None waits without limit.
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
        return {replica.name: await replica.reached(*SETTLED) for replica in replicas}

    async def apply(self, changes: Changes) -> dict[str, State]:
        """Go from the present plan to another, and return how each new or changed replica came out.

        What is unchanged keeps its process. What changed follows one by one within a model, so that
        the others of that model serve meanwhile; what an operator has stopped, is cold, or was
        given up by the same line, stays so. What is cold for want of a place is loaded where it has one now,
        unless it waits for a request.
        """
        removed = [self._replicas[planned.name] for planned in changes.removed]
        added = [self._replica(planned) for planned in changes.added]
        self._replicas |= {replica.name: replica for replica in added}
        loaded = {replica.name for replica in added}
        for planned in changes.unchanged:
            replica = self._replicas[planned.name]
            loaded |= {replica.name} if replica.wanted.cold or planned.cold else set()
            replica.replan(planned)
        self.load(leave=self._replicas.keys() - loaded)
        rolled, *_ = await asyncio.gather(self._roll(self._replanned(changes)), self._remove(removed))
        return rolled | {replica.name: await replica.reached(*SETTLED) for replica in added}

    def _replanned(self, changes: Changes) -> list[tuple[Replica, Planned | None]]:
        """Give what changed its new plan, and return what has to be started again for it."""
        rolled: list[tuple[Replica, Planned | None]] = []
        for change in changes.changed:
            planned, replica = change.planned, self._replicas[change.planned.name]
            if replica.state is State.FATAL and line_of(planned) == line_of(replica.wanted):
                replica.replan(planned)
                continue
            if planned.cold or replica.state in (State.STOPPED, State.COLD):
                replica.replan(planned)
            else:
                rolled.append((replica, planned))
            if planned.cold:
                replica.unload(planned.cold, self.drain_seconds)
        self.load(leave=self._replicas.keys() - {change.planned.name for change in changes.changed})
        return rolled

    def configure(self, settings: Settings) -> None:
        """Take new intervals, for what begins from now on."""
        self._settings = settings
        for replica in self._replicas.values():
            replica.configure(settings)

    async def abandon(self) -> None:
        """End what was started here, and wait for it: this daemon does not come up.

        What an earlier daemon started stays as it is, for the next one to adopt.
        """
        started = [replica for replica in self._replicas.values() if replica.is_started_here]
        await self.stop(started, 0)

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
            del self._replicas[replica.name]
            self._dependencies.listener.forgotten(replica.name)

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
        outcome[replica.name] = state = await replica.reached(*SETTLED)
        if state is not State.READY:
            break
    return outcome


def _why_cold(planned: Planned) -> str:
    """Return why a replica is not started with the daemon; "" where it is."""
    return planned.cold or (ON_DEMAND if planned.residence.demand else "")


def _covers(target: str, spec: ReplicaSpec) -> bool:
    """Return whether a name means a replica; one that makes no sense means none."""
    try:
        return ReplicaName.parse(target).covers(ReplicaName(spec.model, spec.index))
    except ValueError:
        return False

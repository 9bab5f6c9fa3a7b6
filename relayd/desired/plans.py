"""What becomes of each configured replica: all that start planned together, the others alone."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import msgspec

from relayd.config import Config, Model
from relayd.desired.away import find_away
from relayd.desired.cold import Cold, cold_replicas, with_least
from relayd.desired.confirmed import confirmed_plan
from relayd.desired.fitted import EngineFitted, engine_fitted
from relayd.desired.kept import foreign_plans, kept_plans
from relayd.desired.lines import EngineLine, Line, PlannedLine, read_line, record_of_line
from relayd.desired.ondemand import OnDemand, OnDemandPlanner
from relayd.desired.remembered import RememberedModel, key_of
from relayd.desired.started import (
    doubts,
    engine_notes,
    fitted_replicas,
    further_replicas,
    over,
    placed_replicas,
    remembered,
    remembered_fit,
)
from relayd.desired.threads import shared_threads
from relayd.engine import Engine
from relayd.engine.memory import MemoryProbe
from relayd.gguf.facts import FileRecord
from relayd.hardware import Machine
from relayd.planner import Planned
from relayd.planner.budget import Budget
from relayd.planner.fleet import FleetPlan, Wanted
from relayd.planner.placement import Placement

SIMULATED = "memory is predicted: no engine can be asked on a simulated machine"


@dataclass(frozen=True, slots=True)
class ModelPlans:
    """What becomes of every configured replica.

    Attributes:
        plan: Every replica in the order of the lines, cold ones included.
        cold: Those that are not started with the daemon.
        fleet: Those that are meant to be, as the planner sees them, for people.
        remembered: What a restart plans again.
        notes: What to know, a sentence each.
        unreadable: Why relayd cannot plan the files of models on demand, by name.
        away: Why models cannot be started for want of a file, by name; their replicas are in `plan`.
        files: What files state that were read for this, by path.
    """

    plan: tuple[Planned, ...]
    cold: tuple[Cold, ...]
    fleet: FleetPlan
    remembered: tuple[RememberedModel, ...]
    notes: tuple[str, ...] = ()
    unreadable: Mapping[str, str] = field(default_factory=dict)
    away: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, FileRecord] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelPlanner:
    """Everything that plans of configured models are made from.

    Attributes:
        engine: The llama-server that runs them.
        machine: Where.
        room: What models may take of it.
        probe: Asks the engine about memory; None does not ask.
        remembered: Where models were placed before, by name.
        running: Models of which a replica runs, which keep their places.
        first: Models that come before the others in the choice of a place.
        last: Models that come after the others, as long as their lines are as they were planned before.
        simulated: Whether the machine is none that an engine could be asked on.
        away: Why models cannot be started for want of a file, by name.
        threads: CPU threads of a replica whose line gives none; None shares them among all that are planned.
    """

    engine: Engine
    machine: Machine
    room: Budget
    probe: MemoryProbe | None = None
    remembered: Mapping[str, RememberedModel] = field(default_factory=dict)
    running: Collection[str] = ()
    first: Collection[str] = ()
    last: Collection[str] = ()
    simulated: bool = False
    away: Mapping[str, str] = field(default_factory=dict)
    threads: int | None = None

    def plans(self, config: Config) -> ModelPlans:
        """Return what becomes of every configured replica."""
        return self._beside_away(config) if self.away else self._plans(config)

    def _beside_away(self, config: Config) -> ModelPlans:
        """Return the plan where files of some models are not there.

        The others keep the places that they had beside those. What runs all the same keeps its memory.
        """
        models, room, before = config.model, self.room, self.remembered
        count = sum(one.least_replicas for one in models if one.load == "start")
        threads = shared_threads(count, self.machine) if self.threads is None else self.threads
        away = find_away(models, self.away, before, self.running, self.engine, room, threads)
        for one in away:
            room = one.left(room)
        others = replace(
            self,
            room=room,
            remembered={name: entry for name, entry in before.items() if name not in self.away},
            away={},
            threads=threads,
        )
        here = tuple(model for model in models if model.name not in self.away)
        found = others.plans(msgspec.structs.replace(config, model=here))
        replicas = [*found.plan, *(planned for one in away for planned in one.planned())]
        return replace(
            found,
            plan=tuple(planned for model in models for planned in replicas if planned.model == model.name),
            fleet=replace(found.fleet, before=self.room),
            remembered=(*found.remembered, *(one.remembered for one in away if one.remembered)),
            notes=(*map(str, away), *found.notes),
            away={one.model.name: one.why for one in away},
        )

    def _plans(self, config: Config) -> ModelPlans:
        """Return the plan of models whose files are there."""
        keys = {model.name: key_of(model, self.engine, self.machine) for model in config.model}
        started = [model for model in config.model if not self._is_on_demand(model, keys)]
        lines = {model.name: read_line(model, self.engine, self.room) for model in started}
        ours = [line for line in lines.values() if isinstance(line, PlannedLine)]
        fitted, left = self._with_kept(
            [
                engine_fitted(one, self.engine, self.room)
                for one in lines.values()
                if isinstance(one, EngineLine)
            ],
            keys,
        )
        kept = kept_plans(ours, keys, self.remembered, self.running, left)
        fleet, said = confirmed_plan(self._turns(lines, fitted, keys), kept, self.room, self.probe)
        threads = self._threads(fleet)
        placed = {line.model.name: placed_replicas(line, fleet, said, kept, threads) for line in ours}
        placed |= {one.line.model.name: fitted_replicas(one, fleet, threads) for one in fitted}
        alone = self._alone(config, keys, {name for name, one in placed.items() if one}, lines, threads)
        fleet = with_least(fleet, {name: one.least for name, one in alone.items()})
        planned = [
            one
            for model in config.model
            for one in _replicas(
                placed.get(model.name, ()), lines.get(model.name), alone.get(model.name), fleet
            )
        ]
        cold = {one.name: one for one in cold_replicas(fleet, planned)}
        return ModelPlans(
            plan=tuple(
                replace(one, cold=str(cold[one.name])) if one.name in cold else one for one in planned
            ),
            cold=tuple(cold.values()),
            fleet=fleet,
            remembered=tuple(_remembered(placed, fitted, alone, fleet, keys)),
            notes=(
                *engine_notes(fitted),
                *(note for line in ours for note in line.ignored(self.room)),
                *foreign_plans(ours, keys, self.remembered, self.room),
                *over(fleet),
                *fleet.notes,
                *(doubts(said) if not self.simulated else [SIMULATED] if said else []),
            ),
            unreadable={name: one.unreadable for name, one in alone.items() if one.unreadable},
            files=_files(config, lines, alone),
        )

    def _is_on_demand(self, model: Model, keys: Mapping[str, str]) -> bool:
        """Return whether a model takes no part in the plan of those that are started.

        One that found no place beside them, and was loaded on demand since, stays as it runs.
        """
        entry = self.remembered.get(model.name)
        stays = entry is not None and entry.key == keys[model.name] and entry.sizes is not None
        return model.load == "demand" or (stays and model.name in self.running)

    def _turns(
        self, lines: Mapping[str, Line], fitted: Iterable[EngineFitted], keys: Mapping[str, str]
    ) -> list[PlannedLine | Wanted]:
        """Return what is started, in the order in which it chooses its place."""
        takes = {one.line.model.name: one.wanted(self.running) for one in fitted}
        order = sorted(lines.items(), key=lambda pair: self._turn(pair[0], keys))
        return [line if isinstance(line, PlannedLine) else takes[name] for name, line in order]

    def _threads(self, fleet: FleetPlan) -> int:
        """Return the CPU threads of a replica whose line gives none."""
        count = sum(isinstance(one.outcome, Placement) for one in fleet.assignments)
        return shared_threads(count, self.machine) if self.threads is None else self.threads

    def _alone(
        self,
        config: Config,
        keys: Mapping[str, str],
        placed: Collection[str],
        lines: Mapping[str, Line],
        threads: int,
    ) -> dict[str, OnDemand]:
        """Return how the models run that have no place beside the others, each planned alone."""
        planner = OnDemandPlanner(self.engine, self.room, len(config.model) > 1, threads)
        return {
            model.name: planner.plan(
                model,
                keys[model.name],
                self.remembered.get(model.name),
                lines.get(model.name),
                runs=model.name in self.running,
            )
            for model in config.model
            if model.name not in placed
        }

    def _turn(self, name: str, keys: Mapping[str, str]) -> int:
        """Return when a model chooses its place: less is earlier; the order of the lines decides ties."""
        if name in self.first:
            return 0
        entry = self.remembered.get(name)
        return 2 if name in self.last and entry and entry.key == keys[name] else 1

    def _with_kept(
        self, fitted: Sequence[EngineFitted], keys: Mapping[str, str]
    ) -> tuple[list[EngineFitted], Budget]:
        """Return what the engine fits as it was, where that is kept, and what all of it leaves.

        It is kept while the model runs, and as long as no line has changed and it fits.
        """
        entries = self.remembered
        same = keys == {name: entry.key for name, entry in entries.items()}
        found, left = list[EngineFitted](), self.room
        for one in fitted:
            name = one.line.model.name
            entry, runs = entries.get(name), name in self.running
            known = entry is not None and entry.key == keys[name] and (same or runs)
            cached = one.kept(entry.fitted) if entry and entry.fitted and known else one
            found.append(cached if runs or not left.short_of(cached.needs) else one)
            left = found[-1].taken_from(left)
        return found, left


def _files(config: Config, lines: Mapping[str, Line], alone: Mapping[str, OnDemand]) -> dict[str, FileRecord]:
    """Return what the files state that were read, by path."""
    found = {name: record_of_line(line) for name, line in lines.items()}
    found = {**{name: one.record for name, one in alone.items()}, **found}
    return {model.file: record for model in config.model if (record := found.get(model.name))}


def _replicas(
    placed: Sequence[Planned], line: Line | None, alone: OnDemand | None, fleet: FleetPlan
) -> Iterable[Planned]:
    """Return all replicas of one model: those with a place first, then those that are loaded on demand."""
    if alone:
        return alone.planned
    return (*placed, *further_replicas(line, placed, fleet)) if line else placed


def _remembered(
    placed: Mapping[str, Sequence[Planned]],
    fitted: Iterable[EngineFitted],
    alone: Mapping[str, OnDemand],
    fleet: FleetPlan,
    keys: Mapping[str, str],
) -> Iterable[RememberedModel]:
    """Yield what a restart plans again, of every model."""
    by_engine = {one.line.model.name for one in fitted}
    for name, key in keys.items():
        if name in alone:
            yield alone[name].remembered
        elif name in by_engine:
            yield remembered_fit(placed[name][0], key)
        else:
            yield remembered(placed[name], fleet, key)

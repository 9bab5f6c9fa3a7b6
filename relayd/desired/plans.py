"""Which process each configured replica becomes: all models planned together, or as they were remembered."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import msgspec

from relayd.advice.confirm import Confirmation
from relayd.config import Config, Model
from relayd.desired.away import find_away
from relayd.desired.cold import Cold, cold_replicas, with_needs
from relayd.desired.confirmed import alone, confirmed_plan
from relayd.desired.fitted import EngineFitted, engine_fitted
from relayd.desired.kept import Kept, foreign_plans, kept_plans
from relayd.desired.lines import (
    EngineLine,
    PlannedLine,
    by_device,
    line_spec,
    planned_spec,
    read_line,
    residence,
)
from relayd.desired.remembered import RememberedFit, RememberedModel, RememberedReplica, key_of
from relayd.engine import Engine
from relayd.engine.memory import MemoryProbe
from relayd.hardware import DeviceKind, Machine
from relayd.planner import Planned
from relayd.planner.budget import Budget
from relayd.planner.fleet import Assignment, FleetPlan
from relayd.planner.placement import NoPlace, Placement, allocation
from relayd.planner.plan import Basis
from relayd.units import show_bytes

SIMULATED = "memory is predicted: no engine can be asked on a simulated machine"


@dataclass(frozen=True, slots=True)
class ModelPlans:
    """What becomes of every configured replica.

    Attributes:
        plan: Every replica in the order of the lines, cold ones included.
        cold: Those that are not started.
        fleet: The same as the planner sees it, for people.
        remembered: What a restart plans again.
        notes: What to know, a sentence each.
        away: Why models cannot be started for want of a file, by name; their replicas are in `plan`.
    """

    plan: tuple[Planned, ...]
    cold: tuple[Cold, ...]
    fleet: FleetPlan
    remembered: tuple[RememberedModel, ...]
    notes: tuple[str, ...] = ()
    away: Mapping[str, str] = field(default_factory=dict)


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
        threads = shared_threads(config, self.machine) if self.threads is None else self.threads
        return self._beside_away(config, threads) if self.away else self._plans(config, threads)

    def _beside_away(self, config: Config, threads: int) -> ModelPlans:
        """Return the plan where files of some models are not there.

        The others keep the places that they had beside those. What runs all the same keeps its memory.
        """
        models, room, before = config.model, self.room, self.remembered
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

    def _plans(self, config: Config, threads: int) -> ModelPlans:
        lines = [read_line(model, self.engine, self.room) for model in config.model]
        ours = [line for line in lines if isinstance(line, PlannedLine)]
        keys = {line.model.name: key_of(line.model, self.engine, self.machine) for line in lines}
        fitted = [
            engine_fitted(line, self.engine, self.room) for line in lines if isinstance(line, EngineLine)
        ]
        fitted, left = self._with_kept(fitted, keys)
        ours_before = {name: entry for name, entry in self.remembered.items() if entry.fitted is None}
        kept = kept_plans(ours, keys, ours_before, self.running, left)
        takes = {one.line.model.name: one.wanted(self.running) for one in fitted}
        order = sorted(lines, key=lambda line: self._turn(line.model.name, keys))
        turns = [takes[line.model.name] if isinstance(line, EngineLine) else line for line in order]
        fleet, said = confirmed_plan(turns, kept, self.room, self.probe)
        without = {one.model for one in fleet.assignments if not isinstance(one.outcome, Placement)}
        would = {line.model.name: alone(line, self.room) for line in ours if line.model.name in without}
        fleet = with_needs(fleet, would)
        planned = {
            **{one.line.model.name: _engine_fits(one, fleet, threads) for one in fitted},
            **{line.model.name: self._planned(line, fleet, said, kept, threads, would) for line in ours},
        }
        cold = {one.name: one for one in cold_replicas(fleet)}
        return ModelPlans(
            plan=tuple(
                _with_residence(one, model, cold.get(one.name))
                for model in config.model
                for one in planned[model.name]
            ),
            cold=tuple(cold.values()),
            fleet=fleet,
            remembered=(
                *(_remembered(line, planned[line.model.name], fleet, keys) for line in ours),
                *(_remembered_fit(one, planned[one.line.model.name], keys) for one in fitted),
            ),
            notes=(
                *_notes(fitted),
                *(note for line in ours for note in line.ignored(self.room)),
                *foreign_plans(ours, keys, self.remembered, self.room),
                *_over(fleet),
                *fleet.notes,
                *(_doubts(said) if not self.simulated else [SIMULATED] if said else []),
            ),
        )

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

    def _planned(
        self,
        line: PlannedLine,
        fleet: FleetPlan,
        said: Mapping[str, Confirmation],
        kept: Mapping[str, Kept],
        threads: int,
        would: Mapping[str, Placement | NoPlace],
    ) -> list[Planned]:
        """Return the replicas of one line."""
        found = []
        for one in (one for one in fleet.assignments if one.model == line.model.name):
            stays = kept[one.model].replicas[one.index : one.index + 1] if one.model in kept else ()
            asked = line_spec(line.model, one.index)
            if not isinstance(one.outcome, Placement):
                found.append(self._cold(line, one, would[one.model], threads))
                continue
            spec = planned_spec(line, one.index, one.outcome, self.room)
            spec = replace(spec, threads=stays[0].threads if stays else line.model.threads or threads)
            confirmed = one.name in said and not said[one.name].note
            basis = stays[0].basis if stays else Basis.CONFIRMED if confirmed else Basis.PREDICTED
            found.append(Planned(spec, by_device(one.outcome.needs), basis, asked))
        return found

    def _cold(self, line: PlannedLine, one: Assignment, would: Placement | NoPlace, threads: int) -> Planned:
        """Return a replica without a place: as it would run alone, else as its line asks for."""
        asked = line_spec(line.model, one.index)
        if isinstance(would, Placement):
            spec = planned_spec(line, one.index, would, self.room)
            spec = replace(spec, threads=line.model.threads or threads)
            return Planned(spec, by_device(would.needs), Basis.PREDICTED, asked)
        needs = {short.room.key: short.need} if (short := would.last) else {}
        least = replace(asked, cache_ram_mib=0, slots=asked.slots or 1)
        return Planned(least, by_device(needs), Basis.PREDICTED, asked)


def _with_residence(planned: Planned, model: Model, cold: Cold | None) -> Planned:
    """Return a replica with when it is in memory: what does not fit beside the others is on demand."""
    found = residence(model, planned.spec.index)
    if cold is None:
        return replace(planned, residence=found)
    return replace(planned, residence=replace(found, demand=True), cold=str(cold))


def shared_threads(config: Config, machine: Machine) -> int:
    """Return the CPU threads of a replica whose line gives none; 0 leaves them to the engine.

    Without a GPU replicas share the cores: each llama-server would take all of them, and spin while it waits
    for its turn. The engine counts the cores of the machine, and not what a quota or an affinity leaves: with
    threads that are throttled, every token waits for the slowest. Prompts get as many threads (`-tb`).
    """
    replicas, cpu = sum(model.least_replicas for model in config.model), machine.cpu
    # An integrated GPU serves only an engine that was built for it; CUDA's and Metal's always are.
    has_gpu = any(not gpu.unified or gpu.kind in (DeviceKind.CUDA, DeviceKind.METAL) for gpu in machine.gpus)
    if replicas > 1 and not has_gpu:
        return max(1, cpu.usable_cores // replicas)
    return cpu.usable_cores if cpu.usable_cores < cpu.physical_cores else 0


def _engine_fits(one: EngineFitted, fleet: FleetPlan, threads: int) -> list[Planned]:
    """Return the replicas of a line that the engine fits; they are adopted by what the line asks for."""
    spec = replace(one.spec, threads=one.spec.threads or threads)
    asked = replace(line_spec(one.line.model, 0), fit=True, threads=spec.threads)
    return [
        Planned(
            replace(spec, index=found.index, cache_ram_mib=_cache_of(found)),
            by_device(found.outcome.needs if isinstance(found.outcome, Placement) else one.needs),
            one.basis,
            replace(asked, index=found.index),
        )
        for found in fleet.assignments
        if found.model == one.line.model.name
    ]


def _cache_of(one: Assignment) -> int:
    """Return the RAM for earlier prompts that a replica got, in MiB."""
    return one.outcome.setup.cache_ram_mib if isinstance(one.outcome, Placement) else 0


def _remembered_fit(
    one: EngineFitted, planned: Sequence[Planned], keys: Mapping[str, str]
) -> RememberedModel:
    """Return what a restart plans again of a model that its engine fits."""
    name, first = one.line.model.name, planned[0].spec
    decided = RememberedFit(cache_ram_mib=first.cache_ram_mib, threads=first.threads)
    return RememberedModel(model=name, key=keys[name], replicas=(), fitted=decided)


def _remembered(
    line: PlannedLine, planned: Sequence[Planned], fleet: FleetPlan, keys: Mapping[str, str]
) -> RememberedModel:
    """Return what a restart plans again: the replicas that have a place, up to the first that has none."""
    replicas = []
    for one, assignment in zip(planned, _of(fleet, line), strict=True):
        if not isinstance(assignment.outcome, Placement):
            break
        replicas.append(
            RememberedReplica(
                context=one.spec.context,
                slots=one.spec.slots,
                threads=one.spec.threads,
                cache_ram_mib=one.spec.cache_ram_mib,
                placement=allocation(assignment.outcome, fleet.before),
                needs=dict(one.needs),
                basis=one.basis,
                reasons=assignment.outcome.reasons,
            )
        )
    return RememberedModel(model=line.model.name, key=keys[line.model.name], replicas=tuple(replicas))


def _of(fleet: FleetPlan, line: PlannedLine) -> list[Assignment]:
    return [one for one in fleet.assignments if one.model == line.model.name]


def _notes(fitted: Sequence[EngineFitted]) -> list[str]:
    return [
        f"{one.line.model.name} is fitted by the engine: {one.line.reason}"
        for one in fitted
        if not one.line.asked_for
    ]


def _over(fleet: FleetPlan) -> list[str]:
    """Return how much what keeps its place takes too much of each device, and who holds it."""
    return [
        f"{show_bytes(room.over)} too much is planned on {room.key} ({room.explain()}): what runs keeps its "
        "place. Smaller plans are shown by relayd plan --fresh, and applied by relayd restart"
        for room in fleet.over
    ]


def _doubts(said: Mapping[str, Confirmation]) -> list[str]:
    """Return why the engine could not be asked, each reason once."""
    return list(dict.fromkeys(f"memory is predicted, {one.note}" for one in said.values() if one.note))

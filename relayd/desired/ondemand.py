"""How a model runs that is loaded on demand: planned alone, by closed form, or as that was remembered.

No engine is asked, and of a model whose sizes are remembered not even the file is read: a disk full of
models costs a start next to nothing. The engine confirms a size when it is loaded first (`confirming`).
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec

from relayd.config import Model
from relayd.config.schema import Allocation
from relayd.desired.fitted import EngineFitted, engine_fitted
from relayd.desired.lines import (
    CANNOT_PLAN,
    EngineLine,
    Line,
    PlannedLine,
    aim_of,
    by_device,
    line_spec,
    read_line,
    record_of_line,
    residence,
)
from relayd.desired.remembered import RememberedModel, RememberedReplica, RememberedSizes
from relayd.engine import Engine
from relayd.engine.commandline import fixed_by
from relayd.gguf.facts import FileRecord
from relayd.planner import Planned, ReplicaSpec
from relayd.planner.budget import Budget
from relayd.planner.fit import fit, named
from relayd.planner.placement import NoPlace, Placement, Shortage, allocation
from relayd.planner.plan import Basis
from relayd.planner.quality import pooling
from relayd.planner.sizes import sizes
from relayd.units import Bytes

RULES = 4
"""Counts changes of the rules by which sizes are chosen: those of other rules are chosen anew."""


@dataclass(frozen=True, slots=True)
class OnDemand:
    """What becomes of one model that is loaded on demand.

    Attributes:
        planned: Its replicas.
        remembered: What a restart plans again.
        unreadable: Why relayd cannot plan its file; "" where it can.
        record: What its file states, where that was read.
    """

    planned: tuple[Planned, ...]
    remembered: RememberedModel
    unreadable: str = ""
    record: FileRecord | None = None

    @property
    def least(self) -> Planned:
        """The smallest size of a replica."""
        first = self.planned[0]
        return first.others[-1] if first.others else first


@dataclass(frozen=True, slots=True)
class OnDemandPlanner:
    """Plans models alone on one machine.

    Attributes:
        engine: The llama-server that runs them.
        room: What models may take of the machine.
        several: Whether there is more than one model, so that none gets all of the machine.
        threads: CPU threads of a replica whose line gives none.
    """

    engine: Engine
    room: Budget
    several: bool
    threads: int

    def plan(
        self,
        model: Model,
        key: str,
        before: RememberedModel | None = None,
        line: Line | None = None,
        *,
        runs: bool = False,
    ) -> OnDemand:
        """Return how a model runs that is on demand.

        Args:
            model: Its line.
            key: What a plan of it holds for.
            before: What was remembered of it.
            line: The line with its files read; None reads them where that is needed.
            runs: Whether a replica of it runs, which no other size may end.
        """
        entry = before if before and before.key == key else None
        known = entry.sizes if entry else None
        if known and (known.made_for == self._made_for or (runs and known.sizes)):
            return self._found(model, key, known, runs=runs)
        line = line or read_line(model, self.engine, self.room)
        if isinstance(line, EngineLine):
            return replace(self._engine_fits(line, key), record=record_of_line(line))
        found = self._sizes(line)
        if runs and entry and entry.replicas:  # it was started with the daemon, and runs as it was placed
            found = msgspec.structs.replace(found, sizes=(entry.replicas[0], *found.sizes), refused="")
        return replace(self._found(model, key, found, runs=runs), record=record_of_line(line))

    @property
    def _made_for(self) -> str:
        """What sizes depend on beside line, files, engine and machine, hashed."""
        rooms = [(one.key, int(one.usable)) for one in self.room.rooms]
        return hashlib.sha256(repr((RULES, rooms, self.several)).encode()).hexdigest()[:16]

    def _sizes(self, line: PlannedLine) -> RememberedSizes:
        """Return the sizes of a model, or why it has none: what the least of it needs of this machine."""
        wanted = line.wanted()
        cache_mib = wanted.prompt_cache_mib or 0
        found = sizes(line.form, self.room, wanted.aim, alone=not self.several, prompt_cache_mib=cache_mib)
        known = RememberedSizes(
            made_for=self._made_for,
            embeddings=line.embeddings,
            pooling=pooling(line.form.build().model) if line.embeddings else "",
            by_line=line.model.load == "demand",
        )
        if not isinstance(found, NoPlace):
            return msgspec.structs.replace(known, sizes=tuple(map(self._remembered, found)))
        modest = replace(wanted.aim, context=wanted.aim.least_context)
        least, refused, needs = fit((line.form,), self.room.endless(), modest), str(found), dict[str, int]()
        if isinstance(least, Placement) and (short := self.room.short_of(least.needs)):
            what = f"{named(line.form)} with {least.slots} x {least.context} tokens"
            refused, needs = str(Shortage(what, *short)), dict(by_device(least.needs))
        return msgspec.structs.replace(known, refused=refused, needs=needs)

    def _remembered(self, size: Placement) -> RememberedReplica:
        return RememberedReplica(
            context=size.context,
            slots=size.slots,
            threads=0,
            cache_ram_mib=size.setup.cache_ram_mib,
            placement=allocation(size, self.room),
            needs=dict(by_device(size.needs)),
            basis=Basis.PREDICTED,
            reasons=size.reasons,
            weights=size.host_weights,
        )

    def _found(self, model: Model, key: str, known: RememberedSizes, *, runs: bool = False) -> OnDemand:
        """Return the replicas of a model whose sizes are known."""
        threads = model.threads or self.threads
        found = known
        if not runs:
            every = tuple(msgspec.structs.replace(one, threads=threads) for one in known.sizes)
            found = msgspec.structs.replace(known, sizes=every)
        asked = line_spec(model, 0)
        least = replace(asked, cache_ram_mib=0, slots=model.slots or 1)
        some = [
            Planned(_spec(asked, one, found), _bytes(one.needs), one.basis, asked, weights=Bytes(one.weights))
            for one in found.sizes
        ]
        some = some or [Planned(least, _bytes(known.needs), Basis.PREDICTED, asked)]
        return OnDemand(
            _replicas(some, model, known.refused),
            RememberedModel(model=model.name, key=key, replicas=(), sizes=found),
        )

    def _engine_fits(self, line: EngineLine, key: str) -> OnDemand:
        """Return a model that its engine fits to what it finds."""
        one = engine_fitted(line, self.engine, self.room)
        spec = replace(one.spec, threads=one.spec.threads or self.threads)
        asked = replace(line_spec(line.model, 0), fit=True, threads=spec.threads)
        needs, refused = self._fitted_needs(one)
        sizes = RememberedSizes(made_for="", by_line=line.model.load == "demand")  # it is read each time
        return OnDemand(
            _replicas([Planned(spec, by_device(needs), one.basis, asked)], line.model, refused),
            RememberedModel(model=line.model.name, key=key, replicas=(), sizes=sizes),
            "" if line.form else line.reason.removeprefix(CANNOT_PLAN),
        )

    def _fitted_needs(self, one: EngineFitted) -> tuple[dict[str, Bytes], str]:
        """Return what a model needs as its engine fits it, or why that is too much."""
        short = self.room.short_of(one.needs)
        if short and one.line.form:
            smaller = fit((one.line.form,), self.room, aim_of(one.line.model, one.line.form, one.line.fixed))
            if isinstance(smaller, Placement):
                return dict(smaller.needs), ""
        return one.needs, str(Shortage("fitted by the engine it", *short)) if short else ""


def _replicas(sizes: Sequence[Planned], model: Model, refused: str) -> tuple[Planned, ...]:
    """Return the replicas of a model from the sizes of its first one."""
    return tuple(on_demand(sizes, model, index, refused) for index in range(model.most_replicas))


def on_demand(sizes: Iterable[Planned], model: Model, index: int, refused: str = "") -> Planned:
    """Return one replica of a model that is loaded on demand.

    Args:
        sizes: Its sizes, the better ones first, as plans of any replica of the model.
        model: Its line.
        index: Which replica.
        refused: Why it never can be loaded.
    """
    resides = replace(residence(model, index), demand=True)
    first, *others = (replace(_numbered(one, index), residence=resides) for one in sizes)
    return replace(first, others=tuple(others), refused=refused)


def _numbered(one: Planned, index: int) -> Planned:
    line = one.line or one.spec
    return replace(one, spec=replace(one.spec, index=index), line=replace(line, index=index))


def _bytes(needs: Mapping[str, int]) -> dict[str, Bytes]:
    return {device: Bytes(nbytes) for device, nbytes in needs.items()}


def _spec(asked: ReplicaSpec, one: RememberedReplica, known: RememberedSizes) -> ReplicaSpec:
    """Return the process of a size; what its arguments say is left to them."""
    given = fixed_by(asked.extra_args) & {*Allocation.__struct_fields__}
    return replace(
        asked,
        context=one.context,
        slots=one.slots,
        threads=one.threads,
        embeddings=known.embeddings,
        pooling=known.pooling,
        cache_ram_mib=one.cache_ram_mib,
        fit=False,
        placement=msgspec.structs.replace(one.placement, **dict.fromkeys(given)),
    )

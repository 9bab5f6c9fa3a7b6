"""Which models over which machines: what a hub knows of its machines becomes a plan, or a recommendation."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import msgspec

from relayd.advice.known import known_models
from relayd.catalog import CatalogEntry
from relayd.catalog.match import identify
from relayd.errors import ModelFileError, UsageError
from relayd.gguf import ModelMetadata
from relayd.gguf.packed import unpack_header
from relayd.gguf.quants import FILE_TYPES
from relayd.planner.budget import Budget
from relayd.planner.demand import Demand
from relayd.planner.divergence import Quantization
from relayd.planner.document import SCHEMA, advice_document, outcome_document
from relayd.planner.fleet import Wanted
from relayd.planner.machines import Box, MachinesPlan, ModelMove, plan_machines
from relayd.planner.placement import Aim, Form, Placement
from relayd.planner.quality import Use
from relayd.planner.rank import Request
from relayd.planner.recommend import Advice, recommend
from relayd.planner.stated import MachineReport, PlacedModel
from relayd.units import MIB, Bytes

_ROUNDED = 256 * MIB
"""Machines whose free memory differs by less are alike: the same advice holds for both."""


_AWAKE = frozenset({"here", "connected"})


@dataclass(frozen=True, slots=True)
class FleetAdvice:
    """What one use, and one machine, would be served by.

    Attributes:
        use: What for.
        box: The machine.
        advice: The best model for it there.
        called: What people type for it.
        source: The machine that has its file; empty where it is to be downloaded.
    """

    use: Use
    box: str
    advice: Advice
    called: str
    source: str


@dataclass(frozen=True, slots=True)
class FleetOfMachines:
    """Everything that advice over machines is made from.

    Attributes:
        boxes: The machines that can be planned for.
        wanted: The models that they serve.
        left_out: Machine or model → why it is left out.
        files: Machine → what its files are called in the catalogue, `NAME:QUANT` → bytes.
        bytes_per_second: How fast files travel between machines.
        left: Machine → what the models that it serves leave of it.
        builds: Machine → the build number of its engine; 0 while it is not known.
        called: Model → what people type to have its file; itself where the catalogue does not know it.
    """

    boxes: tuple[Box, ...]
    wanted: tuple[Wanted, ...]
    left_out: Mapping[str, str]
    files: Mapping[str, Mapping[str, Bytes]]
    bytes_per_second: float
    left: Mapping[str, Budget]
    builds: Mapping[str, int]
    called: Mapping[str, str]

    @classmethod
    def read(
        cls, machines: Iterable[MachineReport], bytes_per_second: float, entries: Sequence[CatalogEntry]
    ) -> "FleetOfMachines":
        """Return what machines state of themselves, ready to be planned with."""
        reader = _MachinesReader(entries)
        for machine in machines:
            reader.take(machine)
        return reader.read(bytes_per_second)

    def plan(self) -> MachinesPlan:
        """Return which machine runs which of the models that the fleet serves."""
        return plan_machines(self.wanted, self.boxes, bytes_per_second=self.bytes_per_second)

    def recommend(
        self, entries: Sequence[CatalogEntry], request_of: Mapping[Use, Request]
    ) -> tuple[FleetAdvice, ...]:
        """Return the best model for each use on each machine, the best machine of each use first.

        Each is beside the models that the machine serves already.
        """
        found: list[FleetAdvice] = []
        for use, request in request_of.items():
            judged: dict[tuple[Budget, int], tuple[Advice, ...]] = {}
            rows = []
            for box in self.boxes:
                build = self.builds[box.name]
                key = _rounded(self.left[box.name]), build
                if key not in judged:
                    known = known_models(entries, (), build or None, use)
                    judged[key] = recommend(known, key[0], request, 1)
                rows += [self._advice(use, box.name, one) for one in judged[key] if one.good]
            found += sorted(rows, key=lambda one: (-one.advice.ranked.score, not one.source, one.box))
        return tuple(found)

    def _advice(self, use: Use, box: str, advice: Advice) -> FleetAdvice:
        assert isinstance(advice.outcome, Placement)  # noqa: S101 - what is good has a place
        called = f"{advice.known.name}:{advice.outcome.form.quantization.name}"
        holders = [name for name, files in self.files.items() if called in files]
        source = box if box in holders else next(iter(holders), "")
        return FleetAdvice(use, box, advice, called, source)


class _MachinesReader:
    """Takes machines, one after the other."""

    def __init__(self, entries: Sequence[CatalogEntry]) -> None:
        self._entries = entries
        self._forms: dict[str, Form] = {}
        self._names: dict[str, set[str]] = {}
        self._replicas: dict[str, int] = {}
        self._aims: dict[str, Aim] = {}
        self._stated: list[MachineReport] = []
        self._budgets: dict[str, Budget] = {}
        self.left_out: dict[str, str] = {}

    def take(self, machine: MachineReport) -> None:
        """Take note of a machine and what it serves."""
        try:
            budget = msgspec.json.decode(machine.budget, type=Budget | None)
        except msgspec.DecodeError as error:
            self.left_out[machine.name] = f"it describes itself in another form: {error}"
            return
        if budget is None:
            self.left_out[machine.name] = machine.reason or "it does not describe itself"
            return
        self._budgets[machine.name] = budget
        self._stated.append(machine)
        for one in machine.models:
            self._take_model(one)

    def _take_model(self, one: PlacedModel) -> None:
        self._replicas[one.model] = self._replicas.get(one.model, 0) + one.replicas
        if one.model in self._forms or not one.header:
            return
        try:
            form, names = _form_of(unpack_header(one.header), self._entries)
        except ModelFileError as error:
            self.left_out[one.model] = error.message
            return
        self._forms[one.model], self._names[one.model] = form, names
        use = Use.EMBEDDING if one.embeddings else Use.CHAT
        context = one.context or 8192
        self._aims[one.model] = Aim(
            context=context, least_context=min(context, 4096), use=use, embeddings=one.embeddings
        )

    def read(self, bytes_per_second: float) -> FleetOfMachines:
        """Return all of them."""
        unread = self._replicas.keys() - self._forms.keys() - self.left_out.keys()
        self.left_out |= dict.fromkeys(sorted(unread), "no machine has its file, or could read it")
        wanted = tuple(
            Wanted(name, (form,), self._aims[name], max(1, self._replicas[name]))
            for name, form in self._forms.items()
        )
        return FleetOfMachines(
            tuple(map(self._box, self._stated)),
            wanted,
            self.left_out,
            {one.name: _catalogued(one) for one in self._stated},
            bytes_per_second,
            {one.name: _beside(self._budgets[one.name], one) for one in self._stated},
            {one.name: one.engine_build for one in self._stated},
            {name: next(iter(names), name) for name, names in self._names.items()},
        )

    def _box(self, machine: MachineReport) -> Box:
        there = _catalogued(machine)
        files = {one.model: Bytes(one.bytes) for one in machine.models if one.bytes}
        for model, names in self._names.items():
            if (name := next((one for one in names if one in there), "")) and model not in files:
                files[model] = there[name]
        return Box(
            machine.name,
            self._budgets[machine.name],
            files,
            {one.model: one.replicas for one in machine.models if one.replicas},
            {one.model: one.tokens_per_second for one in machine.models if one.tokens_per_second},
            machine.state in _AWAKE,
        )


def _form_of(metadata: ModelMetadata, entries: Sequence[CatalogEntry]) -> tuple[Form, set[str]]:
    """Return a file as the planner has it, and what the catalogue calls it.

    Raises:
        ModelFileError: It is of a kind whose memory cannot be predicted.
    """
    Demand(metadata).check()
    kind = metadata.values.get("general.file_type")
    quant = FILE_TYPES.get(kind, "") if isinstance(kind, int) else ""
    entry = identify(entries, metadata)
    form = Form(Quantization(quant), metadata.file_bytes, 0.0, partial(_demand, metadata))
    return form, {f"{entry.name}:{quant}"} if entry else set()


def _demand(metadata: ModelMetadata) -> Demand:
    return Demand(metadata)


def _catalogued(machine: MachineReport) -> dict[str, Bytes]:
    named = {f"{one.model}:{one.quant}" if one.model else one.name: one.bytes for one in machine.files}
    return {name: Bytes(size) for name, size in named.items()}


def _beside(budget: Budget, machine: MachineReport) -> Budget:
    """Return what the models that a machine has in memory leave of it."""
    for one in machine.models:
        for _ in range(one.replicas):
            budget = budget.minus(one.needs, one.model)
    return budget


def _rounded(budget: Budget) -> Budget:
    def less(room: Any) -> Any:
        return replace(
            room, name="", free=Bytes(room.free // _ROUNDED * _ROUNDED), total=room.total, holders=(),
            takers=(), planned=0, rule="",
        )  # fmt: skip

    return replace(budget, gpus=tuple(map(less, budget.gpus)), host=less(budget.host))


def plan_document(fleet: FleetOfMachines, plan: MachinesPlan, here: str) -> dict[str, Any]:
    """Return a plan over machines as JSON-ready values; `here` is the machine of the hub."""
    return {
        "schema": SCHEMA,
        "complete": plan.complete,
        "replicas": [
            {
                "model": seat.model,
                "index": seat.index,
                "machine": seat.box or None,
                "is_new": seat.is_new,
                "reasons": list(seat.reasons),
                "move": _move_document(seat.move),
                **outcome_document(seat.outcome),
            }
            for seat in plan.seats
        ],
        "unloads": [{"model": model, "machine": box} for model, box in plan.leaves],
        "commands": list(commands(fleet, plan, here)),
        "left_out": dict(fleet.left_out),
    }


def advice_rows(found: Iterable[FleetAdvice]) -> list[dict[str, Any]]:
    """Return recommendations over machines as JSON-ready values."""
    return [
        {"use": one.use, "machine": one.box, "pull": one.called, "file_on": one.source or None,
         **advice_document(one.advice)}
        for one in found
    ]  # fmt: skip


def _move_document(move: ModelMove | None) -> dict[str, Any] | None:
    if move is None:
        return None
    return {"from": move.source or None, "bytes": move.nbytes, "seconds": round(move.seconds, 1) or None}


def commands(fleet: FleetOfMachines, plan: MachinesPlan, here: str) -> Iterator[str]:
    """Yield what to type on the hub to bring a fleet into a plan: files first, then loads and unloads."""
    new = [seat for seat in plan.seats if seat.box and seat.is_new]
    for seat in new:
        if seat.move is not None:
            at = "" if seat.box == here else f" --node {seat.box}"
            yield f"relayd pull {fleet.called[seat.model]}{at}"
    for seat in new:
        yield f"relayd load {seat.model}" + ("" if seat.box == here else f"@{seat.box}")
    for model, box in plan.leaves:
        yield f"relayd unload {model}" + ("" if box == here else f"@{box}")


def check_any(fleet: FleetOfMachines) -> None:
    """Refuse to plan without a machine.

    Raises:
        UsageError: None can be planned for.
    """
    if not fleet.boxes:
        why = "; ".join(f"{name}: {reason}" for name, reason in fleet.left_out.items())
        raise UsageError(f"no machine of the fleet can be planned for: {why}")

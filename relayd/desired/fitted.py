"""What a model that the engine fits by itself is predicted to need (`fit = "engine"`)."""

import contextlib
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from relayd.desired.lines import EngineLine, aim_of, line_spec, open_context, use_of
from relayd.desired.remembered import RememberedFit
from relayd.endpoint import TcpAddress
from relayd.engine import Engine, command
from relayd.engine.commandline import fixed_by, setup_of
from relayd.errors import RelaydError
from relayd.memory.setup import Gpu, Setup
from relayd.memory.weights import CPU
from relayd.models.shelf import size_of
from relayd.planner import ReplicaSpec
from relayd.planner.budget import Budget
from relayd.planner.demand import Demand
from relayd.planner.divergence import Quantization
from relayd.planner.fleet import Wanted
from relayd.planner.placement import DEFAULT_SLOTS, Aim, Form, Place, Placement
from relayd.planner.plan import Basis
from relayd.planner.processor import Tag
from relayd.planner.quality import Use, pooling
from relayd.planner.shapes import MICRO_BATCH
from relayd.planner.speed import Decoding, Estimate
from relayd.planner.timing import placed
from relayd.units import MIB, Bytes

_ANY_ADDRESS, _ANY_KEY = TcpAddress(8100), Path("key")
"""They decide nothing that is asked here."""

UNREAD = Quantization("")
"""Stands for a quantization that relayd cannot read."""


@dataclass(frozen=True, slots=True)
class EngineFitted:
    """One model whose size its engine decides at the start.

    Attributes:
        line: Its line.
        spec: Its first replica.
        needs: Device → bytes, as if the engine made it no smaller.
        basis: How these are known.
        placement: How it would run so.
        cache_known: Whether its RAM for prompts of earlier requests is decided; else it gets a share of what
            is left over, and is not in its needs.
    """

    line: EngineLine
    spec: ReplicaSpec
    needs: dict[str, Bytes]
    basis: Basis
    placement: Placement
    cache_known: bool = False

    def wanted(self, running: Collection[str]) -> Wanted:
        """Return it as the planner takes it; what runs keeps its place."""
        model, form = self.line.model, self.line.form
        known = form is not None and self.basis is Basis.PREDICTED
        return Wanted(
            model.name,
            (form,) if form and known else (),
            aim_of(model, form, self.line.fixed) if form and known else Aim(),
            model.least_replicas,
            (self.placement,) * model.least_replicas if model.name in running else (),
            prompt_cache_mib=None if self.cache_known else model.cache_ram_mib,
            own=self.placement,
        )

    def kept(self, decided: RememberedFit) -> "EngineFitted":
        """Return it with the RAM for prompts of earlier requests, and the threads, that it had before."""
        given = min(decided.cache_ram_mib, self.line.model.cache_ram_mib)
        needs = self.needs | {CPU: Bytes(self.needs.get(CPU, 0) + given * MIB)}
        setup = replace(self.placement.setup, cache_ram_mib=given)
        placement = replace(self.placement, needs=needs, setup=setup)
        spec = replace(self.spec, threads=self.spec.threads or decided.threads)
        return replace(self, spec=spec, needs=needs, placement=placement, cache_known=True)

    def taken_from(self, room: Budget) -> Budget:
        """Return what its replicas leave of a machine if they run in full."""
        for index in range(self.line.model.least_replicas):
            room = room.minus(self.needs, f"{self.line.model.name}#{index}")
        return room


def engine_fitted(line: EngineLine, engine: Engine, room: Budget) -> EngineFitted:
    """Return what is known of a model that the engine fits.

    Args:
        line: Its line.
        engine: The engine.
        room: What models may take of the machine.
    """
    asked = line_spec(line.model, 0)
    spec = replace(asked, fit=True, cache_ram_mib=0, slots=asked.slots or DEFAULT_SLOTS)
    with contextlib.suppress(RelaydError, ValueError, LookupError):  # the engine reports what is wrong
        if line.form:
            whole = _answering(spec, line.form)
            found = _predicted(line, whole, line.form, engine, room)
            if room.short_of(found.needs):
                return _predicted(line, replace(whole, placement=spec.placement), line.form, engine, room)
            return found
    return _unknown(line, spec, room)


def _answering(spec: ReplicaSpec, form: Form) -> ReplicaSpec:
    """Return the process as what its file is made for, with passes that hold its inputs for vectors."""
    use, asked = use_of(form), spec.placement
    if not spec.embeddings and use is not Use.EMBEDDING:
        return spec
    spec = replace(spec, embeddings=True, pooling=pooling(form.build().model))
    if asked.micro_batch or "micro_batch" in fixed_by(spec.extra_args):
        return spec
    micro = max(MICRO_BATCH, spec.context or open_context(form, Use.EMBEDDING))
    placement = msgspec.structs.replace(asked, micro_batch=micro, batch=asked.batch or max(2048, micro))
    return replace(spec, placement=placement)


def _predicted(line: EngineLine, spec: ReplicaSpec, form: Form, engine: Engine, room: Budget) -> EngineFitted:
    flags = command(spec, engine.features, _ANY_ADDRESS, _ANY_KEY)
    gpus = [Gpu(one.key, float(one.total)) for one in room.gpus]
    trained = form.build().shape.context_trained
    found = placed(form, setup_of(flags, trained, gpus, room.repacked), room)
    return EngineFitted(line, spec, {**found.needs}, Basis.PREDICTED, found)


def _unknown(line: EngineLine, spec: ReplicaSpec, room: Budget) -> EngineFitted:
    """Return what is known of a model whose shape relayd cannot read: its file is loaded, first on GPUs."""
    weights = left = size_of(spec.file)
    needs = {}
    for one in room.gpus:
        needs[one.key] = Bytes(min(left, one.usable))
        left -= needs[one.key]
    needs[CPU] = Bytes(left)
    none = Estimate(0, 0, 0, Tag.WIDE)
    placement = Placement(
        form=Form(UNREAD, Bytes(weights), weights, _unread),
        place=Place.CPU,
        setup=Setup(context=spec.context * spec.slots, slots=spec.slots, cache_ram_mib=0),
        context=spec.context,
        needs=needs,
        layers=(0, 0),
        alone=none,
        decoding=Decoding(none, none),
        prefill=none,
        reasons=(),
    )
    return EngineFitted(line, spec, needs, Basis.UNKNOWN, placement)


def _unread() -> Demand:
    raise LookupError("relayd cannot read the shape of this model")

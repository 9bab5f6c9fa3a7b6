"""What can be asked of a model, where can it go, and what may be missing?"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from relayd.config.schema import Allocation
from relayd.memory.setup import EVERY_LAYER, Gpu, Setup
from relayd.memory.weights import CPU
from relayd.planner.budget import Budget, Room
from relayd.planner.demand import Demand
from relayd.planner.divergence import Quantization
from relayd.planner.plan import ReplicaSpec
from relayd.planner.quality import Use
from relayd.planner.speed import (
    Decoding,
    Estimate,
)
from relayd.units import Bytes, show_apart

LOADED_SHARE = 0.9
"""Of a file, what is loaded at least: layers for drafting (MTP) are not."""


DEFAULT_SLOTS = 4
"""Requests at once by default: what llama-server chooses by itself."""

MOST_SLOTS = 8
"""Requests at once at most where their number is open and the context is not, on devices."""

ENOUGH_CONTEXT = 16384
"""Tokens a slot should hold before there is a second one: a long conversation, or files of code."""

READING_PACE = 5.0
"""Tokens a second that people read: about 240 words a minute. A slot that is slower is of no use to them."""


FREE = Allocation()
"""A placement of which nothing is decided."""


class Place(StrEnum):
    """Where the layers of a model are, best first."""

    ONE_GPU = "one GPU"
    SPLIT = "split over GPUs"
    EXPERTS_ON_CPU = "experts on the CPU"
    PARTIAL = "partly on the CPU"
    CPU = "CPU"


@dataclass(frozen=True, slots=True)
class Aim:
    """What is asked of a model.

    Attributes:
        context: Tokens a slot should hold.
        least_context: Tokens it must hold.
        slots: Requests at once.
        least_slots: Requests at once that would do.
        enough_context: Tokens a slot keeps as long as there are several: below, slots go down first.
        pace: Tokens a second that each of several slots should reach with all at work, or they are fewer.
        min_speed: Tokens a second of one sequence that are enough; for embedding, of a prompt.
        use: What for.
        extend: Whether memory that is left over makes the context longer.
        beyond_trained: Whether the context is as long as asked for where the model was trained on less.
        prompt_cache_mib: RAM for earlier prompts, in MiB; None takes a share of what is left.
        embeddings: Whether a model for chat also answers with vectors.
        fixed: What the operator has decided: only the rest is searched for.
    """

    context: int = 8192
    least_context: int = 4096
    slots: int = DEFAULT_SLOTS
    least_slots: int = 1
    enough_context: int = 1 << 30
    pace: float = 0.0
    min_speed: float = 0.0
    use: Use = Use.CHAT
    extend: bool = True
    beyond_trained: bool = False
    prompt_cache_mib: int | None = None
    embeddings: bool = False
    fixed: Allocation = FREE


@dataclass(frozen=True, slots=True)
class Form:
    """A model in one file.

    Attributes:
        quantization: How its weights are stored.
        nbytes: Its size.
        read_bytes: What a token reads of it at least.
        build: Returns what it asks of devices; called only when its size does not rule it out.
        sparse: Whether only some of its experts work on a token.
        aside: What of it stays in RAM at most when all of its layers are on devices: tables.
    """

    quantization: Quantization
    nbytes: Bytes
    read_bytes: float
    build: Callable[[], Demand]
    sparse: bool = False
    aside: float = float("inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRun:
    """How a model runs on a machine, whichever of its forms it is.

    Attributes:
        place: Where.
        setup: How, in full.
        context: Tokens a slot holds.
        needs: Device → what it has to hold.
        layers: Layers on GPUs, and of how many, the head counted.
        alone: Speed of one sequence with nothing else to do.
        decoding: Speed with all slots at work.
        prefill: Speed at which prompts are read.
        reasons: What did not fit or was too slow before, and what to know.
        fast_enough: Whether it reaches the speed that was asked for.
    """

    place: Place
    setup: Setup
    context: int
    needs: Mapping[str, Bytes]
    layers: tuple[int, int]
    alone: Estimate
    decoding: Decoding
    prefill: Estimate
    reasons: tuple[str, ...]
    fast_enough: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement(PlannedRun):
    """A form of a model with its place on a machine.

    Attributes:
        form: What runs.
    """

    form: Form

    @property
    def slots(self) -> int:
        """Requests at once."""
        return self.setup.slots

    @property
    def host_weights(self) -> Bytes:
        """What of its needs of RAM are weights; 0 where relayd cannot read its shape."""
        try:
            return min(self.form.build().host_weights(self.setup), self.needs.get(CPU, Bytes(0)))
        except LookupError:
            return Bytes(0)

    def speed(self, use: Use) -> Estimate:
        """Return the speed that counts for a use: of prompts for embedding, else of one sequence."""
        return self.prefill if use is Use.EMBEDDING else self.decoding.each


@dataclass(frozen=True, slots=True)
class Shortage:
    """What was too small.

    Attributes:
        what: What was tried.
        room: The device, as far as models may use it.
        need: What it would have to hold.
        at_least: Whether compute buffers come on top.
    """

    what: str
    room: Room
    need: Bytes
    at_least: bool = False

    def __str__(self) -> str:
        """Return need, have and who holds the rest."""
        need, have = show_apart(self.need, self.room.usable)
        return (
            f"{self.what} needs {'at least ' if self.at_least else ''}{need} of {self.room.account}, "
            f"{have} can be used ({self.room.explain()})"
        )


@dataclass(frozen=True, slots=True)
class NoPlace:
    """Why a model does not run: the last rung of each place, the most modest one last."""

    shortages: tuple[Shortage, ...]

    @property
    def last(self) -> Shortage | None:
        """The shortage of the most modest attempt; None where there is no file to attempt."""
        return self.shortages[-1] if self.shortages else None

    def __str__(self) -> str:
        """Return the shortage of the most modest attempt."""
        return str(self.last) if self.last else "it has no file"


def ceiling(form: Form, budget: Budget, place: Place) -> float:
    """Return tokens a second that a form cannot exceed at a place: its bytes over the bandwidth."""

    def milliseconds(room: Room, nbytes: float) -> float:
        return nbytes * room.processor.byte_factor / (room.processor.bandwidth_gb_s * 1e6)

    if place is Place.CPU or not budget.gpus:
        return 1000 / max(1e-9, milliseconds(budget.host, form.read_bytes))
    fastest = max(budget.gpus, key=lambda room: room.processor.bandwidth_gb_s)
    if place in {Place.ONE_GPU, Place.SPLIT}:
        return 1000 / max(1e-9, milliseconds(fastest, form.read_bytes))
    left_over = max(0.0, 1 - sum(room.usable for room in budget.gpus) / (form.nbytes * LOADED_SHARE))
    # Of a model with experts the rarest read are moved: a token reads less of those than of the whole.
    on_host = form.read_bytes * left_over * (1.0 if place is Place.PARTIAL else 0.5)
    rest = milliseconds(budget.host, on_host) + milliseconds(fastest, form.read_bytes - on_host)
    return 1000 / max(1e-9, rest)


def least_gpu(demand: Demand, aim: Aim, key: str = "cuda0") -> Bytes:
    """Return what the most modest setup of a model that is whole on one GPU asks of it."""
    context = min(aim.least_context, demand.shape.context_trained or aim.least_context)
    setup = Setup(
        context=context * aim.least_slots,
        slots=aim.least_slots,
        type_k="q8_0",
        type_v="q8_0",
        gpus=(Gpu(key),),
    )
    return demand.needs(setup)[key]


def least_ram(demand: Demand, aim: Aim) -> Bytes:
    """Return what the most modest setup of a model asks of RAM without a GPU."""
    context = min(aim.least_context, demand.shape.context_trained or aim.least_context)
    setup = Setup(
        context=context * aim.least_slots,
        slots=aim.least_slots,
        type_k="q8_0",
        type_v="q8_0",
        cache_ram_mib=0,
    )
    return demand.needs(setup)[CPU]


def allocation(placement: Placement, budget: Budget) -> Allocation:
    """Return the flags that make a replica run where it was placed."""
    setup = placement.setup
    several = len(setup.gpus) > 1
    return Allocation(
        gpu_layers=placement.layers[0],
        devices=tuple(budget.room(gpu.key).engine_name for gpu in setup.gpus),
        shares=tuple(gpu.share for gpu in setup.gpus) if several else (),
        experts_on_cpu=setup.experts_on_cpu,
        cache_type_k=setup.type_k,
        cache_type_v=setup.type_v,
        flash_attention=setup.flash_attention,
        unified=setup.unified,
        batch=setup.batch,
        micro_batch=setup.micro_batch,
    )


def setup_of(placed: Allocation, budget: Budget, *, context: int, slots: int, embeddings: bool) -> Setup:
    """Return the setup that an allocation means on a machine, without prompts of earlier requests.

    Args:
        placed: Where it runs, all of it decided.
        budget: The machine.
        context: Tokens a slot holds.
        slots: Requests at once.
        embeddings: Whether every token's output is kept.

    Raises:
        LookupError: It names a device that is not there.
    """
    rooms = {room.engine_name: room for room in budget.gpus}
    shares = placed.shares or ()
    gpus = tuple(
        Gpu(rooms[name].key, shares[index] if index < len(shares) else 1.0)
        for index, name in enumerate(placed.devices or ())
    )
    return Setup(
        context=context * slots,
        slots=slots,
        unified=bool(placed.unified),
        type_k=placed.cache_type_k or "f16",
        type_v=placed.cache_type_v or "f16",
        batch=placed.batch or 2048,
        micro_batch=placed.micro_batch or 512,
        flash_attention=placed.flash_attention is not False,
        embeddings=embeddings,
        gpus=gpus if placed.gpu_layers != 0 else (),
        gpu_layers=EVERY_LAYER if placed.gpu_layers is None else placed.gpu_layers,
        experts_on_cpu=placed.experts_on_cpu or 0,
        repacked=budget.repacked,
        cache_ram_mib=0,
    )


def spec(placement: Placement, budget: Budget, model: str, index: int, file: Path) -> ReplicaSpec:
    """Return the replica that a placement means.

    Args:
        placement: Where and how it runs.
        budget: The machine it was placed on.
        model: What clients ask for.
        index: Which replica of the model.
        file: Its file.
    """
    return ReplicaSpec(
        model=model,
        index=index,
        file=file,
        context=placement.context,
        slots=placement.slots,
        embeddings=placement.setup.embeddings,
        cache_ram_mib=placement.setup.cache_ram_mib,
        fit=False,
        placement=allocation(placement, budget),
    )

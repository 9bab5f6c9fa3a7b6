"""How does one model run best on one machine, and if it does not, what is missing?

The search goes down a ladder, from what costs users least. A form of the model (its files, best first) is
tried whole on GPUs: on one, with a q8_0 cache, split over several, with fewer slots, with a shorter context;
then the next form. Only then experts move to the CPU, then whole layers, then everything. The first rung that
fits and is fast enough is taken; its reasons say which rungs were too small before it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product

from relayd.config.schema import Allocation
from relayd.memory.refused import workable
from relayd.memory.setup import Gpu, Setup
from relayd.planner.budget import Budget, Room
from relayd.planner.demand import Demand
from relayd.planner.fixed import cache_types, followed, may_be, reachable
from relayd.planner.placement import (
    DEFAULT_SLOTS,
    LOADED_SHARE,
    Aim,
    Form,
    NoPlace,
    Place,
    Placement,
    Shortage,
    ceiling,
)
from relayd.planner.quality import Use
from relayd.planner.shapes import BATCH, BATCH_ON_CPU, Shape, shapes
from relayd.planner.split import fullest, groups, shared
from relayd.planner.timing import DEPTH_TOKENS, PROMPT_TOKENS, cliff, timed
from relayd.units import MIB, Bytes

EXTENSION = 4
"""Times the context that is wanted, for which memory that is left over is used; more is for other models."""

PROMPT_CACHE_MIB, PROMPT_CACHE_SHARE, PROMPT_CACHE_STEP_MIB = 8192, 0.25, 256
"""Prompts of earlier requests get llama-server's default at most, and of RAM that is left this share."""

Attempt = tuple[Setup, Shortage | None]
"""A setup to run, or what is too small for it."""


def fit(forms: Sequence[Form], budget: Budget, aim: Aim) -> Placement | NoPlace:
    """Return how a model runs best, how it runs fastest where that is too slow, or why it cannot run.

    Args:
        forms: The model in its quantizations, the best first.
        budget: What may be used.
        aim: What is asked of it.
    """
    search = _Search(budget, aim)
    if found := search.first(forms):
        return found
    slow = _Search(budget, replace(aim, min_speed=0.0, slots=aim.least_slots))
    if found := slow.first(forms[::-1]):
        return replace(found, fast_enough=found.speed(aim.use).value >= aim.min_speed)
    modest = _Search(budget, slow.aim)
    smallest = sorted(forms, key=lambda form: form.nbytes)[:1]
    modest.first(smallest)
    return NoPlace(tuple(modest.shortages.values()) or tuple(map(modest.together, smallest)))


def prompt_cache_mib(left: int) -> int:
    """Return the RAM for prompts of earlier requests, in MiB, where so many bytes are left."""
    mib = min(PROMPT_CACHE_MIB, int(left * PROMPT_CACHE_SHARE) // MIB)
    return mib // PROMPT_CACHE_STEP_MIB * PROMPT_CACHE_STEP_MIB


def named(form: Form) -> str:
    """Return what people call a file of a model: its quantization, where that is known."""
    return form.quantization.name or "its file"


class _Search:
    """One walk down the ladder."""

    def __init__(self, budget: Budget, aim: Aim) -> None:
        self.budget = reachable(budget, aim.fixed)
        self.aim = aim
        self.fixed = aim.fixed
        self.shortages: dict[Place, Shortage] = {}
        self.crowded = ""

    def first(self, forms: Sequence[Form]) -> Placement | None:
        """Return the first rung that fits and is fast enough; None if there is none."""
        attempts = (self.at(place, form) for place in Place for form in forms)
        return next(filter(None, attempts), None)

    def at(self, place: Place, form: Form) -> Placement | None:
        """Return the first rung of a place that a form fits, if it is fast enough."""
        if place is Place.SPLIT or (place is not Place.CPU and not self.budget.gpus):
            return None  # what is split is tried with what is whole on one GPU, rung by rung
        self.fixed = self._followed(form)
        if not may_be(place, self.fixed, form.build) or self._is_one_pool(place):
            return None
        if short := self._too_large(place, form):
            self.shortages[place] = short
            return None
        if self.aim.use is not Use.EMBEDDING and ceiling(form, self.budget, place) < self.aim.min_speed:
            return None
        demand = form.build()
        if place is Place.EXPERTS_ON_CPU and not demand.has_experts:
            return None
        slots = self._uncrowded(place, form, demand) if self.aim.pace else self.aim.slots
        for setup, early in self._attempts(place, form, demand, slots):
            found = None if early else self.placed(place, form, setup)
            if found and not found.fast_enough:
                if setup.slots <= self.aim.least_slots:
                    return None
                continue
            what = f"{named(form)} with {setup.slots} x {setup.context // setup.slots} tokens"
            # Compute buffers take longest to predict: last of all, for what fits without them.
            short = early or self._short(demand, setup, f"{what}, {setup.type_k} cache")
            if short:
                self.shortages[place] = short
            elif found:
                return self._completed(found, demand)
        return None

    def _is_one_pool(self, place: Place) -> bool:
        """Return whether a model would move from GPUs to a CPU that has the same memory."""
        if place not in {Place.EXPERTS_ON_CPU, Place.PARTIAL} or self.fixed.gpu_layers is not None:
            return False
        return not self.fixed.experts_on_cpu and all(room.unified for room in self.budget.gpus)

    def _uncrowded(self, place: Place, form: Form, demand: Demand) -> int:
        """Return how many slots reach the pace that is asked for, all at work; whether they fit is not asked.

        Only so does more memory never mean fewer of them.
        """
        slots = self.aim.slots if place is Place.ONE_GPU else min(self.aim.slots, DEFAULT_SLOTS)
        while slots > self.aim.least_slots:
            setup, _ = next(self._attempts(place, form, demand, slots), (None, None))
            each = self.placed(place, form, setup).decoding.each.value if setup else self.aim.pace
            if each >= self.aim.pace:
                break
            pace = f"people read about {self.aim.pace:g}"
            self.crowded = f"With {slots} slots at work each would get {each:.2g} tokens/s; {pace}."
            slots = max(slots // 2, self.aim.least_slots)
        return slots

    def _followed(self, form: Form) -> Allocation:
        """Return what is decided, as far as this machine and this form can follow it."""
        fixed = self.aim.fixed
        if not (fixed.gpu_layers or fixed.devices or fixed.experts_on_cpu):
            return fixed
        has_experts = bool(fixed.experts_on_cpu) and form.build().has_experts
        return followed(fixed, self.budget, has_experts=has_experts)

    def together(self, form: Form) -> Shortage:
        """Return what a form lacks that was tried on several devices at once, none of which is the reason."""
        rooms = self.budget.gpus or (self.budget.host,)
        largest = max(rooms, key=lambda room: room.usable)
        count = f" ({len(rooms)} devices together are too small)" if len(rooms) > 1 else ""
        return Shortage(f"{named(form)}{count}", largest, form.nbytes, at_least=True)

    def _short(self, demand: Demand, setup: Setup, what: str, *, computes: bool = True) -> Shortage | None:
        short = self.budget.short_of(demand.needs(setup, computes=computes))
        return Shortage(what, *short, at_least=not computes) if short else None

    def _too_large(self, place: Place, form: Form) -> Shortage | None:
        """Return a shortage that the size of the file alone shows."""
        rooms = self.budget.gpus if place is Place.ONE_GPU else self.budget.rooms
        if place is Place.CPU or any(room.unified for room in rooms):
            rooms = (self.budget.host,)
        least = Bytes(int(form.nbytes * LOADED_SHARE))
        if least <= sum(room.usable for room in rooms):
            return None
        largest = max(rooms, key=lambda room: room.usable)
        together = "" if len(rooms) == 1 else f" ({len(rooms)} devices together are too small)"
        return Shortage(f"{named(form)}{together}", largest, least, at_least=True)

    def _attempts(self, place: Place, form: Form, demand: Demand, slots: int) -> Iterator[Attempt]:
        for shape in shapes(replace(self.aim, slots=slots), demand.shape.context_trained):
            count, context, _ = shape
            for kinds in cache_types(self.fixed, demand.shape):
                batch = BATCH_ON_CPU if place is Place.CPU else BATCH
                setup = workable(demand.shape, self._setup(shape, kinds, batch))
                what = f"{named(form)} with {count} x {context} tokens, {kinds[0]} cache"
                match place:
                    case Place.ONE_GPU:
                        yield from self._single(demand, setup, what)
                    case Place.EXPERTS_ON_CPU:
                        yield from self._experts(demand, setup, what)
                    case Place.PARTIAL:
                        yield from self._partial(demand, setup, what)
                    case _:
                        yield self._checked(demand, setup, what)
            if place is Place.ONE_GPU:
                yield from self._split(demand, shape)

    def _setup(self, shape: Shape, kinds: tuple[str, str], batch: int = BATCH) -> Setup:
        (slots, context, micro), fixed = shape, self.fixed
        return Setup(
            context=slots * context,
            slots=slots,
            unified=bool(fixed.unified),
            type_k=kinds[0],
            type_v=kinds[1],
            batch=fixed.batch or max(batch, micro),
            micro_batch=micro,
            flash_attention=fixed.flash_attention is not False,
            embeddings=self.aim.use is Use.EMBEDDING or self.aim.embeddings,
            repacked=self.budget.repacked,
            cache_ram_mib=self.aim.prompt_cache_mib or 0,
        )

    def _checked(self, demand: Demand, setup: Setup, what: str) -> Attempt:
        return setup, self._short(demand, setup, what, computes=False)

    def _single(self, demand: Demand, setup: Setup, what: str) -> Iterator[Attempt]:
        """Yield the setup on each GPU, the fastest first."""
        if len(self.fixed.devices or ()) > 1:
            return
        for room in sorted(self.budget.gpus, key=lambda room: -room.processor.bandwidth_gb_s):
            yield self._checked(demand, replace(setup, gpus=(Gpu(room.key),)), what)

    def _split(self, demand: Demand, shape: Shape) -> Iterator[Attempt]:
        for kinds, rooms in product(cache_types(self.fixed, demand.shape), self._groups()):
            setup = workable(demand.shape, self._setup(shape, kinds))
            if found := self._shared(demand, setup, rooms):
                yield self._checked(demand, found, "")

    def _groups(self) -> Iterator[tuple[Room, ...]]:
        """Yield the sets of several GPUs; where devices are fixed, all of them together."""
        several = self.budget.gpus
        yield from groups(self.budget) if self.fixed.devices is None else [several][: len(several) > 1]

    def _shared(self, demand: Demand, setup: Setup, rooms: Sequence[Room]) -> Setup | None:
        """Return the setup with its layers shared as configured, else as they fit."""
        shares = self.fixed.shares or ()
        if len(shares) != len(rooms):
            return shared(demand, setup, rooms)
        gpus = tuple(Gpu(room.key, share) for room, share in zip(rooms, shares, strict=True))
        return replace(setup, gpus=gpus)

    def _gpu_sets(self) -> Iterator[tuple[Room, ...]]:
        """Yield the largest GPU alone, then sets of several."""
        if len(self.fixed.devices or ()) > 1:
            yield self.budget.gpus
            return
        apart = [room for room in self.budget.gpus if not room.unified] or self.budget.gpus
        yield (max(apart, key=lambda room: (room.usable, room.processor.bandwidth_gb_s)),)
        yield from groups(self.budget)

    def _experts(self, demand: Demand, setup: Setup, what: str) -> Iterator[Attempt]:
        """Yield the setup with as few layers' experts on the CPU as make the rest fit."""
        blocks = demand.shape.n_blocks
        if count := self.fixed.experts_on_cpu:
            yield from self._exactly(demand, replace(setup, experts_on_cpu=count), what)
            return

        def with_experts_of(count: int) -> Setup:
            return replace(setup, experts_on_cpu=blocks - count)

        for rooms in self._gpu_sets():
            if found := fullest(demand, with_experts_of, 0, blocks - 1, rooms):
                yield self._checked(demand, found, what)
            else:
                none = replace(with_experts_of(0), gpus=(Gpu(rooms[0].key),))
                yield self._checked(demand, none, what)

    def _partial(self, demand: Demand, setup: Setup, what: str) -> Iterator[Attempt]:
        """Yield the setup with as many layers on GPUs as fit."""
        if count := self.fixed.gpu_layers:
            few = replace(setup, gpu_layers=count, experts_on_cpu=self.fixed.experts_on_cpu or 0)
            yield from self._exactly(demand, few, what)
            return

        def with_layers(count: int) -> Setup:
            return replace(setup, gpu_layers=count)

        for rooms in self._gpu_sets():
            if found := fullest(demand, with_layers, len(rooms), demand.layers - 1, rooms):
                yield self._checked(demand, found, what)

    def _exactly(self, demand: Demand, setup: Setup, what: str) -> Iterator[Attempt]:
        """Yield the setup as it is, on each set of GPUs."""
        for rooms in self._gpu_sets():
            found = self._shared(demand, setup, rooms)
            yield self._checked(demand, found or replace(setup, gpus=(Gpu(rooms[0].key),)), what)

    def placed(self, place: Place, form: Form, setup: Setup) -> Placement:
        """Return a setup that fits, with its speed."""
        found = timed(form, place, setup, self.budget, DEPTH_TOKENS, PROMPT_TOKENS)
        return replace(found, fast_enough=found.speed(self.aim.use).value >= self.aim.min_speed)

    def _completed(self, placement: Placement, demand: Demand) -> Placement:
        """Return the placement with memory that is left over put to use, and its cliff named."""
        setup = self._with_prompt_cache(self._extended(placement, demand), demand)
        reasons = tuple(f"{one}." for one in self.shortages.values() if one.what)
        if moved := cliff(placement, self.budget):
            reasons = (*reasons, moved)
        if self.crowded:
            reasons = (*reasons, self.crowded)
        if self.aim.embeddings and setup.micro_batch < setup.context // setup.slots:
            reasons = (*reasons, f"An input for a vector may have {setup.micro_batch} tokens: one pass.")
        return replace(
            placement,
            setup=setup,
            context=setup.context // setup.slots,
            needs=demand.needs(setup),
            reasons=reasons,
        )

    def _extended(self, placement: Placement, demand: Demand) -> Setup:
        """Return the setup with the longest context that fits where it is, if it is whole on GPUs."""
        setup = placement.setup
        longest = min(demand.shape.context_trained, EXTENSION * self.aim.context)
        whole = placement.place in {Place.ONE_GPU, Place.SPLIT}
        if not (self.aim.extend and whole) or self.aim.use is Use.EMBEDDING:
            return setup
        while (context := setup.context // setup.slots) < longest:
            longer = replace(setup, context=min(2 * context, longest) * setup.slots)
            if self.budget.short_of(demand.needs(longer)):
                break
            setup = longer
        return setup

    def _with_prompt_cache(self, setup: Setup, demand: Demand) -> Setup:
        if self.aim.prompt_cache_mib is not None or self.aim.use is Use.EMBEDDING:
            return setup
        left = self.budget.minus(demand.needs(setup)).host.usable
        return replace(setup, cache_ram_mib=prompt_cache_mib(left))

"""The best form of one model on one machine.

Every form that passes the gates is scored (quantization, type of the cache, context, and place: each GPU, the
GPUs of one kind together, experts or whole layers in RAM, the CPU), and the best score wins. What cannot
reach a score that is already there, by its size and the bandwidth alone, is not looked at more closely; so
the result is the same as if everything were. More memory, bandwidth or devices add forms or make them
faster, and take none away: the best score never falls.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

from relayd.memory.refused import refused_cache, workable
from relayd.memory.setup import EVERY_LAYER, Gpu, Setup
from relayd.planner.budget import Budget, Room
from relayd.planner.demand import Demand
from relayd.planner.placement import LOADED_SHARE, Form, Place, Placement, Shortage
from relayd.planner.quality import ModelFacts, Quality, Use, quality
from relayd.planner.rank import SPILLED, Request, score
from relayd.planner.shapes import BATCH, BATCH_ON_CPU, MICRO_BATCH
from relayd.planner.split import most
from relayd.planner.spread import kinds, packed, spread
from relayd.planner.timing import timed

SHARED = frozenset({Place.EXPERTS_ON_CPU, Place.PARTIAL})
"""Places where GPUs and CPU share a model."""

LARGE_GB_S = 60
"""Bandwidth from which a GPU that computes in RAM is what the machine is for: its CPU has the same memory."""


@dataclass(frozen=True, slots=True)
class Scored:
    """A form that passes the gates.

    Attributes:
        placement: The form and where it runs, without what it needs.
        quality: How good it is.
        pace: What the use counts as speed.
        score: From 0 to 100.
        spilled: Points that it lost for layers on the CPU beside a GPU.
    """

    placement: Placement
    quality: Quality
    pace: float
    score: float
    spilled: float = 0.0


@dataclass(frozen=True, slots=True)
class Spot:
    """A place for a model.

    Attributes:
        place: Which.
        rooms: The GPUs that take part; none on the CPU.
        usable: What they have for models.
        rate: Bytes a millisecond that the fastest device of it reads.
        slowest: Those that RAM is read with, where it takes part; else as `rate`.
    """

    place: Place
    rooms: tuple[Room, ...]
    usable: int
    rate: float
    slowest: float


@dataclass(frozen=True, slots=True)
class _Chance:
    """A form at a spot, with the score that it cannot exceed."""

    most: float
    form: Form
    caches: tuple[str, str]
    quality: Quality
    spot: Spot
    pace: float


class Scoring:
    """The search for one use on one machine.

    Args:
        budget: What may be used of the machine.
        request: What is looked for.
    """

    def __init__(self, budget: Budget, request: Request) -> None:
        self.budget = budget
        self.request = request
        self.profile = request.profile
        left_out = (SHARED | {Place.CPU} if budget.gpus else SHARED) if request.whole else frozenset()
        self.spots = tuple(one for one in spots(budget) if one.place not in left_out)

    def bound(self, facts: ModelFacts, forms: Sequence[Form]) -> float:
        """Return a score that a model cannot exceed here; 0 if no form of it passes the gates."""
        profile, found, context = self.profile, 0.0, self._longest(facts)
        for form in forms if context else ():
            pace = max(self._fastest(form, spot) for spot in self.spots)
            if pace >= self.request.floor:
                points = quality(facts, form.quantization, self.request.use).score
                if points < self.request.least_quality:
                    continue
                found = max(found, score(points, pace, context, profile))
        return found

    def _longest(self, facts: ModelFacts) -> int:
        """Return the most context that counts; 0 where the model was trained on less than it must have."""
        profile, request = self.profile, self.request
        if not facts.context or facts.context >= profile.context:
            return profile.context
        enough = request.min_context if request.lenient else profile.least_context
        return facts.context if facts.context >= enough else 0

    def best(self, facts: ModelFacts, forms: Sequence[Form], above: float = 0.0) -> Scored | None:
        """Return the form with the best score; None if none passes the gates with more than `above`.

        Args:
            facts: The model.
            forms: Its files.
            above: A score that is of no use.
        """
        found: Scored | None = None
        for chance in sorted(self._chances(facts, forms), key=lambda one: -one.most):
            if chance.most <= (found.score if found else above):
                break
            for choice in self._choices(chance, found.score if found else above):
                if choice.score > (found.score if found else above):
                    found = choice
        return found

    def every(self, facts: ModelFacts, forms: Sequence[Form]) -> Iterator[Scored]:
        """Yield each form that passes the gates: what `best` is the best of."""
        for chance in self._chances(facts, forms):
            yield from self._choices(chance, 0.0)

    def shortage(self, form: Form, spot: Spot) -> Shortage | None:
        """Return what a form lacks at a spot with the least that the use must have."""
        demand = form.build()
        context = next(iter(reversed(self._contexts(demand))), 0)
        for setup in self._whole(demand, spot, context, ("q8_0", "q8_0")) if context else ():
            if short := self.budget.short_of(demand.needs(setup)):
                name = form.quantization.name or "its file"
                return Shortage(f"{name} with {setup.slots} x {context} tokens, q8_0 cache", *short)
        return None

    def _chances(self, facts: ModelFacts, forms: Sequence[Form]) -> Iterator[_Chance]:
        context = self._longest(facts)
        for form, spot in product(forms if context else (), self.spots):
            pace = self._fastest(form, spot)
            if pace < self.request.floor:
                continue
            for caches in self._caches():
                found = quality(facts, form.quantization, self.request.use, *caches)
                if found.score < self.request.least_quality:
                    continue
                most = score(found.score, pace, context, self.profile)
                yield _Chance(most, form, caches, found, spot, pace)

    def _caches(self) -> Iterator[tuple[str, str]]:
        yield from ((kind, kind) for kind in self.request.caches)

    def _fastest(self, form: Form, spot: Spot) -> float:
        """Return a pace that a form cannot exceed at a spot, by its size alone; 0 where it is too large."""
        host = self.budget.host.usable
        size = form.nbytes * LOADED_SHARE
        if size - form.aside > (spot.usable if _is_whole(spot.place) else spot.usable + host):
            return 0.0
        if spot.place is Place.CPU and size > host:
            return 0.0
        if self.request.use is Use.EMBEDDING:
            return self.profile.enough
        ms = form.read_bytes / spot.rate
        if spot.place is Place.PARTIAL:
            ms += max(0.0, form.read_bytes - spot.usable) * (1 / spot.slowest - 1 / spot.rate)
        return 1000 / max(1e-9, min(ms, form.read_bytes / spot.slowest))

    def _choices(self, chance: _Chance, above: float) -> Iterator[Scored]:
        """Yield what a form can be at a spot: with each context that it holds, the longest first.

        Contexts with which it could not score more than `above` are left out.
        """
        demand, spot = chance.form.build(), chance.spot
        if refused_cache(demand.shape, *chance.caches):
            return
        if spot.place is Place.EXPERTS_ON_CPU and not demand.has_experts:
            return
        alike = _is_whole(spot.place) and len({room.processor for room in spot.rooms}) < 2
        for context in self._contexts(demand):
            if score(chance.quality.score, chance.pace, context, self.profile) <= above:
                return
            fits = False
            for setup in self._setups(demand, spot, context, chance.caches):
                if self._is_short(demand, setup):
                    continue
                fits = True
                if choice := self._judged(chance, setup):
                    yield choice
            if fits and alike and self.profile.depth:
                return  # a shorter context is as fast

    def _is_short(self, demand: Demand, setup: Setup) -> bool:
        """Return whether a setup does not fit; compute buffers take longest to predict, and come last."""
        short = self.budget.short_of
        return bool(short(demand.needs(setup, computes=False)) or short(demand.needs(setup)))

    def _contexts(self, demand: Demand) -> tuple[int, ...]:
        """Return what a slot may hold, the most first: doubled from what the use must have."""
        profile = self.profile
        trained = demand.shape.context_trained or profile.least_context
        if trained < profile.least_context:
            return (trained,) if self.request.lenient and trained >= self.request.min_context else ()
        found, context = [], profile.least_context
        while context < min(trained, profile.context):
            found.append(context)
            context *= 2
        return (min(trained, profile.context), *reversed(found))

    def _setups(self, demand: Demand, spot: Spot, context: int, caches: tuple[str, str]) -> Iterator[Setup]:
        """Yield how a model could run at a spot; whether RAM suffices is not asked."""
        if _is_whole(spot.place) or spot.place is Place.CPU:
            yield from self._whole(demand, spot, context, caches)
            return
        plain, depth = self._setup(demand, context, caches), self.profile.deep(context)
        blocks, layers = demand.shape.n_blocks, demand.layers

        def made(count: int) -> Setup:
            if spot.place is Place.EXPERTS_ON_CPU:
                return replace(plain, experts_on_cpu=blocks - count)
            return replace(plain, gpu_layers=count)

        low, high = (0, blocks - 1) if spot.place is Place.EXPERTS_ON_CPU else (1, layers - 1)

        def held(rooms: Sequence[Room]) -> int | None:
            return most(low, high, lambda count: packed(demand, made(count), rooms) is not None)

        counts = {count for rooms in self._worth_filling(spot) if (count := held(rooms)) is not None}
        for count in sorted(counts | {low}, reverse=True) if counts else ():
            if found := spread(demand, made(count), spot.rooms, depth):
                yield found

    def _worth_filling(self, spot: Spot) -> tuple[tuple[Room, ...], ...]:
        """Return the GPUs that may be filled before RAM is: all, and only those that read faster than it."""
        faster = tuple(room for room in spot.rooms if _byte_rate(room) > _byte_rate(self.budget.host))
        return (spot.rooms, faster) if faster and faster != spot.rooms else (spot.rooms,)

    def _whole(self, demand: Demand, spot: Spot, context: int, caches: tuple[str, str]) -> Iterator[Setup]:
        plain = self._setup(demand, context, caches, BATCH if spot.rooms else BATCH_ON_CPU)
        if len(spot.rooms) < 2:
            yield replace(plain, gpus=tuple(Gpu(room.key) for room in spot.rooms))
        elif found := spread(demand, plain, spot.rooms, self.profile.deep(context)):
            yield found

    def _setup(self, demand: Demand, context: int, caches: tuple[str, str], batch: int = BATCH) -> Setup:
        embeds = self.request.use is Use.EMBEDDING
        micro = context if embeds else MICRO_BATCH
        setup = Setup(
            context=context * self.request.users,
            slots=self.request.users,
            type_k=caches[0],
            type_v=caches[1],
            batch=max(batch, micro),
            micro_batch=micro,
            embeddings=embeds,
            repacked=self.budget.repacked,
            cache_ram_mib=0,
        )
        return workable(demand.shape, setup)

    def _judged(self, chance: _Chance, setup: Setup) -> Scored | None:
        """Return a setup that fits with its score; None where it is too slow."""
        profile, request = self.profile, self.request
        context = setup.context // setup.slots
        found = timed(
            chance.form, chance.spot.place, setup, self.budget, profile.deep(context), profile.prompt
        )
        pace = pace_of(found, request)
        if pace < request.floor or found.speed(request.use).value < (request.min_speed or 0.0):
            return None
        points = score(chance.quality.score, pace, context, profile)
        spilled = self._spilled(chance, setup, points) if found.place is Place.PARTIAL else 0.0
        return Scored(found, chance.quality, pace, points - spilled, spilled)

    def _spilled(self, chance: _Chance, setup: Setup, points: float) -> float:
        """Return what layers on the CPU beside a GPU cost: no more than the GPU gains over the CPU alone."""
        profile, context = self.profile, setup.context // setup.slots
        alone = replace(setup, gpus=(), gpu_layers=EVERY_LAYER, batch=BATCH_ON_CPU)
        if self._is_short(chance.form.build(), alone):
            return SPILLED
        slow = timed(chance.form, Place.CPU, alone, self.budget, profile.deep(context), profile.prompt)
        least = score(chance.quality.score, pace_of(slow, self.request), context, profile)
        return min(SPILLED, max(0.0, points - least))


def spots(budget: Budget) -> Iterator[Spot]:
    """Yield the places of a machine: GPUs that are alike count once."""
    host = budget.host

    def spot(place: Place, rooms: tuple[Room, ...] = ()) -> Spot:
        rates = [_byte_rate(room) for room in rooms or (host,)]
        slowest = max(rates) if _is_whole(place) else _byte_rate(host)
        return Spot(place, rooms, sum(room.usable for room in rooms), max(rates), slowest)

    alone: dict[tuple[object, ...], Room] = {}
    for room in budget.gpus:
        alone.setdefault((room.processor, room.usable, room.unified), room)
    yield from (spot(Place.ONE_GPU, (room,)) for room in alone.values())
    for rooms in kinds(budget):
        if len(rooms) > 1:
            yield spot(Place.SPLIT, rooms)
        yield spot(Place.EXPERTS_ON_CPU, rooms)
        yield spot(Place.PARTIAL, rooms)
    if not any(room.unified and room.processor.bandwidth_gb_s >= LARGE_GB_S for room in budget.gpus):
        yield spot(Place.CPU)


def pace_of(placement: Placement, request: Request) -> float:
    """Return what the use counts as the speed of a placement, in tokens a second."""
    profile, rate = request.profile, placement.speed(request.use).value
    if not profile.reply:
        return rate
    reading = placement.prefill.value
    return profile.reply / (profile.prompt / reading + profile.reply / rate) if reading and rate else 0.0


def _is_whole(place: Place) -> bool:
    return place in {Place.ONE_GPU, Place.SPLIT}


def _byte_rate(room: Room) -> float:
    """Return the bytes a millisecond that a device reads at most."""
    return room.processor.bandwidth_gb_s * 1e6 / room.processor.byte_factor

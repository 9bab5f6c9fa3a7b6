"""What would make room for a model that is not whole on the devices of a machine, and what each costs.

Each is one change to the same setup: all of the model on the GPUs (on the CPU where there are none), with the
least context of its use and a cache in 16 bits. Speeds are compared as if that setup had room.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from relayd.memory.refused import workable
from relayd.memory.setup import Gpu, Setup
from relayd.memory.weights import CPU
from relayd.planner.budget import Budget, Room
from relayd.planner.demand import Demand
from relayd.planner.placement import Form
from relayd.planner.rank import Request
from relayd.planner.split import most, shared
from relayd.planner.spread import kinds
from relayd.planner.timing import place_of, timed
from relayd.units import Bytes

LEAST_TOKENS = 4096
"""Context below which a conversation does not fit."""

SMALLER_FILES = 2
"""Smaller files that are named at most: the largest, and the smallest."""


@dataclass(frozen=True, slots=True)
class Fix:
    """One change.

    Attributes:
        what: For people: `experts of 2 layers on the CPU`.
        saves: What the devices need less; of the CPU where there is no GPU.
        speed: Tokens a second alone.
        slower: Tokens a second that are lost, negative where it is faster.
        enough: Whether the model has room then.
    """

    what: str
    saves: Bytes
    speed: float
    slower: float
    enough: bool


@dataclass(frozen=True, slots=True)
class Fixes:
    """What a whole model needs, and what would make room for it.

    Attributes:
        what: The setup: `Q6_K with 1 x 32768 tokens, f16 cache, whole on cuda0`.
        need: What the devices would have to hold.
        have: What they have for models.
        speed: Tokens a second alone if there were room.
        fixes: The changes, those that cost least speed first.
    """

    what: str
    need: Bytes
    have: Bytes
    speed: float
    fixes: tuple[Fix, ...]


def fixes(form: Form, forms: Sequence[Form], budget: Budget, request: Request) -> Fixes | None:
    """Return what would make room for a model; None where there is room for all of it.

    Args:
        form: Its file.
        forms: All of its files.
        budget: What may be used of the machine.
        request: What it is wanted for.
    """
    return _Bench(budget, request).of(form, forms)


class _Bench:
    """Setups of a model on one machine, each held against the whole one."""

    def __init__(self, budget: Budget, request: Request) -> None:
        self._budget, self._request = budget, request
        together = [rooms for rooms in kinds(budget) if rooms]
        unified = [(room,) for room in budget.gpus if room.unified]
        sizes = {rooms: sum(room.usable for room in rooms) for rooms in (*together, *unified)}
        self._rooms: tuple[Room, ...] = max(sizes, key=lambda rooms: sizes[rooms], default=())

    def of(self, form: Form, forms: Sequence[Form]) -> Fixes | None:
        demand = form.build()
        whole = self._whole(demand)
        if self._fits(demand, whole):
            return None
        need, speed = self._need(demand, whole), self._speed(form, whole)
        tried = [*self._other_setups(demand, whole), *self._placed(demand, whole)]
        changes = [(what, form, setup) for what, setup in tried]
        smaller = sorted((one for one in forms if one.nbytes < form.nbytes), key=lambda one: -one.nbytes)
        for one in (*smaller[: SMALLER_FILES - 1], *smaller[SMALLER_FILES - 1 :][-1:]):
            name, instead = one.quantization.name, form.quantization.name
            changes.append((f"{name} instead of {instead}", one, self._whole(one.build())))
        found = [self._fix(what, one, setup, need, speed) for what, one, setup in changes]
        where = " and ".join(room.key for room in self._rooms) or "the CPU"
        what = (
            f"{form.quantization.name or 'Its file'} with {whole.slots} x {whole.context // whole.slots} "
            f"tokens, {whole.type_k} cache, whole on {where}"
        )
        have = Bytes(sum(room.usable for room in self._rooms or (self._budget.host,)))
        order = sorted((one for one in found if one.saves > 0), key=lambda one: (one.slower, -one.saves))
        return Fixes(what, need, have, speed, tuple(order))

    def _whole(self, demand: Demand) -> Setup:
        profile, users = self._request.profile, self._request.users
        context = min(profile.least_context, demand.shape.context_trained or profile.least_context)
        gpus = tuple(Gpu(room.key, float(room.usable)) for room in self._rooms)
        setup = Setup(
            context=context * users,
            slots=users,
            gpus=gpus if len(gpus) > 1 else tuple(Gpu(gpu.key) for gpu in gpus),
            repacked=self._budget.repacked,
            cache_ram_mib=0,
        )
        return workable(demand.shape, setup)

    def _other_setups(self, demand: Demand, whole: Setup) -> Iterator[tuple[str, Setup]]:
        context = whole.context // whole.slots
        if context // 2 >= LEAST_TOKENS:
            yield f"{context // 2} tokens of context", replace(whole, context=whole.context // 2)
        yield "a cache in q8_0", workable(demand.shape, replace(whole, type_k="q8_0", type_v="q8_0"))
        if whole.slots > 1:
            fewer = whole.slots // 2
            yield (
                f"{fewer} of {whole.slots} users at once",
                replace(whole, slots=fewer, context=context * fewer),
            )

    def _placed(self, demand: Demand, whole: Setup) -> Iterator[tuple[str, Setup]]:
        if not self._rooms:
            return
        blocks, layers = demand.shape.n_blocks, demand.layers
        if demand.has_experts:
            held = most(0, blocks - 1, lambda count: self._packs(demand, whole, experts=blocks - count))
            moved = blocks - (held or 0)
            yield f"experts of {moved} layers on the CPU", replace(whole, experts_on_cpu=moved)
        held = most(1, layers - 1, lambda count: self._packs(demand, whole, layers=count))
        if held is not None:
            yield f"{layers - held} of {layers} layers on the CPU", replace(whole, gpu_layers=held)
        yield "all of it on the CPU", replace(whole, gpus=(), experts_on_cpu=0)

    def _packs(self, demand: Demand, whole: Setup, *, experts: int = 0, layers: int | None = None) -> bool:
        setup = replace(whole, experts_on_cpu=experts, gpu_layers=layers or whole.gpu_layers)
        return shared(demand, setup, self._rooms) is not None

    def _fix(self, what: str, form: Form, setup: Setup, need: Bytes, speed: float) -> Fix:
        demand, found = form.build(), self._speed(form, setup)
        saves = Bytes(need - self._need(demand, setup))
        return Fix(what, saves, found, speed - found, self._fits(demand, setup))

    def _need(self, demand: Demand, setup: Setup) -> Bytes:
        needs = demand.needs(setup)
        keys = [room.key for room in self._rooms] or [CPU]
        return Bytes(sum(needs.get(key, 0) for key in keys))

    def _fits(self, demand: Demand, setup: Setup) -> bool:
        placed = shared(demand, setup, self._rooms) if setup.gpus else setup
        return placed is not None and not self._budget.short_of(demand.needs(placed))

    def _speed(self, form: Form, setup: Setup) -> float:
        context = setup.context // setup.slots
        profile, place = self._request.profile, place_of(setup, form.build())
        placed = timed(form, place, setup, self._budget, profile.deep(context), profile.prompt)
        return placed.alone.value

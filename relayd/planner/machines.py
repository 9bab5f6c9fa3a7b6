"""Which of several machines runs which model, why, and what would have to move (placement over machines)?

What each machine makes of its models is the plan of one machine (`fleet`); here it is decided which machine
gets which. Models that few machines can hold choose first, among these the largest. Of the machines on which
one fits beside what these have been given:

1. those on which it is as fast as was asked for, and as people read
2. those that are awake
3. those at least half as fast as the fastest, and of these the ones with the fewest replicas of it, so that
   the end of one machine does not take both
4. those nearly as fast as the fastest (`NEAR`); beyond what people can read (`ENOUGH`) all are equal
5. where it runs now, then where its file is: nothing has to move
6. the one that keeps the largest share of its memory: models spread rather than share a device
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from relayd.planner.budget import Budget
from relayd.planner.fit import fit
from relayd.planner.fleet import FleetPlan, Wanted, plan_fleet
from relayd.planner.placement import READING_PACE, Aim, NoPlace, Placement
from relayd.units import Bytes, show_bytes, show_seconds

NEAR = 0.8
"""A machine of this share of the best one's speed counts as fast as that: predictions err by as much."""

HALF = 0.5
"""Of the best one's speed: what is slower gets no replica for the sake of another machine."""

ENOUGH = 8 * READING_PACE
"""Tokens a second of one sequence that no reader notices to be exceeded."""

_NO_FILES: Mapping[str, Bytes] = {}


@dataclass(frozen=True, slots=True)
class Box:
    """One machine of a fleet.

    Attributes:
        name: What the hub calls it.
        budget: What models may take of it, with nothing loaded.
        files: Model → size of its file there.
        runs: Models it has in memory → replicas.
        speeds: Models → tokens a second of one sequence that were measured there.
        is_awake: Whether it is connected; one that sleeps is woken only for what fits nowhere else.
    """

    name: str
    budget: Budget
    files: Mapping[str, Bytes] = field(default_factory=dict)
    runs: Mapping[str, int] = field(default_factory=dict)
    speeds: Mapping[str, float] = field(default_factory=dict)
    is_awake: bool = True


@dataclass(frozen=True, slots=True)
class ModelMove:
    """A file that has to come to a machine before its model can run there.

    Attributes:
        source: The machine that has it; empty where none does, and it is downloaded.
        nbytes: Its size.
        seconds: How long that takes at the rate that files may travel; 0 where nothing is known of it.
    """

    source: str
    nbytes: Bytes
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Seat:
    """One replica and its machine.

    Attributes:
        model: Whose replica it is.
        index: Which replica of the model in the fleet.
        box: The machine; empty where none has room.
        outcome: How it runs there, or why it does not.
        reasons: Why there.
        move: What has to come there first; None where nothing has.
        is_new: Whether it does not run there now.
    """

    model: str
    index: int
    box: str
    outcome: Placement | NoPlace
    reasons: tuple[str, ...] = ()
    move: ModelMove | None = None
    is_new: bool = True


@dataclass(frozen=True, slots=True)
class MachinesPlan:
    """Which machine runs what.

    Attributes:
        seats: Every replica, in the order in which models were written.
        plans: Machine → the plan of that machine.
        leaves: Models that a machine runs now and would not → where they run instead.
    """

    seats: tuple[Seat, ...]
    plans: Mapping[str, FleetPlan]
    leaves: tuple[tuple[str, str], ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every replica has a machine."""
        return all(isinstance(seat.outcome, Placement) for seat in self.seats)


@dataclass(frozen=True, slots=True)
class _Option:
    """A machine on which a replica fits."""

    box: Box
    placement: Placement
    left_share: float
    siblings: int

    def speed(self, model: str) -> float:
        measured = self.box.speeds.get(model)
        return measured or self.placement.decoding.each.value


def plan_machines(
    wanted: Sequence[Wanted], boxes: Sequence[Box], *, bytes_per_second: float = 0.0
) -> MachinesPlan:
    """Return which machine runs which of some models.

    Args:
        wanted: The models, with how many replicas of each the fleet has.
        boxes: The machines.
        bytes_per_second: How fast files travel between them; 0 where that is not known.
    """
    search = _Seating(boxes)
    alone = {one.name: sum(_fits(one, box.budget) for box in boxes) for one in wanted}
    for one in sorted(wanted, key=lambda one: (alone[one.name], -_size(one))):
        for _ in range(one.replicas):
            search.seat(one)
    plans = search.planned(wanted)
    seats = tuple(search.seats(wanted, plans, bytes_per_second))
    return MachinesPlan(seats, plans, tuple(_leaving(boxes, seats)))


class _Seating:
    """The machines while models are given to them."""

    def __init__(self, boxes: Sequence[Box]) -> None:
        self._boxes = boxes
        self._left = {box.name: box.budget for box in boxes}
        self._given: dict[str, list[str]] = {box.name: [] for box in boxes}
        self._why: dict[str, list[tuple[str, tuple[str, ...]]]] = {}

    def seat(self, one: Wanted) -> None:
        """Give one more replica of a model to the machine that suits it best; to none where none has room."""
        options = list(self._options(one))
        chosen = ""
        why: tuple[str, ...] = ()
        if options:
            best = _best(one.name, options)
            chosen, why = best.box.name, tuple(_reasons(one.name, best, options))
            self._left[chosen] = self._left[chosen].minus(best.placement.needs, one.name)
            self._given[chosen].append(one.name)
        self._why.setdefault(one.name, []).append((chosen, why))

    def _options(self, one: Wanted) -> Iterator[_Option]:
        for box in self._boxes:
            outcome = fit(one.forms, self._left[box.name], _least(one.aim))
            if isinstance(outcome, Placement):
                after = self._left[box.name].minus(outcome.needs)
                share = _usable(after) / max(1, _usable(box.budget))
                yield _Option(box, outcome, share, self._given[box.name].count(one.name))

    def planned(self, wanted: Sequence[Wanted]) -> dict[str, FleetPlan]:
        """Return the plan of each machine that has been given a model."""
        return {
            box.name: plan_fleet(
                [
                    replace(one, replicas=self._given[box.name].count(one.name))
                    for one in wanted
                    if one.name in self._given[box.name]
                ],
                box.budget,
                all_of_them=True,
            )
            for box in self._boxes
            if self._given[box.name]
        }

    def seats(
        self, wanted: Sequence[Wanted], plans: Mapping[str, FleetPlan], bytes_per_second: float
    ) -> Iterator[Seat]:
        """Yield every replica with its place in the plan of its machine."""
        boxes = {box.name: box for box in self._boxes}
        taken: dict[tuple[str, str], int] = {}
        for one in wanted:
            for index, (name, why) in enumerate(self._why[one.name]):
                if not name:
                    yield self._nowhere(one, index)
                    continue
                nth = taken[name, one.name] = taken.get((name, one.name), -1) + 1
                outcomes = [each.outcome for each in plans[name].assignments if each.model == one.name]
                box = boxes[name]
                is_new = nth >= box.runs.get(one.name, 0)
                move = None if one.name in box.files else self._move(one, bytes_per_second)
                yield Seat(one.name, index, name, outcomes[nth], why, move, is_new)

    def _move(self, one: Wanted, bytes_per_second: float) -> ModelMove:
        holders = [box for box in self._boxes if one.name in box.files]
        holders.sort(key=lambda box: not box.is_awake)
        size = holders[0].files[one.name] if holders else Bytes(_size(one))
        seconds = size / bytes_per_second if bytes_per_second and holders else 0.0
        return ModelMove(holders[0].name if holders else "", size, seconds)

    def _nowhere(self, one: Wanted, index: int) -> Seat:
        """Return a replica without a machine: what each is short of, and that which comes closest."""
        outcomes = {box.name: fit(one.forms, self._left[box.name], one.aim) for box in self._boxes}
        short = {name: each for name, each in outcomes.items() if isinstance(each, NoPlace)}
        counted = [each for each in short.values() if each.last is not None]
        nearest = min(counted, key=_missing, default=NoPlace(()))
        return Seat(one.name, index, "", nearest, tuple(f"{name}: {each}" for name, each in short.items()))


def _best(model: str, options: Sequence[_Option]) -> _Option:
    """Return where a replica goes: each rule of this module chooses among what those before it have left."""
    pool = _preferred(
        options, [one.placement.fast_enough and one.speed(model) >= READING_PACE for one in options]
    )
    pool = _preferred(pool, [one.box.is_awake for one in pool])
    pool = _preferred(pool, _near(model, pool, HALF))
    fewest = min(one.siblings for one in pool)
    pool = _preferred(pool, [one.siblings == fewest for one in pool])
    pool = _preferred(pool, _near(model, pool, NEAR))
    pool = _preferred(pool, [one.box.runs.get(model, 0) > one.siblings for one in pool])
    pool = _preferred(pool, [model in one.box.files for one in pool])
    return min(pool, key=lambda one: (-one.left_share, one.box.name))


def _preferred(pool: Sequence[_Option], good: Sequence[bool]) -> Sequence[_Option]:
    """Return the options that are good; all where none is."""
    return [one for one, is_good in zip(pool, good, strict=True) if is_good] or pool


def _near(model: str, pool: Sequence[_Option], share: float) -> list[bool]:
    fastest = max(_counted(model, one) for one in pool)
    return [_counted(model, one) >= share * fastest for one in pool]


def _counted(model: str, one: _Option) -> float:
    """Return how fast a model is on a machine, as far as that matters (tokens a second)."""
    return min(ENOUGH, one.speed(model))


def _reasons(model: str, best: _Option, options: Sequence[_Option]) -> Iterator[str]:
    box, placement = best.box, best.placement
    basis = "measured" if box.speeds.get(model) else "predicted"
    yield f"{placement.place} of {box.name}: {best.speed(model):.0f} tokens/s {basis}"
    if box.runs.get(model, 0) > best.siblings:
        yield "it runs there now"
    elif model in box.files:
        yield "its file is there"
    if not box.is_awake:
        yield f"{box.name} has to be woken for it"
    others = [one for one in options if one.box.name != box.name]
    if others:
        second = max(others, key=lambda one: one.speed(model))
        yield f"{second.box.name}: {second.speed(model):.0f} tokens/s"
    else:
        yield "it fits nowhere else"


def _leaving(boxes: Sequence[Box], seats: Sequence[Seat]) -> Iterator[tuple[str, str]]:
    """Yield models that a machine runs and would not any more, with the machine."""
    for box in boxes:
        for model, count in box.runs.items():
            if sum(seat.model == model and seat.box == box.name for seat in seats) < count:
                yield model, box.name


def _fits(one: Wanted, budget: Budget) -> bool:
    return isinstance(fit(one.forms, budget, _least(one.aim)), Placement)


def _least(aim: Aim) -> Aim:
    """Return what a model needs at least: what is left is given out once every model has its machine."""
    return replace(aim, context=aim.least_context, slots=aim.least_slots, extend=False)


def _usable(budget: Budget) -> int:
    return sum(room.usable for room in budget.gpus if not room.unified) or budget.host.usable


def _size(one: Wanted) -> int:
    return min((int(form.nbytes) for form in one.forms), default=0)


def _missing(outcome: NoPlace) -> int:
    short = outcome.last
    return int(short.need - short.room.usable) if short is not None else 0


def moved(move: ModelMove) -> str:
    """Return what has to come, in words: `14 GiB from box2, about 4 min`."""
    took = f", about {show_seconds(move.seconds)}" if move.seconds else ""
    return (
        f"{show_bytes(move.nbytes)} from {move.source}{took}"
        if move.source
        else (f"{show_bytes(move.nbytes)} to download")
    )

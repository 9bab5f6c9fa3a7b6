"""Three answers for one use: a comfortable model, the best that fits, and a small and quick one.

Comfortable is the best of what takes half of the memory, whole on GPUs where there are any, and is not long
to fetch: the other half is for other programs and models. Small and quick is the best, with speed counted as
much as quality, of what a few gibibytes hold. Answers that are the same model in the same file are one.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from relayd.planner.budget import Budget
from relayd.planner.placement import Placement
from relayd.planner.rank import Request
from relayd.planner.recommend import Advice, Known, recommend
from relayd.units import GIB

COMFORTABLE_PART = 2
"""Part of the memory that a comfortable model takes at most: half of it."""

COMFORTABLE_BYTES, COMFORTABLE_QUARTER = 24 * GIB, 4
"""Size of a comfortable download at most: this, or a quarter of the memory where that is more."""

QUICK_BYTES = 5 * GIB
"""Size of a small model at most: seven minutes at 100 Mbit/s."""

LINE_BYTES_PER_SECOND = 12.5e6
"""Of a download, where nothing is known of the line: 100 Mbit/s."""


class ProposalKind(StrEnum):
    """What an answer is."""

    COMFORTABLE = "comfortable"
    BEST = "best that fits"
    QUICK = "small and quick"


@dataclass(frozen=True, slots=True)
class Proposal:
    """One of the answers.

    Attributes:
        kinds: What it is, more than one where answers are the same.
        advice: The model, judged.
        placement: How it runs.
    """

    kinds: tuple[ProposalKind, ...]
    advice: Advice
    placement: Placement


def download_minutes(nbytes: int) -> int:
    """Return how long a download takes at 100 Mbit/s, at least one minute."""
    return max(1, round(nbytes / LINE_BYTES_PER_SECOND / 60))


Find = Callable[[Sequence[Known], Budget, Request, int], tuple[Advice, ...]]
"""What `recommend` does."""


def answers(
    models: Sequence[Known], budget: Budget, request: Request, best: Advice | None, find: Find = recommend
) -> tuple[Proposal, ...]:
    """Return the answers for a request, the comfortable one first; none where no model fits.

    Args:
        models: What is known.
        budget: What models may take of the machine.
        request: What is looked for.
        best: The best model.
        find: Finds the best models.
    """
    if best is None or not best.good:
        return ()

    def first(most: int, room: Budget, asked: Request) -> Advice | None:
        return next(iter(find(tuple(_small(models, most)), room, asked, 1)), None)

    half, most = budget.shared_by(COMFORTABLE_PART), comfortable_bytes(budget)
    found = (
        (ProposalKind.COMFORTABLE, first(most, half, replace(request, whole=True))),
        (ProposalKind.BEST, best),
        (ProposalKind.QUICK, first(QUICK_BYTES, budget, replace(request, quick=True))),
    )
    merged: dict[tuple[str, str], Proposal] = {}
    for kind, advice in found:
        if advice and isinstance(placement := advice.outcome, Placement):
            key = advice.known.name, placement.form.quantization.name
            before = merged.get(key, Proposal((), advice, placement))
            merged[key] = replace(before, kinds=(*before.kinds, kind))
    return tuple(merged.values())


def comfortable_bytes(budget: Budget) -> int:
    """Return the size of a comfortable download at most."""
    apart = sum(room.usable for room in budget.rooms if not room.unified)
    return max(COMFORTABLE_BYTES, apart // COMFORTABLE_QUARTER)


def _small(models: Iterable[Known], most: int) -> Iterator[Known]:
    """Yield the models with their files of a size."""
    for known in models:
        forms = tuple(form for form in known.forms if form.nbytes <= most)
        if forms:
            yield replace(known, forms=forms)

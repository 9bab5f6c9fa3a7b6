"""The models that this machine runs best for one use, and why not the others.

To fit a model takes milliseconds, and there are hundreds: they are taken in the order of the best score they
could possibly have, and the search ends when no other can come among those that are wanted.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from relayd.planner.budget import Budget
from relayd.planner.divergence import weights_divergence
from relayd.planner.fit import fit
from relayd.planner.placement import (
    DEFAULT_SLOTS,
    LOADED_SHARE,
    Aim,
    Form,
    NoPlace,
    Place,
    Placement,
    ceiling,
)
from relayd.planner.processor import Tag
from relayd.planner.quality import ModelFacts, Use, quality
from relayd.planner.rank import PROFILES, Candidate, Profile, Ranked, Request, judge, rank, speed_score
from relayd.planner.speed import Estimate
from relayd.units import Bytes

NOTHING = Bytes(0)


@dataclass(frozen=True, slots=True)
class Known:
    """A model that could run.

    Attributes:
        name: What people call it.
        facts: What its quality depends on.
        forms: Its files, in any order.
        license: As the catalogue spells it.
        obstacle: Why this engine cannot load it; "" when it can.
        has_template: Whether its file has a chat template.
        unforeseen: What the engine needs beyond what is predicted.
    """

    name: str
    facts: ModelFacts
    forms: tuple[Form, ...]
    license: str = ""
    obstacle: str = ""
    has_template: bool = True
    unforeseen: Bytes = NOTHING


@dataclass(frozen=True, slots=True)
class Advice:
    """One model, judged.

    Attributes:
        known: The model.
        outcome: How it runs here, or why it does not.
        ranked: Its score and the reasons for it.
    """

    known: Known
    outcome: Placement | NoPlace
    ranked: Ranked

    @property
    def good(self) -> bool:
        """Whether it can be recommended."""
        return not self.ranked.refused


def aim_of(request: Request, *, slots: int | None = None) -> Aim:
    """Return what to look for so that a request is met.

    Args:
        request: What the user asked for.
        slots: Requests at once; None takes four, or fewer where they do not fit.
    """
    wanted = PROFILES[request.use].context
    least = min(wanted, 4096)
    return Aim(
        context=max(wanted, request.min_context),
        least_context=max(least, request.min_context),
        slots=slots or DEFAULT_SLOTS,
        least_slots=slots or 1,
        min_speed=request.floor,
        use=request.use,
    )


def recommend(
    models: Iterable[Known], budget: Budget, request: Request, aim: Aim, count: int = 10
) -> tuple[Advice, ...]:
    """Return the best models, at least `count` of them if there are, then those that were refused.

    Models without any form worth recommending are left out; `advise` gives the reason.
    """
    bounds = [(bound(known, budget, request), known) for known in models]
    hopeful = sorted((pair for pair in bounds if pair[0] > 0), key=lambda pair: (-pair[0], pair[1].name))
    found: list[Advice] = []
    for most, known in hopeful:
        scores = sorted((one.ranked.score for one in found if one.good), reverse=True)
        if len(scores) >= count and scores[count - 1] >= most:
            break
        found.append(advise(known, budget, request, aim))
    by_name = {one.known.name: one for one in found}
    order = rank((one.ranked.candidate for one in found), request)
    return tuple(by_name[one.candidate.name] for one in order)


def advise(known: Known, budget: Budget, request: Request, aim: Aim) -> Advice:
    """Return how one model runs here, and what to think of it."""
    room = budget.keeping(known.unforeseen) if known.unforeseen else budget
    outcome = fit(best_first(known), room, aim)
    return Advice(known, outcome, judge(_candidate(known, outcome, request), request))


def best_first(known: Known) -> tuple[Form, ...]:
    """Return the files of a model by quality, without 16 bits where there are 8: those differ by nothing."""
    forms = known.forms
    if any(form.quantization.name == "Q8_0" for form in forms):
        forms = tuple(form for form in forms if form.quantization.name not in {"F16", "BF16", "F32"})
    return tuple(sorted(forms, key=lambda form: (_divergence(known, form), form.nbytes)))


def bound(known: Known, budget: Budget, request: Request) -> float:
    """Return a score that the model cannot exceed on this machine; 0 if every form of it is refused."""
    if known.obstacle or not known.facts.can(request.use):
        return 0.0
    profile = PROFILES[request.use]
    scores = [0.0]
    for form in best_first(known):
        speed = max(_fastest(form, budget)) if request.use is not Use.EMBEDDING else profile.enough
        if speed >= request.floor:
            found = quality(known.facts, form.quantization, request.use)
            scores.append(score(found.score, speed, profile.context, profile))
    return max(scores)


def _fastest(form: Form, budget: Budget) -> Iterator[float]:
    """Yield what a form cannot exceed at each place where it might fit, by its size alone."""
    least = form.nbytes * LOADED_SHARE
    on_gpus = sum(room.usable for room in budget.gpus)
    shares = any(room.unified for room in budget.gpus)
    yield 0.0
    if least <= on_gpus:
        yield ceiling(form, budget, Place.ONE_GPU)
    elif on_gpus and not shares and least <= on_gpus + budget.host.usable:
        yield ceiling(form, budget, Place.EXPERTS_ON_CPU if form.sparse else Place.PARTIAL)
    if least <= budget.host.usable:
        yield ceiling(form, budget, Place.CPU)


def score(points: float, tokens_per_second: float, context: int, profile: Profile) -> float:
    """Return the score of `rank.composite`, from its parts."""
    parts = (points, speed_score(tokens_per_second, profile), 100 * min(1.0, context / profile.context))
    return sum(weight * part for weight, part in zip(profile.weights, parts, strict=True))


def _divergence(known: Known, form: Form) -> float:
    found = weights_divergence(form.quantization, known.facts.parameters)
    return float("inf") if found is None else found


def _candidate(known: Known, outcome: Placement | NoPlace, request: Request) -> Candidate:
    """Return what `rank` judges; of a refusal, the form that comes nearest."""
    if isinstance(outcome, Placement):
        form, setup = outcome.form, outcome.setup
        found = quality(known.facts, form.quantization, request.use, setup.type_k, setup.type_v)
        speed, context, shortfall = outcome.speed(request.use), outcome.context, ""
    else:
        form = best_first(known)[-1]
        found = quality(known.facts, form.quantization, request.use)
        speed, context, shortfall = _endless(), request.min_context, str(outcome)
    return Candidate(
        name=known.name,
        model=known.facts,
        quantization=form.quantization,
        quality=found,
        speed=speed,
        context=context,
        license=known.license,
        obstacle=known.obstacle,
        shortfall=shortfall,
        has_template=known.has_template,
    )


def _endless() -> Estimate:
    """Return a speed that shuts no gate."""
    return Estimate(float("inf"), float("inf"), float("inf"), Tag.MODELLED)

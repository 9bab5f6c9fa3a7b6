"""The models that this machine runs best for one use, and why not the others.

To try a model takes milliseconds, and there are hundreds: they are taken in the order of the best score they
could possibly have, and the search ends when no other can come among those that are wanted.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol

from relayd.planner.budget import Budget
from relayd.planner.divergence import weights_divergence
from relayd.planner.fit import fit, prompt_cache_mib
from relayd.planner.placement import Aim, Form, NoPlace, Placement
from relayd.planner.processor import Tag
from relayd.planner.quality import ModelFacts, Quality, Use, quality
from relayd.planner.rank import Candidate, Ranked, Request, gates, is_too_coarse, judge, rank
from relayd.planner.search import Scored, Scoring, pace_of
from relayd.planner.speed import Estimate
from relayd.planner.timing import cliff, timed
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

    def room(self, budget: Budget) -> Budget:
        """Return what it may use of a machine."""
        return budget.keeping(self.unforeseen) if self.unforeseen else budget


class Judgement(Protocol):
    """What a search finds of a placement, beside the placement itself; see `search.Scored`."""

    @property
    def quality(self) -> Quality:
        """How good it is in this form."""
        ...

    @property
    def pace(self) -> float:
        """What the use counts as its speed."""
        ...

    @property
    def spilled(self) -> float:
        """Points that layers on the CPU beside a GPU cost."""
        ...


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


def recommend(
    models: Iterable[Known], budget: Budget, request: Request, count: int = 10
) -> tuple[Advice, ...]:
    """Return the best models for a request, the best first, at most `count`."""
    plain = Scoring(budget, request)
    bounds = [(plain.bound(known.facts, fitting(known, request)), known) for known in models]
    hopeful = sorted((pair for pair in bounds if pair[0] > 0), key=lambda pair: (-pair[0], pair[1].name))
    found: list[tuple[Known, Scored]] = []
    least = 0.0
    for bound, known in hopeful:
        if bound < least:
            break
        search = Scoring(known.room(budget), request) if known.unforeseen else plain
        # One step below, so that equals are found too and ordered by their names.
        if choice := search.best(known.facts, fitting(known, request), least - EQUAL):
            found.append((known, choice))
            scores = sorted((one.score for _, one in found), reverse=True)
            least = scores[count - 1] if len(scores) >= count else 0.0
    advices = {known.name: _chosen(known, choice, budget, request) for known, choice in found}
    order = rank((one.ranked.candidate for one in advices.values()), request)
    return tuple(advices[one.candidate.name] for one in order)[:count]


EQUAL = 1e-9
"""Scores that differ by less are equal."""


def advise(known: Known, budget: Budget, request: Request) -> Advice:
    """Return how one model runs here, and what to think of it."""
    room = known.room(budget)
    choice = Scoring(room, request).best(known.facts, fitting(known, request))
    if choice:
        return _chosen(known, choice, budget, request)
    return _refused(known, room, request)


def fitting(known: Known, request: Request) -> tuple[Form, ...]:
    """Return the files of a model that may be recommended, whatever the machine.

    Without 16 bits where there are 8: those differ by nothing.
    """
    if not known.forms or any(gates(_candidate(known, known.forms[0], request), request)):
        return ()
    size = known.facts.parameters
    return tuple(form for form in without_copies(known.forms) if not is_too_coarse(form.quantization, size))


def without_copies(forms: tuple[Form, ...]) -> tuple[Form, ...]:
    """Return the files of a model without those in 16 bits where there are 8."""
    if not any(form.quantization.name == "Q8_0" for form in forms):
        return forms
    return tuple(form for form in forms if form.quantization.name not in {"F16", "BF16", "F32"})


def best_first(known: Known) -> tuple[Form, ...]:
    """Return the files of a model by quality, without 16 bits where there are 8."""
    return tuple(
        sorted(without_copies(known.forms), key=lambda form: (_divergence(known, form), form.nbytes))
    )


def aim_of(request: Request, trained: int = 0) -> Aim:
    """Return the least that a request asks of a model.

    Args:
        request: What the user asked for.
        trained: Tokens that the model was trained on, where a shorter context than asked for will do.
    """
    least = request.profile.least_context
    least = min(least, trained) if trained and request.lenient else least
    return Aim(
        context=least,
        least_context=least,
        slots=request.users,
        least_slots=request.users,
        min_speed=request.floor,
        use=request.use,
        extend=False,
    )


def _chosen(known: Known, choice: Scored, budget: Budget, request: Request) -> Advice:
    """Return the advice to run a model in its best form."""
    placement, room = choice.placement, known.room(budget)
    demand, setup = placement.form.build(), placement.setup
    if request.use is not Use.EMBEDDING:
        left = room.minus(demand.needs(setup)).host.usable
        setup = replace(setup, cache_ram_mib=prompt_cache_mib(left))
    moved = cliff(placement, room)
    placement = replace(placement, setup=setup, needs=demand.needs(setup), reasons=(moved,) if moved else ())
    return judged(known, placement, choice, request)


def judged(known: Known, placement: Placement, found: Judgement, request: Request) -> Advice:
    """Return what to think of a model that runs as it is placed.

    Args:
        known: The model.
        placement: How it runs.
        found: What the search found of that.
        request: What it is wanted for.
    """
    candidate = replace(
        _candidate(known, placement.form, request),
        quality=found.quality,
        speed=placement.speed(request.use),
        context=placement.context,
        pace=found.pace,
        spilled=found.spilled,
    )
    return Advice(known, placement, judge(candidate, request))


def _refused(known: Known, room: Budget, request: Request) -> Advice:
    """Return the advice not to run a model, with how it would run or what is missing."""
    forms = best_first(known)
    trained = forms[-1].build().shape.context_trained
    outcome = fit(forms, room, aim_of(request, trained))
    if isinstance(outcome, NoPlace):
        candidate = replace(_candidate(known, forms[-1], request), shortfall=str(outcome))
        return Advice(known, outcome, judge(candidate, request))
    profile, setup = request.profile, outcome.setup
    again = timed(outcome.form, outcome.place, setup, room, profile.deep(outcome.context), profile.prompt)
    outcome = replace(again, needs=outcome.needs, reasons=outcome.reasons)
    pace = pace_of(outcome, request)
    candidate = _candidate(known, outcome.form, request)
    candidate = replace(
        candidate,
        quality=quality(known.facts, outcome.form.quantization, request.use, setup.type_k, setup.type_v),
        speed=outcome.speed(request.use),
        context=outcome.context,
        pace=pace,
    )
    ranked = judge(candidate, request)
    return Advice(known, replace(outcome, fast_enough=pace >= request.floor), ranked)


def _divergence(known: Known, form: Form) -> float:
    found = weights_divergence(form.quantization, known.facts.parameters)
    return float("inf") if found is None else found


def _candidate(known: Known, form: Form, request: Request) -> Candidate:
    """Return what `rank` judges of a form, whatever the machine."""
    return Candidate(
        name=known.name,
        model=known.facts,
        quantization=form.quantization,
        quality=quality(known.facts, form.quantization, request.use),
        speed=_endless(),
        context=max(request.min_context, request.profile.least_context),
        license=known.license,
        obstacle=known.obstacle,
        has_template=known.has_template,
    )


def _endless() -> Estimate:
    """Return a speed that shuts no gate."""
    return Estimate(float("inf"), float("inf"), float("inf"), Tag.MODELLED)

"""Which of the models on disk does this machine serve, when nobody says?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from relayd.advice.adviser import settings
from relayd.advice.known import configured_form
from relayd.config import Model
from relayd.engine import Features
from relayd.errors import ModelFileError
from relayd.gguf import read_metadata
from relayd.planner.budget import Budget
from relayd.planner.fleet import Assignment, Wanted, plan_fleet
from relayd.planner.placement import Aim, Form, Placement, spec
from relayd.planner.quality import Use


@dataclass(frozen=True, slots=True)
class Pick:
    """What is served, and what is not.

    Attributes:
        models: As `[[model]]` blocks would say it.
        left_out: Why each of the others is not, a sentence each.
    """

    models: tuple[Model, ...]
    left_out: tuple[str, ...]


def pick(found: Mapping[str, Sequence[Path]], budget: Budget, features: Features) -> Pick:
    """Return the models that fit together, those with the largest files first.

    Size stands for quality here: of what somebody chose to keep on a disk, the largest model that
    runs well is most often the one they want.

    Args:
        found: What a model is called -> its files, one for each quantization.
        budget: What may be used of the machine.
        features: What the engine knows.
    """
    offers = {name: offer for name, files in found.items() if (offer := _offer(name, files))}
    largest_first = sorted(offers.values(), key=lambda offer: -offer.wanted.forms[0].nbytes)
    plan = plan_fleet([offer.wanted for offer in largest_first], budget)
    models, left_out = [], []
    for one in plan.assignments:
        if isinstance(one.outcome, Placement):
            models.append(_model(one, one.outcome, offers[one.model], budget, features))
        else:
            left_out.append(f"{one.model} is not served: {one.outcome}")
    return Pick(tuple(models), tuple(left_out))


@dataclass(frozen=True, slots=True)
class _Offer:
    wanted: Wanted
    files: Sequence[tuple[Form, Path]]


def _offer(name: str, files: Sequence[Path]) -> _Offer | None:
    """Return a model with its files, the largest first; None if none of them can be read."""
    forms = []
    embeds = False
    for file in files:
        try:
            metadata = read_metadata(file)
            forms.append((configured_form(file), file))
        except ModelFileError:
            continue
        embeds = f"{metadata.architecture}.pooling_type" in metadata.values
    if not forms:
        return None
    forms.sort(key=lambda form: -form[0].nbytes)
    aim = Aim(use=Use.EMBEDDING) if embeds else Aim()
    return _Offer(Wanted(name, tuple(form for form, _ in forms), aim), forms)


def _model(one: Assignment, placement: Placement, offer: _Offer, budget: Budget, features: Features) -> Model:
    file = next(file for form, file in offer.files if form is placement.form)
    return msgspec.convert(settings(spec(placement, budget, one.model, 0, file), features), Model)

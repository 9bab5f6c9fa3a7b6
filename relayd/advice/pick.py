"""Which models on disk this machine serves when none is configured or named."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from relayd.advice.adviser import settings
from relayd.advice.known import configured_form
from relayd.config import Model, model_name, told_apart
from relayd.engine import Features
from relayd.errors import ModelFileError
from relayd.models.ondisk import Found
from relayd.models.skipped import Skipped, skipped_for
from relayd.planner.budget import Budget
from relayd.planner.fleet import Wanted, plan_fleet
from relayd.planner.placement import Aim, Form, Placement, spec
from relayd.planner.quality import Use, made_for


@dataclass(frozen=True, slots=True)
class Pick:
    """What is served, and what is not.

    Attributes:
        models: As `[[model]]` blocks would say it.
        left_out: Why each of the others is not, a sentence each.
        skipped: Files that cannot be judged.
    """

    models: tuple[Model, ...]
    left_out: tuple[str, ...]
    skipped: tuple[Skipped, ...] = ()


def pick(found: Iterable[Found], budget: Budget, features: Features) -> Pick:
    """Return the models that fit together, those with the largest files first.

    Size stands for quality here: of what a person chose to keep on a disk, the largest model that
    runs well is most often the one they want. Of a model in several quantizations one is served.

    Args:
        found: What is on disk, none of it inside a llamafile.
        budget: What may be used of the machine.
        features: What the engine knows.
    """
    sees = features.first("--mmproj") is not None
    skipped: list[Skipped] = []
    offers = {
        name: offer
        for name, files in _by_model(found).items()
        if (offer := _offer(name, files, sees, features.build, skipped))
    }
    largest_first = sorted(offers.values(), key=lambda offer: -offer.wanted.forms[0].nbytes)
    plan = plan_fleet([offer.wanted for offer in largest_first], budget)
    models, left_out = [], []
    for one in plan.assignments:
        if isinstance(one.outcome, Placement):
            models.append(_model(one.outcome, offers[one.model], budget))
        else:
            left_out.append(f"{one.model} is not served: {one.outcome}")
    return Pick(told_apart(models), tuple(left_out), tuple(skipped))


@dataclass(frozen=True, slots=True)
class _Offer:
    wanted: Wanted
    files: Sequence[tuple[Form, Found]]
    sees: bool


def _by_model(found: Iterable[Found]) -> Mapping[str, list[Found]]:
    files: dict[str, list[Found]] = {}
    for one in found:
        files.setdefault(one.model or one.name, []).append(one)
    return files


def _offer(
    name: str, files: Sequence[Found], sees: bool, build: int | None, skipped: list[Skipped]
) -> _Offer | None:
    """Return a model with its files, the largest first; None if none of them can be judged."""
    forms = []
    embeds = False
    for one in files:
        try:
            form = configured_form(one.files[0], one.projector if sees else None, build_number=build)
            embeds = made_for(form.build().model) is Use.EMBEDDING
        except ModelFileError as error:
            skipped.append(skipped_for(one.files[0], error))
            continue
        forms.append((form, one))
    if not forms:
        return None
    forms.sort(key=lambda form: -form[0].nbytes)
    aim = Aim(use=Use.EMBEDDING) if embeds else Aim()
    return _Offer(Wanted(name, tuple(form for form, _ in forms), aim), forms, sees)


def _model(placement: Placement, offer: _Offer, budget: Budget) -> Model:
    found = next(found for form, found in offer.files if form is placement.form)
    replica = spec(placement, budget, model_name(found.name), 0, found.files[0])
    model = msgspec.convert(settings(replica), Model)
    projector = str((offer.sees and found.projector) or "")
    return msgspec.structs.replace(model, aliases=found.aliases, projector=projector)

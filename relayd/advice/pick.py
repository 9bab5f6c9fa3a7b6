"""Which models on disk this machine serves when none is configured or named, and which of them it loads.

All are served. Those that are loaded are chosen by size, largest first, each in what is left when those
before have one slot of 8,192 tokens: so as many as possible are in memory together. What is left then goes to
further slots, up to four for each, largest first, as long as every one keeps its slot. Longer contexts are
taken only where no model is on demand, which would need the memory. The others are loaded on demand.
A file is read only if its size leaves it a chance.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec

from relayd.advice.adviser import settings
from relayd.advice.known import configured_form
from relayd.config import Model, model_name
from relayd.engine import Features
from relayd.errors import ModelFileError
from relayd.models.ondisk import Found
from relayd.models.skipped import Skipped, skipped_for
from relayd.planner.budget import Budget
from relayd.planner.fit import fit
from relayd.planner.fleet import Wanted, plan_fleet
from relayd.planner.placement import LOADED_SHARE, Aim, Form, Placement, spec
from relayd.planner.quality import Use, made_for

MOST_LOADED = 8
"""How many models are loaded at most: a disk may hold hundreds of small ones, and each is a process."""


@dataclass(frozen=True, slots=True)
class Pick:
    """What is served.

    Attributes:
        models: As `[[model]]` blocks would have it, those that are loaded first; names and aliases may be
            those of several.
        skipped: Files that cannot be judged.
    """

    models: tuple[Model, ...]
    skipped: tuple[Skipped, ...] = ()


def pick(found: Iterable[Found], budget: Budget, features: Features, *, most: int = MOST_LOADED) -> Pick:
    """Return all models, those loaded that fit together.

    Size stands for quality here: of what a person chose to keep on a disk, the largest model that
    runs well is most often the one they want. Of a model in several quantizations one is loaded.

    Args:
        found: What is on disk, none of it inside a llamafile.
        budget: What may be used of the machine.
        features: What the engine knows.
        most: How many are loaded.
    """
    sees = features.first("--mmproj") is not None
    every, skipped, chosen = list(found), list[Skipped](), list[tuple[_Offer, Placement]]()
    left = budget
    for files in sorted(_by_model(every).values(), key=lambda files: -max(one.bytes for one in files)):
        if len(chosen) == most or not _may_fit(files, left):
            continue
        offer = _offer(files, sees, features.build, skipped)
        least = fit([form for form, _ in offer.files], left, _least(offer.aim)) if offer else None
        if offer and isinstance(least, Placement):
            left = left.minus(least.needs)
            chosen.append((offer, least))
    is_all = len(chosen) == len([one for one in every if not _is_skipped(one, skipped)])
    placed = _sized(chosen, budget, is_all=is_all)
    loaded = [offer.loaded(one, budget) for (offer, _), one in zip(chosen, placed, strict=True)]
    out = {id(one) for one, _ in loaded} | {id(one) for one in every if _is_skipped(one, skipped)}
    others = (_on_demand(one, sees) for one in every if id(one) not in out)
    return Pick((*(model for _, model in loaded), *others), tuple(skipped))


@dataclass(frozen=True, slots=True)
class _Offer:
    aim: Aim
    files: Sequence[tuple[Form, Found]]
    sees: bool

    def loaded(self, placement: Placement, budget: Budget) -> tuple[Found, Model]:
        """Return the file of a placement, and its line."""
        found = next(found for form, found in self.files if form is placement.form)
        replica = spec(placement, budget, model_name(found.name), 0, found.files[0])
        model = msgspec.convert(settings(replica), Model)
        return found, msgspec.structs.replace(
            model, aliases=found.aliases, projector=_projector(found, self.sees)
        )


def _least(aim: Aim) -> Aim:
    """Return what a model has to get to be loaded with others."""
    return replace(aim, slots=aim.least_slots, extend=False)


def _sized(chosen: Sequence[tuple[_Offer, Placement]], budget: Budget, *, is_all: bool) -> list[Placement]:
    """Return the places of models in what is left when each has its least size.

    Args:
        chosen: The models, each with its least size; they fit together.
        budget: What may be used of the machine.
        is_all: Whether no other model needs what they leave.
    """
    sizes = [least for _, least in chosen]
    for extend in (False, True)[: 1 + is_all]:
        wanted = [
            Wanted(
                str(number),
                (size.form,),
                replace(offer.aim, least_context=size.context, least_slots=size.slots, extend=extend),
            )
            for number, ((offer, _), size) in enumerate(zip(chosen, sizes, strict=True))
        ]
        plan = plan_fleet(wanted, budget, all_of_them=True)
        found = {one.model: one.outcome for one in plan.assignments}
        if all(isinstance(one, Placement) for one in found.values()):
            sizes = [one for number in range(len(sizes)) if isinstance(one := found[str(number)], Placement)]
    return sizes


def _by_model(found: Iterable[Found]) -> Mapping[str, list[Found]]:
    files: dict[str, list[Found]] = {}
    for one in found:
        files.setdefault(one.model or one.name, []).append(one)
    return files


def _may_fit(files: Sequence[Found], left: Budget) -> bool:
    """Return whether the smallest of some files may have room, by its size alone."""
    least = min(one.bytes for one in files) * LOADED_SHARE
    return least <= sum(room.usable for room in left.rooms)


def _offer(files: Sequence[Found], sees: bool, build: int | None, skipped: list[Skipped]) -> _Offer | None:
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
    return _Offer(Aim(use=Use.EMBEDDING) if embeds else Aim(), forms, sees)


def _on_demand(found: Found, sees: bool) -> Model:
    """Return the line of a model that is loaded when a client asks for it."""
    return Model(
        name=model_name(found.name),
        file=str(found.files[0]),
        projector=_projector(found, sees),
        aliases=found.aliases,
        load="demand",
    )


def _projector(found: Found, sees: bool) -> str:
    return str((sees and found.projector) or "")


def _is_skipped(found: Found, skipped: Iterable[Skipped]) -> bool:
    return any(one.path == found.files[0] for one in skipped)

"""What is the answer to one question about models, with its winners confirmed?"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from relayd.advice.adviser import Adviser
from relayd.advice.confirm import Confirmation
from relayd.config import keep
from relayd.errors import ModelFileError, RelaydError, UsageError
from relayd.models.skipped import warning_of
from relayd.planner.answers import Proposal, download_minutes
from relayd.planner.document import SCHEMA, advice_document
from relayd.planner.fixes import Fixes, fixes
from relayd.planner.placement import Form, NoPlace, Place, Placement, least_gpu, least_ram
from relayd.planner.quality import Use
from relayd.planner.rank import Request
from relayd.planner.recommend import Advice, aim_of, best_first
from relayd.units import show_bytes

ROUNDS = 4
"""How often a search is repeated because the engine reports more memory for its winner."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked.

    Attributes:
        use: What for; None is every use.
        model: One model, `NAME` or `NAME:QUANT`; "" is all.
        min_context: Tokens a slot must hold.
        min_speed: Tokens a second it must reach; None takes the floor of the use.
        users: Requests at once.
        count: Models wanted for each use.
    """

    use: Use | None = None
    model: str = ""
    min_context: int = 0
    min_speed: float | None = None
    users: int = 1
    count: int = 10

    def request(self, use: Use) -> Request:
        """Return what to look for, for one use."""
        return Request(
            use=use,
            min_speed=self.min_speed,
            min_context=self.min_context,
            users=self.users,
            lenient=bool(self.model),
        )


@dataclass(frozen=True, slots=True)
class Recommendations:
    """What was found.

    Attributes:
        adviser: What the answer was made from.
        groups: Use → models, the best first and then those that were refused.
        parts: Where one model was asked about, each of its files alone.
        confirmations: Model and quantization → what the engine reports.
        needs: Where one model was asked about, what would make it fit.
        answers: Use → a comfortable model, the best that fits, and a small and quick one.
        slower: Use → where nothing is fast enough, the best of what fits.
    """

    adviser: Adviser
    groups: Mapping[Use, tuple[Advice, ...]]
    parts: tuple[Advice, ...]
    confirmations: Mapping[str, Confirmation]
    needs: str = ""
    answers: Mapping[Use, tuple[Proposal, ...]] = field(default_factory=dict)
    slower: Mapping[Use, Advice] = field(default_factory=dict)
    fixes: Fixes | None = None

    @property
    def best(self) -> tuple[str, Placement]:
        """The name and placement of the first recommendation.

        Raises:
            UsageError: There is none.
        """
        for advices in self.groups.values():
            for advice in advices:
                if isinstance(advice.outcome, Placement) and (advice.good or self.parts):
                    return advice.known.name, advice.outcome
        refused = [one for found in self.groups.values() for one in found if isinstance(one.outcome, NoPlace)]
        if self.parts and refused:
            raise UsageError(
                f"{refused[0].known.name} does not fit: {refused[0].outcome}",
                remedy="Ask for less context or fewer slots, or remove a model of `relayd plan`.",
            )
        raise UsageError(
            "no model fits what was asked", remedy="Ask for less context or speed, or see `relayd recommend`."
        )

    @property
    def confirmed(self) -> frozenset[str]:
        """Models whose plan the engine confirmed on the devices it is for."""
        return frozenset(name for name, said in self.confirmations.items() if said.agrees and not said.on_cpu)

    @property
    def notes(self) -> tuple[str, ...]:
        """What to know of the confirmations and of files that were left out, each sentence once."""
        said = (_note(*one) for one in self.confirmations.items())
        skipped = "" if self.parts else warning_of(self.adviser.skipped)
        return tuple(dict.fromkeys(filter(None, (*said, skipped))))

    def command_line(self) -> str:
        """Return the llama-server line of the best, and before it a comment where its file is missing."""
        name, placement = self.best
        line = self.adviser.command_line(name, placement)
        missing = self.adviser.file(name, placement) is None
        return f"# not on disk yet: {_pull(name, placement)}\n{line}" if missing else line

    def keep(self, state: Path) -> str:
        """Write the best into models.toml, and return what was done.

        Raises:
            ModelFileError: Its file is not on disk.
            EngineError: The engine is too old for what it needs.
        """
        name, placement = self.best
        engine = self.adviser.engine
        if self.adviser.file(name, placement) is None:
            raise ModelFileError(
                f"{name} in {placement.form.quantization.name} is not on disk", remedy=_pull(name, placement)
            )
        if engine is None:
            raise UsageError(
                "without an engine its flags are not known", remedy="Run `relayd engine install`."
            )
        replica = self.adviser.replica(name, placement)
        path = keep(self.adviser.settings(name, placement), state)
        return f"Added {replica.model} to {path}; run it with: relayd serve {replica.model}"

    def document(self) -> dict[str, Any]:
        """Return the answer as JSON-ready values."""
        return {
            "schema": SCHEMA,
            "simulated": self.adviser.simulated,
            "skipped": [str(one) for one in self.adviser.skipped],
            "recommendations": {
                use: [self._document(advice) for advice in advices] for use, advices in self.groups.items()
            },
            "answers": {
                use: [
                    {
                        **self._document(one.advice),
                        "kinds": list(one.kinds),
                        "quantization": one.placement.form.quantization.name,
                        "download_minutes": download_minutes(one.placement.form.nbytes),
                        "pull": self.adviser.called(one.advice.known.name, one.placement),
                    }
                    for one in found
                ]
                for use, found in self.answers.items()
            },
            "files": [advice_document(part) for part in self.parts],
            "fixes": msgspec.to_builtins(self.fixes),
            "confirmations": {
                name: {
                    "predicted_bytes": said.predicted,
                    "reported_bytes": said.reported,
                    "agrees": said.agrees,
                    "on_cpu": said.on_cpu,
                    "note": said.note,
                }
                for name, said in self.confirmations.items()
            },
        }

    def _document(self, advice: Advice) -> dict[str, Any]:
        return {
            **advice_document(advice, confirmed=advice.known.name in self.confirmed),
            "file": self._file(advice),
            "command": self._command(advice),
        }

    def _file(self, advice: Advice) -> str | None:
        if not isinstance(advice.outcome, Placement):
            return None
        found = self.adviser.file(advice.known.name, advice.outcome)
        return str(found) if found else None

    def _command(self, advice: Advice) -> str | None:
        if not isinstance(advice.outcome, Placement) or not advice.good:
            return None
        try:
            return self.adviser.command_line(advice.known.name, advice.outcome)
        except RelaydError:
            return None


def answer(adviser: Adviser, question: Question) -> Recommendations:
    """Return the answer to a question; the best of each use is confirmed by the engine.

    Raises:
        UsageError: The model that was named is not known.
    """
    if question.model:
        return _about(adviser, question)
    uses = [question.use] if question.use else list(Use)
    groups: dict[Use, tuple[Advice, ...]] = {}
    told: dict[str, Confirmation] = {}
    three: dict[Use, tuple[Proposal, ...]] = {}
    slower: dict[Use, Advice] = {}
    for use in uses:
        groups[use], said = _settled(adviser, partial(_best, adviser, question, use))
        three[use] = adviser.answers(question.request(use), next(iter(groups[use]), None))
        told |= said
        if not three[use]:
            patient = replace(question.request(use), min_speed=None, patient=True)
            slower.update((use, advice) for advice in adviser.best(patient, 1) if advice.good)
    return Recommendations(adviser, groups, (), told, answers=three, slower=slower)


def _best(adviser: Adviser, question: Question, use: Use) -> tuple[Advice, ...]:
    return adviser.best(question.request(use), question.count)


def _settled(
    adviser: Adviser, find: Callable[[], tuple[Advice, ...]]
) -> tuple[tuple[Advice, ...], dict[str, Confirmation]]:
    """Return what is found, and what the engine reports for the first.

    Where it reports more than was predicted, the search is repeated with room for that.
    """
    for _ in range(ROUNDS):
        found = find()
        told = _confirmations(adviser, [one for one in found[:1] if one.good])
        if not [name for name, said in told.items() if adviser.learns(name, said)]:
            break
    return found, told


def _about(adviser: Adviser, question: Question) -> Recommendations:
    use = question.use or _own_use(adviser, question)
    request = question.request(use)
    advice, parts = adviser.about(question.model, request)
    told = _confirmations(adviser, [advice])
    if [name for name, said in told.items() if adviser.learns(name, said)]:
        advice, parts = adviser.about(question.model, request)
        told = _confirmations(adviser, [advice])
    smallest = min(best_first(advice.known), key=lambda form: form.nbytes)
    demand = smallest.build()
    aim = aim_of(request, demand.shape.context_trained)
    needs = (
        f"{smallest.quantization.name} with {aim.least_slots} x {aim.least_context} tokens takes "
        f"{show_bytes(least_gpu(demand, aim))} of one GPU, or {show_bytes(least_ram(demand, aim))} of RAM"
    )
    wanting = _fixes(adviser, advice, smallest, request)
    return Recommendations(adviser, {use: (advice,)}, tuple(parts), told, needs, fixes=wanting)


def _fixes(adviser: Adviser, advice: Advice, smallest: Form, request: Request) -> Fixes | None:
    """Return what would make room for a model that is not whole on its devices."""
    placement = advice.outcome
    if isinstance(placement, NoPlace):
        return fixes(smallest, advice.known.forms, adviser.budget, request)
    if advice.good and placement.place in {Place.ONE_GPU, Place.SPLIT}:
        return None
    return fixes(placement.form, advice.known.forms, adviser.budget, request)


def _own_use(adviser: Adviser, question: Question) -> Use:
    """Return the use of a model where none is asked for: chat, else embedding."""
    advice, _ = adviser.about(question.model, question.request(Use.CHAT))
    return Use.CHAT if advice.known.facts.can(Use.CHAT) else Use.EMBEDDING


def _confirmations(adviser: Adviser, winners: list[Advice]) -> dict[str, Confirmation]:
    return {
        one.known.name: adviser.confirmation(one.known.name, one.outcome)
        for one in winners
        if isinstance(one.outcome, Placement)
    }


def _note(name: str, said: Confirmation) -> str:
    if said.note:
        return f"Memory is predicted, {said.note}"
    if not said.agrees:
        planned = "; its plan leaves room for that" if said.reported > said.predicted else ""
        return (
            f"Of {name} the engine reports {show_bytes(said.reported)}, predicted were "
            f"{show_bytes(said.predicted)}{planned}"
        )
    if said.on_cpu:
        return "The engine here was asked about weights, cache and buffers on a CPU, and agrees"
    return ""


def _pull(name: str, placement: Placement) -> str:
    return f"relayd pull {name}:{placement.form.quantization.name}"

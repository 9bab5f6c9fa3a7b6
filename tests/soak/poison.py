"""Clients that mean harm, among all the faults: bodies of `tests.attack` that may reach a replica."""

import random
from collections.abc import Iterable
from functools import cache

from tests.attack.bodies import cases
from tests.attack.case import Case
from tests.attack.outcome import ESCAPE, FAILED, SILENT
from tests.attack.sending import send_body
from tests.soak.clients import WRONG, Question

_FAMILIES = ("grammars", "triggers", "parsers", "schemas", "sizes", "mistakes", "nesting", "tools")
_LONGEST = 256 * 1024
"""Of one body: here many are sent, and their mixture is the attack."""


@cache
def _poison(model: str) -> tuple[Case, ...]:
    return tuple(case for case in cases(_FAMILIES, (model,), model) if len(case.body) <= _LONGEST)


def prepare(models: Iterable[str]) -> None:
    """Make the bodies for models: seconds for each, in which no client of this process could send."""
    for model in models:
        _poison(model)


async def send_poison(port: int, question: Question, chance: random.Random) -> str:
    """Send one body to the model of a question; only an error of relayd itself is a fault."""
    case = chance.choice(_poison(question.model))
    outcome = await send_body(port, case)
    if outcome.verdict == ESCAPE:
        return f"{WRONG}{case.kind}: {case.name} was answered with {outcome.status} {outcome.code}"
    if outcome.verdict in (FAILED, SILENT):
        return f"{case.kind}, {outcome.status or 'no answer'} {outcome.code}"
    return f"{case.kind}, {outcome.verdict}"

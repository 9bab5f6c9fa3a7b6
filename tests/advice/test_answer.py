"""What becomes of a recommendation of which the engine says that it takes more?"""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from relayd.advice.adviser import Adviser
from relayd.advice.answer import Question, Recommendations, answer
from relayd.advice.confirm import predicted
from relayd.catalog import Folders, load_catalog, shipped_folder
from relayd.engine import Engine, Features
from relayd.engine.memory import MemoryProbe, Row
from relayd.gguf import ModelMetadata
from relayd.memory.setup import Setup
from relayd.planner.placement import Placement
from relayd.planner.quality import Use
from relayd.units import GIB, MIB
from tests.planner.models import machine

pytestmark = pytest.mark.fake

ENGINE = Engine(Path("/engine"), "installed", Features("b11434", 11434, frozenset(), {}, unix_sockets=True))


class Teller(MemoryProbe):
    """An engine that says what is predicted, and more of some models."""

    more: Callable[[ModelMetadata], int]

    def ask(self, file: Path, model: ModelMetadata, setup: Setup) -> tuple[Row, ...]:
        third, rest = divmod((predicted(model, setup) + self.more(model)) // MIB, 3)
        return (Row("host", "Host", third + rest, third, 0), Row("buffer_type", "CPU_REPACK", 0, 0, third))


def ask(folder: Path, more: Callable[[ModelMetadata], int], question: Question) -> Recommendations:
    teller = Teller(ENGINE, folder, os.environ)
    teller.more = more
    entries = load_catalog(Folders(shipped_folder(), folder, folder, None))
    return answer(
        Adviser(machine("ram=16,cores=8,bandwidth=60"), entries, (), folder, None, teller), question
    )


def best(found: Recommendations, use: Use = Use.CHAT) -> tuple[str, Placement]:
    advice = found.groups[use][0]
    assert isinstance(advice.outcome, Placement)
    return advice.known.name, advice.outcome


def test_a_winner_that_takes_more_than_there_is_is_planned_again(tmp_path: Path) -> None:
    name, plain = best(ask(tmp_path, lambda _: 0, Question(use=Use.CHAT)))
    tensors = plain.form.build().model.tensors

    found = ask(tmp_path, lambda model: 10 * GIB * (model.tensors == tensors), Question(use=Use.CHAT))
    other, _ = best(found)
    usable = found.adviser.budget.host.usable

    assert plain.needs["cpu"] + 10 * GIB > usable, "what the engine says of the first plan does not fit"
    assert other != name
    assert {other} == found.confirmed, "the one that is shown instead has been asked about"


def test_the_one_that_was_asked_about_gets_room_for_what_it_takes(tmp_path: Path) -> None:
    question = Question(use=Use.CHAT, model="qwen3-8b")
    _, plain = best(ask(tmp_path, lambda _: 0, question))
    found = ask(tmp_path, lambda _: 5 * GIB, question)
    _, placement = best(found)

    assert plain.needs["cpu"] + 5 * GIB > found.adviser.budget.host.usable >= placement.needs["cpu"] + 5 * GIB
    assert "its plan leaves room for that" in found.notes[0]
    assert frozenset() == found.confirmed

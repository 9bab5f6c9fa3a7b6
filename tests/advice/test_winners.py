"""Whether an answer that is kept is the one a search gives, and when it is searched for anew."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from relayd.advice import winners
from relayd.advice.winners import Winners
from relayd.planner.budget import Budget
from relayd.planner.quality import Use
from relayd.planner.rank import Request
from relayd.planner.recommend import Advice, Known, recommend
from tests.planner.chains import room
from tests.planner.models import known

pytestmark = pytest.mark.fake

SMALL = ("gemma-4-e2b-it", "qwen3.5-2b", "qwen3-embedding-0.6b", "gpt-oss-20b")


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[Request]:
    """Return the requests that were searched for."""
    asked: list[Request] = []

    def noted(
        models: Sequence[Known], budget: Budget, request: Request, count: int = 10
    ) -> tuple[Advice, ...]:
        asked.append(request)
        return recommend(models, budget, request, count)

    monkeypatch.setattr("relayd.advice.winners.recommend", noted)
    return asked


def models(use: Use = Use.CHAT) -> list[Known]:
    found = known(use)
    return [found[name] for name in SMALL if name in found]


@pytest.mark.parametrize("machine", ["4060,ram=16", "16gb, 8 cores"])
@pytest.mark.parametrize("use", [Use.CHAT, Use.AGENT, Use.EMBEDDING])
def test_an_answer_that_is_kept_is_the_one_that_was_found(
    use: Use, machine: str, tmp_path: Path, searches: list[Request]
) -> None:
    kept, there, request = Winners(tmp_path, "basis"), room(machine), Request(use)

    first = kept.recommend(models(use), there, request)
    again = kept.recommend(models(use), there, request)

    assert first
    assert first == again
    assert [request] == searches


def test_whatever_an_answer_depends_on_is_searched_for_anew(tmp_path: Path, searches: list[Request]) -> None:
    kept, there, request = Winners(tmp_path, "basis"), room("16gb, 8 cores"), Request()
    kept.recommend(models(), there, request)

    kept.recommend(models()[1:], there, request)
    kept.recommend(models(), room("32gb, 8 cores"), request)
    kept.recommend(models(), there, replace(request, users=2))
    kept.recommend(models(), there, replace(request, licenses=frozenset({"mit"})))
    kept.recommend(models(), there, request, 1)
    Winners(tmp_path, "another catalogue").recommend(models(), there, request)

    assert 7 == len(searches)


def test_an_answer_that_is_damaged_is_searched_for_anew(tmp_path: Path, searches: list[Request]) -> None:
    kept, there = Winners(tmp_path, "basis"), room("16gb, 8 cores")
    first = kept.recommend(models(), there, Request())
    (file,) = tmp_path.iterdir()
    file.write_bytes(b"\x93")

    assert first == kept.recommend(models(), there, Request())
    assert 2 == len(searches)


def test_only_so_many_answers_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(winners, "KEPT", 2)
    kept = Winners(tmp_path, "basis")
    for users in (1, 2, 3):
        kept.recommend(models(), room("16gb, 8 cores"), Request(users=users), 1)

    assert 2 == len(list(tmp_path.iterdir()))


def test_a_folder_that_cannot_be_written_costs_nothing_but_the_next_search(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    assert Winners(tmp_path / "file", "basis").recommend(models(), room("16gb, 8 cores"), Request())

"""Is the best form of all the one that is recommended, and does a larger machine never get a worse one?"""

import pytest

from relayd.planner.placement import Place, Placement
from relayd.planner.quality import Use
from relayd.planner.rank import SPILLED, Request
from relayd.planner.recommend import advise, fitting, recommend
from relayd.planner.search import Scoring
from relayd.planner.uses import PROFILES
from tests.planner.chains import best, of_chain, room
from tests.planner.models import known

pytestmark = pytest.mark.pure

MACHINES = (
    "ram=8,cores=4,bandwidth=35",
    "ram=24,cores=2,bandwidth=20",
    "3060,ram=32",
    "4060 + 3060, ram=16",
    "2x3090,ram=64",
    "m4 max 64",
)

FEW = ("qwen3-8b", "qwen3-30b-a3b", "gemma-4-e4b-it", "gpt-oss-20b", "qwen3.5-0.8b")


@pytest.mark.parametrize("seed", [0, 2, 3, 4, 5, 10, 11, 41])
def test_a_larger_machine_never_gets_a_worse_best_score(seed: int) -> None:
    assert [] == list(of_chain(seed))


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("use", [Use.CHAT, Use.AGENT])
def test_the_search_finds_what_looking_at_every_form_finds(machine: str, use: Use) -> None:
    request = Request(use)
    search = Scoring(room(machine), request)
    for name in FEW:
        one = known(use)[name]
        forms = fitting(one, request)
        every = [choice.score for choice in search.every(one.facts, forms)]
        found = search.best(one.facts, forms)

        assert max(every, default=None) == (found.score if found else None), name
        assert max(every, default=0.0) <= search.bound(one.facts, forms) + 1e-9, name


@pytest.mark.parametrize("machine", MACHINES[::4])
def test_the_first_pick_has_the_best_score_of_all_models(machine: str) -> None:
    request = Request(Use.CHAT)
    search = Scoring(room(machine), request)
    first = best(machine, Use.CHAT)[0]
    scores = {
        name: choice.score
        for name, one in known(Use.CHAT).items()
        if (choice := search.best(one.facts, fitting(one, request)))
    }

    assert max(scores.values()) == scores[first.known.name] == first.ranked.score


def test_what_is_recommended_fits_with_what_it_is_said_to_need() -> None:
    for machine in MACHINES[::2]:
        there = room(machine)
        for advice in recommend(known().values(), there, Request(), 5):
            assert isinstance(advice.outcome, Placement)
            assert there.short_of(advice.outcome.needs) is None
            assert advice.outcome.form.build().needs(advice.outcome.setup) == advice.outcome.needs


@pytest.mark.parametrize("use", list(Use))
def test_a_pick_has_what_its_use_must_have(use: Use) -> None:
    for advice in best("4090,ram=64", use, count=5):
        assert isinstance(advice.outcome, Placement)
        assert advice.outcome.context >= PROFILES[use].least_context
        assert advice.ranked.candidate.paced >= PROFILES[use].floor
        assert advice.outcome.setup.type_k in {"f16", "q8_0"}


def test_one_user_is_planned_for_unless_more_are_asked_for() -> None:
    assert {1} == slots("4090,ram=64", users=1)
    assert {4} == slots("4090,ram=64", users=4)


def slots(machine: str, users: int) -> set[int]:
    found = (one.outcome for one in best(machine, Use.CHAT, users, 3))
    return {one.slots for one in found if isinstance(one, Placement)}


@pytest.mark.parametrize("machine", ["m2 16", "m4 max 64", "strix halo 128", "dgx spark"])
def test_nothing_moves_to_the_cpu_out_of_memory_that_is_the_same(machine: str) -> None:
    found = best(machine, Use.CHAT, count=4)
    places = {one.outcome.place for one in found if isinstance(one.outcome, Placement)}

    assert places <= {Place.ONE_GPU, Place.CPU}
    assert not machine.startswith("m") or places == {Place.ONE_GPU}


def test_one_model_may_be_asked_about_that_no_use_would_take() -> None:
    old = next(one for name, one in known().items() if name.startswith("tinyllama"))
    there = room("4090,ram=64")

    assert advise(old, there, Request(Use.CHAT)).ranked.refused
    assert advise(old, there, Request(Use.CHAT, lenient=True)).good


def test_a_file_that_is_whole_on_its_card_goes_before_one_that_spills() -> None:
    (first,) = best("4060,ram=16", Use.CHAT, 1, 1)

    assert isinstance(first.outcome, Placement)
    assert first.outcome.place is Place.ONE_GPU


def test_layers_in_ram_cost_points_but_no_more_than_the_card_gains() -> None:
    model = known(Use.CHAT)["qwen3.5-27b"]
    search = Scoring(room("4060,ram=64"), Request(lenient=True, patient=True))
    found = list(search.every(model.facts, model.forms))

    spills = [one for one in found if one.placement.place is Place.PARTIAL]
    alone = max(one.score for one in found if one.placement.place is Place.CPU)
    assert spills
    assert all(0 <= one.spilled <= SPILLED for one in spills)
    assert alone <= max(one.score for one in spills)
    assert all(one.spilled == 0 for one in found if one not in spills)

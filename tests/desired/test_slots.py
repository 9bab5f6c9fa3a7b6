"""How many slots get models whose lines leave them open, and why not more?"""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from relayd.config import Model
from relayd.desired.plans import ModelPlans
from relayd.planner.placement import Placement
from tests.desired.desk import later, planner, plans, sparse

pytestmark = pytest.mark.system

GPU = "gpu=4090:24,ram=64"


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model(name="open", file=sparse(tmp_path_factory.mktemp("slots"), "qwen3-8b"))


def sized(found: ModelPlans) -> tuple[int, int]:
    """Return slots and context of the only replica; 0 where it is not started."""
    (one,) = found.plan
    return (0, 0) if one.cold else (one.spec.slots, one.spec.context)


def because(found: ModelPlans) -> str:
    return " ".join(
        reason
        for one in found.fleet.assignments
        if isinstance(one.outcome, Placement)
        for reason in one.outcome.reasons
    )


def test_much_memory_gives_four_slots_the_whole_context(line: Model) -> None:
    assert (4, 40960) == sized(plans(planner("gpu=a100:80,ram=128"), line))


def test_a_long_context_comes_before_a_second_slot(line: Model) -> None:
    assert (2, 16384) == sized(plans(planner("gpu=3070:8,ram=32"), line))


def test_a_single_slot_keeps_what_context_fits(line: Model) -> None:
    slots, context = sized(plans(planner("gpu=3070:7,ram=32"), line))

    assert 1 == slots
    assert 4096 <= context <= 16384


def test_many_small_requests_get_eight_slots_on_a_device_where_the_context_is_set(line: Model) -> None:
    short = msgspec.structs.replace(line, context=4096)

    assert (8, 4096) == sized(plans(planner(GPU), short))
    assert 4 >= sized(plans(planner("ram=64"), short))[0]


def test_slots_are_fewer_where_all_at_work_would_be_slower_than_people_read(line: Model) -> None:
    found = plans(planner("ram=256"), line)

    assert (2, 40960) == sized(found)
    assert "With 4 slots at work each would get" in because(found)


def test_a_number_of_the_line_is_kept_whatever_the_pace(line: Model) -> None:
    assert 4 == sized(plans(planner("ram=256"), msgspec.structs.replace(line, slots=4)))[0]


def test_the_reason_why_there_are_no_more_is_remembered(line: Model) -> None:
    here = planner("gpu=3060:12,ram=32")
    first = plans(here, line)
    again = plans(later(here, first.remembered), line)

    assert "needs" in because(first)
    assert because(first) == because(again)


def test_replicas_of_a_model_have_the_same_slots(line: Model) -> None:
    found = plans(planner("gpu=3090:24,ram=64"), msgspec.structs.replace(line, replicas=2))

    assert 1 == len({(one.spec.slots, one.spec.context) for one in found.plan})


def test_what_was_remembered_before_slots_were_planned_is_kept(line: Model) -> None:
    here = planner("ram=256")
    four = msgspec.structs.replace(line, slots=4)
    before = plans(here, four).remembered

    assert 4 == sized(plans(later(here, before), line))[0]


def test_a_number_that_is_set_since_is_planned_anew_although_the_model_runs(line: Model) -> None:
    here = planner("ram=256")
    two = plans(here, line).remembered
    four = msgspec.structs.replace(line, slots=4)

    assert 4 == sized(plans(later(here, two, {"open"}), four))[0]


def test_the_engine_gets_the_usual_slots_of_a_model_that_it_fits(line: Model) -> None:
    assert 4 == sized(plans(planner("ram=64"), msgspec.structs.replace(line, fit="engine", context=4096)))[0]


@settings(max_examples=60)
@given(some.integers(5, 60), some.integers(0, 30), some.sampled_from((0, 2048, 8192, 65536)))
def test_more_ram_never_gives_fewer_slots_or_less_context(
    line: Model, gib: int, more: int, context: int
) -> None:
    asked = msgspec.structs.replace(line, context=context)
    less = sized(plans(planner("ram=128", host_mib=gib * 1024), asked))
    richer = sized(plans(planner("ram=128", host_mib=(gib + more) * 1024), asked))

    assert less[0] <= richer[0]
    assert less[1] <= richer[1]


@settings(max_examples=40)
@given(some.integers(7, 40), some.integers(0, 24), some.booleans())
def test_more_memory_of_a_device_never_gives_fewer_slots_or_less_context_on_it(
    line: Model, gib: int, more: int, embeddings: bool
) -> None:
    asked = msgspec.structs.replace(line, embeddings=embeddings)
    found = [
        plans(planner(f"gpu=3090:{size},ram=32", reserve_mib=31 * 1024), asked) for size in (gib, gib + more)
    ]
    less, richer = map(sized, found)

    assert less[0] <= richer[0]
    assert less[1] <= richer[1]

"""Does a request have a model loaded on another machine, where no replica of it is coming?"""

import pytest

from relayd.scheduler import (
    Dormant,
    Effect,
    Expected,
    Finished,
    Gone,
    LoadElsewhere,
    Refusal,
    Scheduler,
    Unloaded,
)
from tests.scheduler.script import arrived, placed, play, ready, refused

pytestmark = pytest.mark.pure

FAR, NEAR = Dormant("m#0@far", "m", "it sleeps", 0.02), Dormant("m#0@near", "m", "it is cold", 0.01)


def loads(effects: list[Effect]) -> list[LoadElsewhere]:
    return [one for one in effects if isinstance(one, LoadElsewhere)]


def test_a_request_waits_for_the_load_that_it_has_ordered_elsewhere() -> None:
    scheduler = Scheduler(depth=4)
    effects = play(scheduler, FAR, arrived(1))
    assert [LoadElsewhere("m")] == loads(effects)
    assert [] == refused(effects)

    effects = play(scheduler, Expected("m#0@far", "m", 0.02), arrived(2), ready("m#0@far", slots=2))
    assert [] == loads(effects)
    assert [(1, "m#0@far"), (2, "m#0@far")] == placed(effects)


def test_where_the_load_fails_another_machine_is_tried_and_then_all_are_refused() -> None:
    scheduler = Scheduler(depth=4)
    play(scheduler, FAR, NEAR, arrived(1), Expected("m#0@far", "m", 0.02))

    effects = play(scheduler, Gone("m#0@far", "out of memory"))
    assert [LoadElsewhere("m")] == loads(effects)
    effects = play(scheduler, Expected("m#0@near", "m", 0.01), Gone("m#0@near", "out of memory too"))
    assert [(1, Refusal.UNAVAILABLE)] == refused(effects)


def test_nothing_is_loaded_elsewhere_while_a_replica_serves() -> None:
    scheduler = Scheduler(depth=4)
    effects = play(scheduler, ready("m#0"), FAR, arrived(1), arrived(2), Finished(1))

    assert [] == loads(effects)
    assert [(1, "m#0"), (2, "m#0")] == placed(effects)


def test_what_this_machine_cannot_load_is_loaded_elsewhere() -> None:
    scheduler = Scheduler(depth=4)
    effects = play(scheduler, Unloaded("m#0", "m", "no policy"), FAR, arrived(1))

    assert [LoadElsewhere("m")] == loads(effects)


def test_a_model_that_is_unloaded_elsewhere_comes_back_for_what_waits() -> None:
    scheduler = Scheduler(depth=4)
    play(scheduler, ready("m#0@far"), arrived(1), arrived(2))

    assert [LoadElsewhere("m")] == loads(play(scheduler, FAR))

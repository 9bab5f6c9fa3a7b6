"""A model that is only not in memory, one that was stopped, and one that was removed."""

import pickle

import pytest

from relayd.scheduler import Event, Expected, Finished, Forgotten, Gone, Refusal, Refuse, Scheduler, Unloaded
from tests.scheduler.script import arrived, placed, play, ready, refused

pytestmark = pytest.mark.pure

NOT_LOADED = Unloaded("m#0", "m", "b holds the memory")


def test_a_model_that_is_only_not_loaded_refuses_with_that_reason() -> None:
    effects = play(Scheduler(depth=4), Expected("m#0", "m"), arrived(1), NOT_LOADED, arrived(2))

    assert [(1, Refusal.NOT_LOADED), (2, Refusal.NOT_LOADED)] == refused(effects)
    assert all(each.reason == "b holds the memory" for each in effects if isinstance(each, Refuse))


def test_a_model_that_is_not_loaded_serves_once_it_is() -> None:
    scheduler = Scheduler(depth=4)
    play(scheduler, NOT_LOADED, Expected("m#0", "m"))

    assert [] == play(scheduler, arrived(1))
    assert [(1, "m#0")] == placed(play(scheduler, ready("m#0")))


def test_an_unloaded_replica_leaves_the_work_to_the_others() -> None:
    scheduler = Scheduler(depth=4)
    play(scheduler, ready("m#1"), arrived(1), NOT_LOADED)

    assert [] == play(scheduler, arrived(2))
    assert [(2, "m#1")] == placed(play(scheduler, Finished(1)))


@pytest.mark.parametrize("first", [NOT_LOADED, Gone("m#1", "stopped")])
def test_one_replica_that_could_be_loaded_makes_the_model_loadable(first: Event) -> None:
    events: list[Event] = [NOT_LOADED, Gone("m#1", "stopped")]
    events.sort(key=lambda event: event != first)
    effects = play(Scheduler(depth=4), Expected("m#1", "m"), *events, arrived(1))

    assert [(1, Refusal.NOT_LOADED)] == refused(effects)


def test_a_model_that_was_stopped_by_hand_is_not_called_unloaded() -> None:
    effects = play(Scheduler(depth=4), NOT_LOADED, Gone("m#0", "m#0 is stopped"), arrived(1))

    assert [(1, Refusal.UNAVAILABLE)] == refused(effects)


def test_what_waits_for_a_model_that_is_removed_is_refused() -> None:
    scheduler = Scheduler(depth=4)

    assert [(1, Refusal.UNAVAILABLE)] == refused(
        play(scheduler, Expected("m#0", "m"), arrived(1), Forgotten("m#0"))
    )
    assert "<Scheduler waiting=0 running=0 replicas=0>" == repr(scheduler)


def test_a_question_about_an_unknown_model_leaves_the_scheduler_as_it_was() -> None:
    scheduler = Scheduler(depth=4)
    play(scheduler, Expected("m#0", "m"), arrived(1))
    before = pickle.dumps(scheduler)

    scheduler.load("unknown")

    assert before == pickle.dumps(scheduler)

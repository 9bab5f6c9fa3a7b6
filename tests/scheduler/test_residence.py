"""Replicas that come and go by themselves or by an operator: idle, home, growth, load, unload."""

import pytest

from relayd.scheduler import (
    EvictionCause,
    Expected,
    Gone,
    Load,
    ResidenceSet,
    Resident,
    Scheduler,
    Tick,
    Unloaded,
)
from tests.ledger.machine import Life
from tests.scheduler.rooms import life, loaded, machine, names, placed_after, process
from tests.scheduler.script import arrived, play, ready

pytestmark = pytest.mark.pure

IDLE = Resident(idle_seconds=60.0)
HOME = Resident(home=True)
GROWTH = Resident(growth=True)


def test_a_replica_is_unloaded_when_it_was_idle_for_long_enough() -> None:
    made = machine(1, process("a#0", policy=IDLE))
    made.ask("a", 10.0)
    made.run(12 + 59)

    assert Life.READY is life(made, "a#0")

    made.run(12 + 61)

    assert Life.COLD is life(made, "a#0")
    assert 1 == made.scheduler.memory.evictions()[EvictionCause.IDLE]


def test_idleness_counts_from_the_end_of_a_request() -> None:
    made = machine(1, process("a#0", policy=IDLE))
    made.ask("a", 300.0)
    made.run(2 + 300 + 59)

    assert Life.READY is life(made, "a#0")


def test_a_replica_that_may_not_be_idle_is_unloaded_with_its_last_request() -> None:
    made = machine(1, process("a#0", policy=Resident(idle_seconds=0.0)))
    made.ask("a", 1.0)
    made.ask("a", 1.0)
    made.run(4.2)

    assert Life.COLD is life(made, "a#0")
    assert ["a#0"] == names(made)


@pytest.mark.parametrize(
    "policy", [Resident(), Resident(pin=True, idle_seconds=1.0), Resident(home=True, idle_seconds=1.0)]
)
def test_what_stays_pinned_or_at_home_is_not_unloaded_for_idleness(policy: Resident) -> None:
    made = machine(1, process("a#0", policy=policy))
    made.ask("a", 1.0)
    made.run(10_000)

    assert Life.READY is life(made, "a#0")


def test_a_home_model_comes_back_when_the_machine_is_idle() -> None:
    made = loaded(1, process("home#0", policy=HOME))
    made.add(process("b#0"))
    made.ask("b", 10.0)
    made.run(made.now + 2.2 + 10 + 29)

    assert Life.COLD is life(made, "home#0")

    made.run(made.now + 5)

    assert ["b#0", "home#0"] == names(made)
    assert Life.READY is life(made, "home#0")


def test_home_models_that_do_not_fit_together_do_not_end_each_other() -> None:
    made = machine(1, process("a#0", policy=HOME), process("b#0", policy=HOME))
    made.run(1000)

    assert ["a#0"] == names(made)


def test_a_home_model_that_an_operator_unloaded_stays_away_until_it_is_wanted() -> None:
    made = loaded(1, process("home#0", policy=HOME))
    made.unload("home#0")
    made.run(made.now + 500)

    assert Life.COLD is life(made, "home#0")

    made.ask("home", 1.0)
    made.run(made.now + 5)

    assert Life.READY is life(made, "home#0")


def test_an_operator_unloads_a_replica_that_is_idle_at_once() -> None:
    made = loaded(1, process("a#0", policy=Resident(pin=True)))
    made.unload("a#0")

    assert Life.STOPPING is life(made, "a#0")


def test_an_operators_unload_lets_a_replica_finish_its_work_and_take_no_more() -> None:
    made = loaded(1, process("a#0"))
    working, waiting = made.ask("a", 5.0), made.ask("a", 1.0)
    made.unload("a#0")
    made.run(made.now + 20)

    assert 5.0 == pytest.approx(working.ended - working.arrived)
    assert ["a#0"] == names(made)
    assert 5 + 2.1 == pytest.approx(placed_after(waiting))


def test_a_forced_unload_ends_what_a_replica_works_on_also_after_one_that_waits() -> None:
    made = loaded(1, process("a#0"))
    made.ask("a", 500.0)
    made.unload("a#0")
    made.unload("a#0", force=True)

    assert Life.STOPPING is life(made, "a#0")
    assert 1 == made.scheduler.memory.evictions()[EvictionCause.OPERATOR]


def test_an_operator_loads_a_model_that_evicts_one_that_is_young() -> None:
    made = machine(1, process("a#0"), process("b#0"))
    made.ask("a", 0.1)
    made.run(2.5)
    made.load("b")
    made.run(6)

    assert Life.READY is life(made, "b#0")


def test_a_load_by_an_operator_does_not_wait_for_the_end_of_a_backoff() -> None:
    made = machine(1, process("a#0", fails=1))
    made.ask("a", 1.0)
    made.run(3)
    made.load("a")
    made.run(6)

    assert Life.READY is life(made, "a#0")


def test_a_queue_that_waits_longer_than_a_load_takes_gets_another_replica() -> None:
    made = loaded(2, process("a#0"))
    made.add(process("a#1", policy=GROWTH))
    for _ in range(10):
        made.ask("a", 5.0)
        made.run(made.now + 1)

    assert ["a#1"] == names(made)


@pytest.mark.parametrize(("requests", "room"), [(1, 2), (20, 1)])
def test_a_short_queue_or_little_memory_gets_none(requests: int, room: int) -> None:
    made = loaded(room, process("a#0"))
    made.add(process("a#1", policy=GROWTH))
    for _ in range(requests):
        made.ask("a", 1.0)
    made.run(made.now + 100)

    assert [] == names(made)


def test_a_replica_beyond_the_minimum_is_unloaded_when_it_is_not_needed() -> None:
    made = loaded(2, process("a#0"))
    made.add(process("a#1", policy=GROWTH))
    for _ in range(10):
        made.ask("a", 5.0)
    made.run(made.now + 60)

    assert ["a#1"] == names(made)

    made.run(made.now + 80)

    assert (Life.READY, Life.COLD) == (life(made, "a#0"), life(made, "a#1"))
    assert 1 == made.scheduler.memory.evictions()[EvictionCause.SHRINK]


def test_a_replica_beyond_the_minimum_stays_while_its_slots_are_needed() -> None:
    made = loaded(2, process("a#0"))
    made.add(process("a#1", policy=GROWTH))
    for _ in range(60):
        made.ask("a", 5.0)
    made.run(made.now + 140)

    assert Life.READY is life(made, "a#1")


def test_a_replica_that_made_room_comes_back_beside_the_others_when_requests_wait_for_long() -> None:
    made = loaded(3, process("a#0"), process("a#1"))
    made.add(process("b#0", size=2))
    made.ask("b", 1.0)
    made.run(made.now + 20)
    made.unload("b#0")
    made.run(made.now + 5)
    for _ in range(20):
        made.ask("a", 2.0)
    made.run(made.now + 100)

    assert [Life.READY, Life.READY] == [life(made, "a#0"), life(made, "a#1")]


def test_a_replica_that_an_operator_stopped_does_not_keep_others_from_growing() -> None:
    scheduler = Scheduler(depth=100)
    play(
        scheduler,
        *(ResidenceSet(f"m#{index}", "m", Resident(growth=index > 0)) for index in range(3)),
        Expected("m#0", "m"),
        ready("m#0"),
        Unloaded("m#1", "m", "cold"),
        Gone("m#1", "stopped"),
        Unloaded("m#2", "m", "cold"),
        *map(arrived, range(100)),
    )

    assert [Load("m#2")] == play(scheduler, Tick(), now=2.0)

"""Models that do not fit together: who gives way, when, and who waits how long."""

from dataclasses import replace
from functools import partial

import pytest

from relayd.config import Config
from relayd.scheduler import EvictionCause, MemoryPolicy, Resident
from tests.ledger.machine import Life, Machine
from tests.ledger.traces import client
from tests.scheduler.rooms import POLICY, life, loaded, machine, names, placed_after, process

pytestmark = pytest.mark.pure


def test_the_settings_default_to_what_the_policy_was_measured_with() -> None:
    settings, policy = Config().memory, MemoryPolicy()

    assert (policy.min_resident_seconds, policy.swap_batch_requests, policy.swap_turn_seconds) == (
        settings.min_resident_seconds, settings.swap_batch_requests, settings.swap_turn_seconds,
    )  # fmt: skip


def test_an_idle_model_gives_its_memory_to_one_that_is_wanted() -> None:
    made = loaded(1, process("a#0"))
    made.add(process("b#0"))
    request = made.ask("b", 1.0)
    made.run(made.now + 10)

    assert placed_after(request) == pytest.approx(2.1)
    assert Life.COLD is life(made, "a#0")
    assert 1 == made.scheduler.memory.evictions()[EvictionCause.MEMORY]


def test_a_model_at_work_finishes_before_it_gives_way() -> None:
    made = loaded(1, process("a#0"))
    made.add(process("b#0"))
    working, waiting = made.ask("a", 60.0), made.ask("b", 1.0)
    made.run(made.now + 100)

    assert 60.0 == pytest.approx(working.ended - working.arrived)
    assert placed_after(waiting) == pytest.approx(62.1)


def test_a_pinned_model_gives_way_to_none() -> None:
    made = loaded(1, process("a#0", policy=Resident(pin=True)))
    made.add(process("b#0"))
    request = made.ask("b", 1.0, wait_seconds=30.0)
    made.run(made.now + 60)

    assert "queue_timeout" == request.refused
    assert Life.READY is life(made, "a#0")


def test_a_pin_that_comes_while_a_model_gives_way_keeps_it() -> None:
    made = loaded(1, process("a#0"))
    made.add(process("b#0"))
    made.ask("a", 15.0)
    made.ask("b", 1.0)
    made.run(made.now + 12)
    made.pin("a#0", True)
    later = made.ask("a", 1.0)
    made.run(made.now + 60)

    assert Life.READY is life(made, "a#0")
    assert placed_after(later) == pytest.approx(3.0)


def taken_from_b(**more: object) -> Machine:
    """Return a machine where a model has just answered that took the memory of an idle one."""
    made = loaded(1, process("b#0", 1, **more))
    made.add(process("a#0"))
    made.ask("a", 0.1)
    made.run(made.now + 2.5)
    return made


def test_a_model_has_memory_back_that_another_took_only_after_a_while() -> None:
    made = taken_from_b()
    request = made.ask("b", 1.0)
    made.run(made.now + 20)

    assert POLICY.min_resident_seconds - 0.4 + 2.1 == pytest.approx(placed_after(request))


def test_a_model_that_took_memory_gives_it_to_a_third_one_as_soon_as_it_has_answered() -> None:
    made = taken_from_b()
    made.add(process("c#0"))
    request = made.ask("c", 1.0)
    made.run(made.now + 20)

    assert 2.1 == placed_after(request)


def test_a_model_that_loads_for_long_keeps_its_memory_for_as_long() -> None:
    made = loaded(1, process("b#0"))
    made.add(process("a#0", load_seconds=20.0))
    made.ask("a", 0.1)
    made.run(made.now + 21)
    request = made.ask("b", 1.0)
    made.run(made.now + 60)

    assert 20 - 0.9 + 2.1 == pytest.approx(placed_after(request))


def test_a_model_that_loads_for_long_has_a_turn_as_long() -> None:
    made = loaded(1, process("a#0", load_seconds=40.0, policy=Resident(reload_seconds=40.0)))
    made.add(process("b#0"))
    for _ in range(4):
        made.ask("a", 15.0)
    request = made.ask("b", 1.0)
    made.run(made.now + 90)

    assert 45 + 2.1 == pytest.approx(placed_after(request))


def test_settings_of_zero_stay_zero_however_long_a_load_takes() -> None:
    policy = MemoryPolicy(min_resident_seconds=0, swap_turn_seconds=0)

    assert (0, 0) == (policy.resident_seconds(60), policy.turn_seconds(60))


def test_a_wait_limit_that_is_near_ends_that_while() -> None:
    made = taken_from_b()
    request = made.ask("b", 1.0, wait_seconds=4.0)
    made.run(made.now + 20)

    assert 2.1 == placed_after(request)


def test_a_wait_limit_that_no_load_can_meet_ends_nothing() -> None:
    made = taken_from_b(load_seconds=60.0)
    made.ask("b", 1.0, wait_seconds=1.0)
    made.run(made.now + 0.5)

    assert Life.READY is life(made, "a#0")


def test_a_model_in_use_gets_a_bounded_number_of_requests_more() -> None:
    made = loaded(1, process("a#0"))
    made.add(process("b#0"))
    before = [made.ask("a", 1.0) for _ in range(9)]
    request = made.ask("b", 1.0)
    made.run(made.now + 9)

    assert 1 + POLICY.swap_batch_requests + 2.1 == pytest.approx(placed_after(request))
    assert [0, 1, 2, 3, 4] == [placed_after(one) for one in before[:5]]
    assert all(not one.refused for one in before)


def test_a_model_in_use_gets_requests_for_a_bounded_time_more() -> None:
    made = loaded(1, process("a#0"))
    made.add(process("b#0"))
    for _ in range(9):
        made.ask("a", 4.0)
    request = made.ask("b", 1.0)
    made.run(made.now + 30)

    assert 12 + 2.1 == pytest.approx(placed_after(request))


def test_what_waited_for_the_model_that_gave_way_runs_after_a_turn_of_the_other() -> None:
    made = loaded(1, process("a#0"))
    made.add(process("b#0"))
    mine = [made.ask("a", 1.0) for _ in range(9)]
    for _ in range(9):
        made.ask("b", 1.0)
    made.run(made.now + 60)

    assert ["b#0", "a#0", "b#0"] == names(made)[:3]
    assert max(map(placed_after, mine)) < 22


def test_a_turn_ends_early_when_the_model_has_nothing_to_do() -> None:
    made = loaded(1, process("a#0"))
    made.add(process("b#0"))
    made.ask("a", 1.0)
    request = made.ask("b", 1.0)
    made.run(made.now + 9)

    assert 1 + 2.1 == pytest.approx(placed_after(request))


def test_a_model_that_is_to_give_way_stays_when_the_one_that_waits_has_left() -> None:
    made = loaded(1, process("a#0"))
    made.add(process("b#0"))
    for _ in range(5):
        made.ask("a", 4.0)
    request = made.ask("b", 1.0)
    made.run(made.now + 11)
    last = made.ask("a", 1.0)
    made.cancel(request)
    made.run(made.now + 30)

    assert [] == names(made)
    assert 9.0 == placed_after(last)


def test_the_model_that_is_wanted_less_gives_way() -> None:
    made = loaded(2, process("often#0"), process("seldom#0"))
    made.add(process("b#0"))
    for _ in range(20):
        made.ask("often", 0.1)
        made.run(made.now + 1)
    made.ask("seldom", 0.1)
    made.run(made.now + 1)
    made.ask("b", 1.0)
    made.run(made.now + 5)

    assert Life.READY is life(made, "often#0")


def test_models_get_memory_in_the_order_in_which_they_were_wanted() -> None:
    made = machine(1, *(process(f"{name}#0") for name in "abcd"))
    for name in "dbca":
        made.ask(name, 1.0)
        made.run(made.now + 0.1)
    made.run(60)

    assert ["d#0", "b#0", "c#0", "a#0"] == names(made)


def test_a_small_model_does_not_keep_memory_from_a_large_one_that_came_first() -> None:
    made = loaded(4, process("a#0", size=2), process("b#0", size=2))
    made.add(process("large#0", size=4))
    made.add(process("small#0", size=1))
    made.ask("a", 3.0)
    large = made.ask("large", 1.0)
    made.run(made.now + 1)
    made.ask("small", 1.0)
    made.run(made.now + 30)

    assert ["large#0", "small#0"] == names(made)
    assert 3 + 2.1 == pytest.approx(placed_after(large))


def test_adopted_replicas_may_take_more_than_there_is_and_then_nothing_is_granted() -> None:
    made = machine(3)
    for name in ("a#0", "b#0"):
        made.adopt(process(name, size=2))
    made.add(process("c#0"))
    made.run(10)
    request = made.ask("c", 1.0, wait_seconds=60.0)
    made.run(30)

    assert placed_after(request) == pytest.approx(2.1)
    assert 1 == made.scheduler.memory.evictions()[EvictionCause.MEMORY]


def test_memory_that_other_programs_take_is_not_granted() -> None:
    made = machine(2, process("a#0"), process("b#0"))
    made.use_elsewhere({"host": 1})
    made.ask("a", 1.0)
    made.run(5)
    made.ask("b", 1.0)
    made.run(30)

    assert Life.COLD is life(made, "a#0")
    assert Life.READY is life(made, "b#0")


def test_memory_that_becomes_free_elsewhere_is_granted() -> None:
    made = machine(1, process("a#0"))
    made.use_elsewhere({"host": 1})
    request = made.ask("a", 1.0)
    made.run(5)
    made.use_elsewhere({})
    made.run(30)

    assert placed_after(request) == pytest.approx(7.0)


def test_a_model_that_stays_after_all_takes_work_at_once() -> None:
    made = loaded(1, process("a#0", slots=2))
    made.add(process("b#0"))
    made.ask("a", 60.0)
    made.ask("a", 12.0)
    request = made.ask("b", 1.0)
    made.run(made.now + 20)
    last = made.ask("a", 1.0)
    made.run(made.now + 1)
    made.cancel(request)

    assert 1.0 == placed_after(last)


def test_a_second_replica_of_a_model_evicts_no_other_model() -> None:
    made = loaded(2, process("b#0"), process("a#0"))
    made.add(process("a#1"))
    made.unload("a#0")
    made.run(made.now + 10)
    made.ask("a", 1.0)
    made.ask("a", 1.0)
    made.run(made.now + 60)

    assert [Life.READY, Life.READY, Life.WAITING] == [life(made, name) for name in ("b#0", "a#0", "a#1")]


def test_a_replica_that_takes_more_than_was_planned_leaves_less_for_others() -> None:
    made = loaded(3, process("a#0"))
    made.add(process("b#0", size=2))
    made.measure("a#0", {"host": 2})
    made.ask("b", 1.0)
    made.run(made.now + 10)

    assert Life.COLD is life(made, "a#0")


def test_a_second_replica_does_not_wait_for_the_device_of_a_load_that_was_given_up() -> None:
    made = machine(9, process("a#0", load_seconds=100.0), process("b#0"))
    slow, request = made.ask("a", 1.0), made.ask("b", 1.0)
    made.run(5)
    made.cancel(slow)
    made.run(20)

    assert pytest.approx(5 + 0.1 + 2) == request.placed


def test_a_model_on_two_devices_is_not_passed_by_those_that_take_turns_on_each() -> None:
    """With loads that are longer than turns there is always one of the others that is being loaded."""
    rooms = {"cuda0": ("a", "b"), "cuda1": ("c", "d")}
    made = Machine({"host": 9, "cuda0": 1, "cuda1": 1}, POLICY)
    for device, models in rooms.items():
        for model in models:
            made.add(replace(process(f"{model}#0", load_seconds=60.0), need={device: 1}))
    made.add(replace(process("x#0"), need={"cuda0": 1, "cuda1": 1}))
    for device, until in (("cuda0", 35), ("cuda1", 100)):
        for model in rooms[device]:
            client(made, partial(str, model), lambda: 1.0, 0.0)
        made.run(until)
    request = made.ask("x", 1.0)
    made.run(400)

    assert placed_after(request) < 60 + POLICY.turn_seconds(60.0) + 60 + 5

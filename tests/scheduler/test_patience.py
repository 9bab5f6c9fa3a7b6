"""Starts that no request waits for end, with a reason: they are granted, or given up after a bounded time."""

import pytest

from relayd.scheduler import EvictionCause, Expected, MemoryAsked, Resident, StartWanted
from relayd.units import Bytes
from tests.ledger.machine import Life, Machine
from tests.scheduler.rooms import POLICY, life, loaded, machine, names, placed_after, process

pytestmark = pytest.mark.pure

PIN = Resident(pin=True)
WAIT = POLICY.start_wait_seconds


def busy(*, pin: bool = False) -> Machine:
    """Return a machine whose one model works on a long answer, and another one that has no room."""
    made = loaded(1, process("a#0", policy=Resident(pin=pin)))
    made.add(process("b#0"))
    made.ask("a", 200.0)
    return made


def test_a_start_that_nothing_asks_for_leaves_memory_to_what_is_there() -> None:
    made = loaded(1, process("a#0"))
    made.add(process("b#0"))
    made.start("b#0")
    made.run(made.now + 5)

    assert (Life.READY, Life.COLD) == (life(made, "a#0"), life(made, "b#0"))
    assert [
        "a#0 (loaded) hold its memory; a request, or `relayd load b`, has others make room"
    ] == made.reasons
    request = made.ask("b", 1.0)
    made.run(made.now + 10)
    assert placed_after(request) < 5


@pytest.mark.parametrize(("pin", "how"), [(False, "in use"), (True, "pinned")])
def test_a_start_does_not_wait_for_what_is_busy_or_pinned(pin: bool, how: str) -> None:
    made = busy(pin=pin)
    made.start("b#0")
    made.run(made.now + 1)

    assert Life.COLD is life(made, "b#0")
    assert f"a#0 ({how}) hold its memory" in made.reasons[0]


def test_a_second_replica_of_a_model_does_not_wait_for_what_is_busy() -> None:
    made = loaded(2, process("a#0"), process("b#0"))
    made.add(process("b#1"))
    made.ask("a", 200.0)
    made.start("b#1")
    made.run(made.now + 1)

    assert Life.COLD is life(made, "b#1")


def test_a_second_replica_that_had_no_room_comes_when_requests_wait_for_long() -> None:
    made = loaded(2, process("a#0"), process("b#0"))
    made.add(process("b#1"))
    made.start("b#1")
    made.run(made.now + 1)
    made.unload("a#0")
    for _ in range(20):
        made.ask("b", 2.0)
    made.run(made.now + 60)

    assert ["b#1"] == names(made)


def test_a_start_waits_for_other_programs_for_a_bounded_time() -> None:
    made = machine(1, process("a#0"))
    made.use_elsewhere({"host": 1})
    made.start("a#0")
    made.run(WAIT - 1)
    assert Life.WAITING is life(made, "a#0")
    made.run(WAIT + 1)

    assert Life.COLD is life(made, "a#0")
    assert ["there is no room for it: other programs hold the memory"] == made.reasons


def test_a_start_gets_what_other_programs_free_in_time() -> None:
    made = machine(1, process("a#0"))
    made.use_elsewhere({"host": 1})
    made.start("a#0")
    made.run(WAIT - 1)
    made.use_elsewhere({})
    made.run(WAIT + 5)

    assert Life.READY is life(made, "a#0")


def test_a_start_waits_as_long_as_loads_before_it_take() -> None:
    made = machine(2, process("a#0", load_seconds=5 * WAIT), process("b#0"))
    made.start("a#0")
    made.insist("b#0")
    made.run(6 * WAIT)

    assert [Life.READY, Life.READY] == [life(made, name) for name in ("a#0", "b#0")]


def test_a_start_by_an_operator_has_others_make_room() -> None:
    made = loaded(1, process("a#0"))
    made.add(process("b#0"))
    made.insist("b#0")
    made.run(made.now + 5)

    assert Life.READY is life(made, "b#0")


def test_a_start_by_an_operator_is_theirs_also_where_its_question_comes_later() -> None:
    made = loaded(1, process("a#0"))
    made.ask("a", 200.0)
    made.add(process("b#0"))
    made.post(Expected("b#0", "b"))
    made.post(StartWanted("b#0"))
    made.post(MemoryAsked("b#0", "b", ({"host": Bytes(1)},)))
    (waiter,) = made.scheduler.memory.waiters()

    assert (("a#0",), True) == (waiter.waits_for, waiter.is_wanted)


@pytest.mark.parametrize("command", ["load", "insist"])
def test_an_operator_is_answered_at_once_where_nothing_can_make_room(command: str) -> None:
    made = busy(pin=True)
    getattr(made, command)("b" if command == "load" else "b#0")
    made.run(made.now + 0.1)

    assert Life.COLD is life(made, "b#0")
    assert ["there is no room for it: a#0 (pinned) hold the memory"] == made.reasons
    assert 1 == made.scheduler.memory.evictions()[EvictionCause.NO_ROOM]


@pytest.mark.parametrize("command", ["load", "insist"])
def test_an_operator_waits_for_what_is_in_use_for_a_bounded_time(command: str) -> None:
    made = busy()
    asked_at = made.now
    getattr(made, command)("b" if command == "load" else "b#0")
    made.run(asked_at + WAIT - 1)
    assert Life.WAITING is life(made, "b#0")
    made.run(asked_at + WAIT + 1)

    assert Life.COLD is life(made, "b#0")
    assert ["there is no room for it: a#0 (in use) hold the memory"] == made.reasons


def test_what_was_to_make_room_for_an_operator_takes_work_again() -> None:
    made = busy()
    made.load("b")
    made.run(made.now + WAIT + 1)
    request = made.ask("a", 1.0)
    made.run(made.now + 200)

    assert placed_after(request) < 200
    assert [] == names(made)


def test_a_load_of_an_operator_that_requests_wait_for_too_goes_by_their_limits() -> None:
    made = busy()
    made.load("b")
    request = made.ask("b", 1.0, wait_seconds=150.0)
    made.run(made.now + WAIT + 1)
    assert Life.WAITING is life(made, "b#0")
    made.run(made.now + 120)

    assert "queue_timeout" == request.refused


def test_a_command_that_comes_after_requests_waited_for_long_has_its_own_time() -> None:
    made = busy()
    request = made.ask("b", 1.0)
    made.run(made.now + WAIT + 1)
    made.load("b")
    made.cancel(request)
    made.run(made.now + 1)

    assert Life.WAITING is life(made, "b#0")


def test_another_replica_is_loaded_where_an_operator_has_stopped_those_of_the_minimum() -> None:
    made = loaded(2, process("a#0"))
    made.add(process("a#1", policy=Resident(growth=True, demand=True)))
    made.stop("a#0")
    request = made.ask("a", 1.0)
    made.run(made.now + 10)

    assert 2.0 == pytest.approx(placed_after(request))
    assert ["a#1"] == names(made)


def test_another_replica_is_not_tried_where_those_of_the_minimum_have_failed() -> None:
    made = machine(2, process("a#0", fails=1), process("a#1", policy=Resident(growth=True, demand=True)))
    made.ask("a", 1.0)
    made.run(3)
    request = made.ask("a", 1.0)
    made.run(5)

    assert "model_unavailable" == request.refused
    assert ["a#0"] == names(made)


def test_an_adopted_replica_takes_the_loading_turn_of_its_device_until_it_has_answered() -> None:
    made = machine(2)
    made.adopt(process("a#0"), ready_after=5.0)
    made.add(process("b#0"))
    request = made.ask("b", 1.0)
    made.run(20)

    assert 5.0 + 2.0 == pytest.approx(placed_after(request))


def test_a_replica_of_the_daemon_before_takes_no_loading_turn() -> None:
    made = machine(2)
    made.adopt(process("a#0"), ready_after=50.0, is_anothers=True)
    made.add(process("b#0"))
    request = made.ask("b", 1.0)
    made.run(20)

    assert 2.0 == pytest.approx(placed_after(request))

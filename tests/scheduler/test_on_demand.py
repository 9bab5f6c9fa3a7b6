"""A request for a model that is not in memory: one load for all, given up, failed, or refused."""

import pytest

from relayd.scheduler import (
    Evict,
    EvictionCause,
    Expected,
    Finished,
    Gone,
    Grant,
    Load,
    LoadFailed,
    MemoryAsked,
    MemoryRoom,
    MemoryTakenBack,
    Refusal,
    Refuse,
    ResidenceSet,
    Resident,
    Scheduler,
    Unloaded,
)
from relayd.units import Bytes
from tests.ledger.machine import Life
from tests.scheduler.rooms import life, loaded, machine, names, placed_after, process
from tests.scheduler.script import arrived, play, refused

pytestmark = pytest.mark.pure

HUGE = {"host": Bytes(9)}
COLD = (ResidenceSet("m#0", "m", Resident(demand=True)), Unloaded("m#0", "m", "not loaded"))


def test_a_request_loads_its_model_and_runs_when_it_is_ready() -> None:
    made = machine(1, process("a#0"))
    request = made.ask("a", 1.0)
    made.run(10)

    assert placed_after(request) == pytest.approx(2.0)
    assert ["a#0"] == names(made)


def test_all_who_wait_share_one_load() -> None:
    assert [Load("m#0")] == play(Scheduler(depth=4), *COLD, *map(arrived, (1, 2, 3)))


def test_a_full_queue_refuses_while_the_model_loads() -> None:
    effects = play(Scheduler(depth=1), *COLD, arrived(1), arrived(2))

    assert [(2, Refusal.QUEUE_FULL)] == refused(effects)


def test_a_model_without_a_policy_is_refused_as_not_loaded() -> None:
    effects = play(Scheduler(depth=4), Unloaded("m#0", "m", "b holds the memory"), arrived(1))

    assert [(1, Refusal.NOT_LOADED)] == refused(effects)


def test_a_model_that_an_operator_stopped_is_not_loaded_by_a_request() -> None:
    effects = play(Scheduler(depth=4), *COLD, Gone("m#0", "m#0 is stopped"), arrived(1))

    assert [(1, Refusal.UNAVAILABLE)] == refused(effects)


def test_every_replica_of_a_model_is_loaded_but_those_beyond_its_minimum() -> None:
    made = machine(9, process("a#0"), process("a#1"), process("a#2", policy=Resident(growth=True)))
    made.ask("a", 1.0)
    made.run(10)

    assert ["a#0", "a#1"] == names(made)


def test_a_load_is_given_up_when_the_last_client_that_waits_has_left() -> None:
    made = machine(1, process("a#0"))
    first, second = made.ask("a", 1.0), made.ask("a", 1.0)
    made.run(1)
    made.cancel(first)

    assert Life.LOADING is life(made, "a#0")

    made.cancel(second)
    made.run(5)

    assert Life.COLD is life(made, "a#0")
    assert 1 == made.scheduler.memory.evictions()[EvictionCause.NOBODY_WAITS]


def test_a_client_that_comes_while_a_load_is_given_up_gets_a_new_one() -> None:
    made = machine(1, process("a#0"))
    first = made.ask("a", 1.0)
    made.run(1)
    made.cancel(first)
    second = made.ask("a", 1.0)
    made.run(10)

    assert ["a#0", "a#0"] == names(made)
    assert placed_after(second) == pytest.approx(2.1)


def test_a_load_goes_on_when_the_wait_limit_of_its_client_has_passed() -> None:
    made = machine(1, process("a#0"))
    request = made.ask("a", 1.0, wait_seconds=1.0)
    made.run(5)

    assert "queue_timeout" == request.refused
    assert Life.READY is life(made, "a#0")


def test_a_question_for_memory_is_given_up_when_the_wait_limit_has_passed() -> None:
    made = loaded(1, process("a#0"))
    made.add(process("b#0"))
    made.ask("a", 60.0)
    request = made.ask("b", 1.0, wait_seconds=5.0)
    made.run(made.now + 20)

    assert "queue_timeout" == request.refused
    assert Life.COLD is life(made, "b#0")
    assert [] == names(made)


def test_a_load_that_an_operator_wants_is_not_given_up() -> None:
    made = machine(1, process("a#0"))
    request = made.ask("a", 1.0)
    made.load("a")
    made.cancel(request)
    made.run(5)

    assert Life.READY is life(made, "a#0")


def test_a_load_that_fails_refuses_who_waits_at_once_with_its_reason() -> None:
    effects = play(
        Scheduler(depth=4), *COLD, arrived(1), arrived(2), LoadFailed("m#0", "bad magic", 7.0), now=3.0
    )
    refusals = [each for each in effects if isinstance(each, Refuse)]

    assert [(1, Refusal.UNAVAILABLE), (2, Refusal.UNAVAILABLE)] == refused(effects)
    assert {("bad magic", 7.0)} == {(each.reason, each.retry_after_seconds) for each in refusals}


def test_a_model_that_failed_is_not_loaded_again_for_each_request() -> None:
    scheduler = Scheduler(depth=4)
    play(scheduler, *COLD, arrived(1), LoadFailed("m#0", "bad magic", 7.0), Unloaded("m#0", "m", "cold"))

    early = play(scheduler, arrived(2), now=5.0)
    late = play(scheduler, arrived(3), now=7.0)

    assert [(2, Refusal.UNAVAILABLE)] == refused(early)
    assert [2.0] == [each.retry_after_seconds for each in early if isinstance(each, Refuse)]
    assert [Load("m#0")] == late


def test_the_wait_after_failures_in_a_row_doubles_and_ends_with_a_success() -> None:
    made, waits = machine(1, process("a#0", fails=3)), []
    for _ in range(3):
        made.ask("a", 0.1)
        made.run(made.now + 4)
        waits.append(made.scheduler._keeper.retry_seconds("a", made.now) + 2)
        made.run(made.now + 30)
    made.ask("a", 0.1)
    made.run(made.now + 4)

    assert [5.0, 10.0, 20.0] == pytest.approx(waits)
    assert 0 == made.scheduler._keeper.retry_seconds("a", made.now)


def test_an_unload_that_answers_a_load_is_a_failure_and_not_tried_again_at_once() -> None:
    scheduler = Scheduler(depth=4)
    effects = play(
        scheduler, *COLD, arrived(1), Expected("m#0", "m"), Unloaded("m#0", "m", "no engine"), arrived(2)
    )

    assert [Load("m#0")] == [each for each in effects if isinstance(each, Load)]
    assert [1, 2] == [ticket_id for ticket_id, _ in refused(effects)]


def test_a_model_for_which_there_never_is_room_is_refused_at_once() -> None:
    made = machine(3, process("huge#0", size=4))
    request = made.ask("huge", 1.0)

    assert "model_unavailable" == request.refused
    assert Life.COLD is life(made, "huge#0")
    (failed,) = made.scheduler.memory.last_loads()
    assert "huge#0 needs 4 B of host, models may take 3 B" == failed.failure
    assert {EvictionCause.TOO_LARGE: 1} == made.evictions


def test_who_asks_for_a_model_for_which_there_never_is_room_is_not_asked_back_soon() -> None:
    made = machine(3, process("huge#0", size=4))
    made.ask("huge", 1.0)

    effects = [made.scheduler.handle(arrived(9, "huge"), made.now + late) for late in (0.0, 2.5, 4.9)]

    assert [30.0] * 3 == [
        one.retry_after_seconds for some in effects for one in some if isinstance(one, Refuse)
    ]


def test_a_failure_of_one_replica_leaves_its_model_to_the_other() -> None:
    made = machine(2, process("a#0", fails=1), process("a#1"))
    request = made.ask("a", 1.0)
    made.run(10)

    assert placed_after(request) == pytest.approx(4.0)


def test_a_crash_while_requests_wait_loads_the_model_again() -> None:
    made = loaded(1, process("a#0"))
    running, waiting = made.ask("a", 5.0), made.ask("a", 1.0)
    made.run(made.now + 1)
    made.crash("a#0")
    made.run(made.now + 20)

    assert ["a#0"] == names(made)
    assert "" == running.refused
    assert "" == waiting.refused


def test_loads_wait_for_each_other_on_one_device() -> None:
    made = machine(9, process("a#0"), process("b#0"))
    first, second = made.ask("a", 1.0), made.ask("b", 1.0)
    made.run(10)

    assert [2.0, 4.0] == [placed_after(first), placed_after(second)]


def test_a_daemon_without_limits_grants_at_once() -> None:
    scheduler = Scheduler(depth=4)
    scheduler.handle(MemoryRoom({"host": Bytes(0)}), 0.0)
    without = Scheduler(depth=4)

    assert scheduler.memory.ledger()
    assert [] == without.memory.ledger()


def test_a_client_that_leaves_while_memory_of_before_is_freed_leaves_no_load_behind() -> None:
    made = loaded(1, process("a#0", freed_seconds=5.0))
    made.unload("a#0")
    made.run(made.now + 1)
    made.cancel(made.ask("a", 1.0))
    made.run(made.now + 20)
    later = made.ask("a", 1.0)
    made.run(made.now + 20)

    assert ["a#0"] == names(made)
    assert 2.0 == placed_after(later)


def test_a_load_waits_until_the_memory_of_before_is_free() -> None:
    made = loaded(1, process("a#0", freed_seconds=5.0))
    made.unload("a#0")
    made.run(made.now + 1)
    request = made.ask("a", 1.0)
    made.run(made.now + 20)

    assert 4.1 + 2 == placed_after(request)


def test_memory_that_was_granted_and_not_used_is_free_again() -> None:
    scheduler = Scheduler(depth=4)
    asked = MemoryAsked("m#0", "m", ({"host": Bytes(1)},))
    play(scheduler, MemoryRoom({"host": Bytes(1)}), *COLD, arrived(1), asked, MemoryTakenBack("m#0"))

    assert [1] == [row.free for row in scheduler.memory.ledger()]


def test_a_replica_that_asks_although_it_was_given_up_is_granted_again() -> None:
    scheduler = Scheduler(depth=4)
    asked = MemoryAsked("m#0", "m", ({"host": Bytes(1)},))
    effects = play(scheduler, MemoryRoom({"host": Bytes(1)}), *COLD, arrived(1), Finished(1), asked)

    assert [Load, Evict, Grant] == [type(effect) for effect in effects]


def test_a_model_that_was_too_large_is_loaded_once_there_is_more_room() -> None:
    made = machine(3, process("huge#0", size=4))
    early = made.ask("huge", 1.0)
    made.run(1)
    made.limit({"host": 4})
    late = made.ask("huge", 1.0)
    made.run(10)

    assert ("model_unavailable", 2.0) == (early.refused, placed_after(late))


@pytest.mark.parametrize(
    ("others", "busy", "reason"),
    [
        (0, False, "its load takes longer"),
        (0, True, "models that are in use, or being loaded, hold the memory"),
        (1, False, "other programs, or models that stay, hold the memory"),
    ],
)
def test_who_waited_in_vain_gets_to_know_for_what(others: int, busy: bool, reason: str) -> None:
    made = loaded(1, process("a#0"))
    made.add(process("b#0"))
    made.use_elsewhere({"host": others})
    if busy:
        made.ask("a", 60.0)
    request = made.ask("b", 1.0, wait_seconds=1.0)
    made.run(made.now + 2)

    assert "queue_timeout" == request.refused
    assert f"'b' was not loaded in time: {reason}" == request.reason


def test_a_reload_that_leaves_no_limits_lets_everything_start() -> None:
    made = machine(3, process("huge#0", size=4))
    made.scheduler.handle(MemoryRoom({}), 0.0)
    huge = ResidenceSet("m#0", "m", Resident()), Expected("m#0", "m"), MemoryAsked("m#0", "m", (HUGE,))

    assert [Grant("m#0", 0)] == play(made.scheduler, *huge)

"""What status shows of memory: who is in it, who waits for whom, and what came and went."""

import math

import pytest

from relayd.scheduler import EvictionCause, Expected, MemoryAsked, Resident
from relayd.units import Bytes
from tests.ledger.machine import Machine, Request
from tests.scheduler.rooms import POLICY, loaded, machine, process

pytestmark = pytest.mark.pure


def test_the_ledger_shows_each_account() -> None:
    made = loaded(3, process("a#0", size=2))
    (row,) = made.scheduler.memory.ledger()

    assert ("host", 3, 2, 1) == (row.account, row.capacity, row.held, row.free)


def test_who_waits_for_memory_is_shown_with_who_leaves_for_it() -> None:
    made = loaded(1, process("a#0"))
    made.add(process("b#0"))
    made.ask("a", 60.0)
    made.ask("b", 1.0)
    view = made.scheduler.memory
    (waiter,) = view.waiters()
    (resident,) = view.residents()

    assert ("b#0", "b", ("a#0",), {"host": 1}) == (
        waiter.replica, waiter.model, waiter.waits_for, waiter.needs,
    )  # fmt: skip
    assert ("a#0", EvictionCause.MEMORY, "b#0") == (resident.replica, resident.leaving, resident.leaves_for)


def test_others_make_room_only_for_what_something_asks_for() -> None:
    made = machine(1, process("b#0"))
    made.use_elsewhere({"host": 1})
    made.post(Expected("b#0", "b"))
    made.post(MemoryAsked("b#0", "b", ({"host": Bytes(1)},)))
    (started,) = made.scheduler.memory.waiters()
    made.ask("b", 1.0)
    (asked,) = made.scheduler.memory.waiters()

    assert (False, True) == (started.is_wanted, asked.is_wanted)


def test_a_load_is_shown_while_it_lasts_and_with_its_seconds_afterwards() -> None:
    made = machine(1, process("a#0"), process("b#0", fails=1))
    made.ask("a", 1.0)
    made.run(1)

    assert [0.0] == [one.loading_since for one in made.scheduler.memory.residents()]

    made.ask("b", 1.0)
    made.run(30)
    failed, done = made.scheduler.memory.last_loads()

    assert ("a#0", 0.0, 2.0, "") == (done.replica, done.waited_seconds, done.load_seconds, done.failure)
    assert ("b#0", "bad file") == (failed.replica, failed.failure)
    assert 2.1 == pytest.approx(failed.waited_seconds)
    assert {"a": 2.0} == made.scheduler.memory.load_seconds


def test_a_ticket_that_waits_sees_its_place_and_when_it_runs() -> None:
    made = loaded(1, process("a#0"))
    made.add(process("b#0"))
    made.ask("b", 1.0)
    made.run(made.now + 10)
    made.ask("a", 1.0)
    made.run(made.now + 1.1)
    second = made.ask("a", 1.0)
    progress = made.scheduler.memory.progress(second.id, "a", made.now)

    assert progress is not None
    assert (2, False, True) == (progress.position, progress.is_loaded, progress.is_loading)
    assert 1.0 == pytest.approx(progress.seconds)
    assert made.scheduler.memory.progress(second.id + 1, "a", made.now) is None


def test_a_ticket_whose_model_is_loaded_waits_only_for_its_queue() -> None:
    made = loaded(1, process("a#0"))
    made.ask("a", 60.0)
    second = made.ask("a", 1.0)
    progress = made.scheduler.memory.progress(second.id, "a", made.now)

    assert progress is not None
    assert (1, True, 0.0) == (progress.position, progress.is_loaded, progress.seconds)
    assert math.isnan(second.placed)


def seconds_until(made: Machine, request: Request, model: str) -> float:
    progress = made.scheduler.memory.progress(request.id, model, made.now)
    assert progress is not None
    return progress.seconds


def test_the_seconds_that_a_ticket_waits_count_the_wait_for_memory() -> None:
    made = loaded(1, process("a#0"))
    made.add(process("b#0"))
    for _ in range(30):
        made.ask("a", 1.0)
    request = made.ask("b", 1.0)
    made.run(made.now + 1)

    assert POLICY.swap_turn_seconds - 1 + 10 == pytest.approx(seconds_until(made, request, "b"), abs=0.2)


def test_the_seconds_that_a_ticket_waits_count_the_loads_before_it() -> None:
    made = machine(9, *(process(name, policy=Resident(reload_seconds=2.0)) for name in ("a#0", "b#0", "c#0")))
    made.ask("a", 1.0)
    made.ask("b", 1.0)
    request = made.ask("c", 1.0)
    made.run(1)

    assert 1.0 + 2.0 + 2.0 == pytest.approx(seconds_until(made, request, "c"))
    made.run(4.5)
    assert 1.5 == pytest.approx(seconds_until(made, request, "c"))

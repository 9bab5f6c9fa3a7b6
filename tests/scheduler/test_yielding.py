"""Do lines of batches run only where no request wants a slot, and give way when one does?"""

import pytest

from relayd.scheduler import (
    BACKGROUND,
    NORMAL,
    Abandoned,
    Arrived,
    Ask,
    Dispatch,
    Draining,
    Effect,
    Finished,
    GivenBack,
    Idle,
    KeptSlots,
    Preempt,
    Ready,
    Scheduler,
    Tick,
    Ticket,
)
from relayd.scheduler.prefixes import COVERED_BITS
from tests.scheduler.script import endpoint

pytestmark = pytest.mark.pure


def scheduler(replicas: int = 1, slots: int = 2) -> Scheduler:
    made = Scheduler(depth=100)
    for number in range(replicas):
        made.handle(Ready(f"m#{number}", "m", slots, endpoint(f"m#{number}")), 0.0)
    return made


def arrive(here: Scheduler, ticket: int, klass: str, now: float = 0.0, width: int = 1) -> list[Effect]:
    return here.handle(Arrived(Ticket(ticket, Ask("m", width=width, klass=klass))), now)


def asked(effects: list[Effect]) -> list[int]:
    return [one.ticket_id for one in effects if isinstance(one, Preempt)]


def begun(effects: list[Effect]) -> list[int]:
    return [one.ticket_id for one in effects if isinstance(one, Dispatch)]


def test_lines_fill_what_is_free_and_wait_for_the_rest() -> None:
    here = scheduler()

    assert [[1], [2], []] == [begun(arrive(here, number, BACKGROUND)) for number in (1, 2, 3)]
    assert [3] == begun(here.handle(Finished(1), 1.0))


def test_a_request_has_one_line_give_way_and_runs_as_soon_as_it_has() -> None:
    here = scheduler()
    for number in (1, 2, 3):
        arrive(here, number, BACKGROUND, float(number))

    effects = arrive(here, 4, NORMAL, 9.0)
    assert [2] == asked(effects)
    assert [4] == begun(here.handle(GivenBack(2), 9.1))


def test_a_line_that_gave_way_goes_on_before_younger_ones() -> None:
    here = scheduler(slots=1)
    arrive(here, 1, BACKGROUND)
    arrive(here, 2, BACKGROUND)
    arrive(here, 3, NORMAL, 5.0)
    here.handle(GivenBack(1), 5.1)

    assert [1] == begun(here.handle(Finished(3), 6.0))


def test_each_request_has_one_line_give_way_and_no_more() -> None:
    here = scheduler(slots=4)
    for number in range(1, 5):
        arrive(here, number, BACKGROUND)

    assert 1 == len(asked(arrive(here, 5, NORMAL, 5.0)))
    assert 1 == len(asked(arrive(here, 6, NORMAL, 5.0)))
    assert [] == asked(here.handle(Tick(), 5.1))


def test_slots_that_the_engine_still_frees_count_as_coming() -> None:
    here = scheduler(slots=2)
    arrive(here, 1, BACKGROUND)
    arrive(here, 2, BACKGROUND)
    (line,) = asked(arrive(here, 3, NORMAL, 5.0))
    here.handle(Abandoned(line, 99), 5.0)

    assert [] == asked(here.handle(GivenBack(line), 5.0))
    assert [3] == begun(here.handle(Finished(99), 5.2))


def test_a_wide_request_has_as_many_lines_give_way_as_it_is_wide() -> None:
    here = scheduler(slots=4)
    for number in range(1, 5):
        arrive(here, number, BACKGROUND)

    assert 3 == len(asked(arrive(here, 5, NORMAL, 5.0, width=3)))


def test_a_line_that_keeps_its_slots_has_another_one_asked() -> None:
    here = scheduler()
    arrive(here, 1, BACKGROUND)
    arrive(here, 2, BACKGROUND)
    (first,) = asked(arrive(here, 3, NORMAL, 5.0))

    (second,) = asked(here.handle(KeptSlots(first), 5.0))

    assert {1, 2} == {first, second}
    assert [] == asked(here.handle(KeptSlots(second), 5.0))
    assert here.tick_due <= 5.1
    assert 1 == len(asked(here.handle(Tick(), 5.2)))


def test_a_line_that_gave_way_before_is_asked_last() -> None:
    here = scheduler()
    arrive(here, 1, BACKGROUND)
    arrive(here, 2, BACKGROUND)
    (first,) = asked(arrive(here, 3, NORMAL, 5.0))
    here.handle(GivenBack(first), 5.0)
    here.handle(Finished(3), 6.0)

    assert [({1, 2} - {first}).pop()] == asked(arrive(here, 4, NORMAL, 20.0))


def test_a_line_that_reads_its_prompt_is_asked_after_those_that_write() -> None:
    here = scheduler()
    arrive(here, 1, BACKGROUND, 0.0)
    arrive(here, 2, BACKGROUND, 9.9)

    assert [1] == asked(arrive(here, 3, NORMAL, 10.0))


def test_no_line_goes_before_a_request_however_often_it_was_passed() -> None:
    here = scheduler(slots=1)
    arrive(here, 1, NORMAL)
    arrive(here, 2, BACKGROUND)
    for number in range(3, 60):
        arrive(here, number, NORMAL)

    order = [here.handle(Finished(number), float(number)) for number in (1, *range(3, 59))]

    assert [[number] for number in range(3, 60)] == [begun(effects) for effects in order]
    assert [2] == begun(here.handle(Finished(59), 60.0))


def test_lines_of_a_replica_that_drains_give_way() -> None:
    here = scheduler()
    arrive(here, 1, BACKGROUND)
    arrive(here, 2, NORMAL, 10.0)

    assert [1] == asked(here.handle(Draining("m#0"), 11.0))
    here.handle(GivenBack(1), 11.0)
    assert Idle("m#0") in here.handle(Finished(2), 12.0)


def test_a_line_that_reads_its_prompt_lets_a_request_beside_it_read_first() -> None:
    here = scheduler()
    arrive(here, 1, BACKGROUND, 9.0)

    effects = arrive(here, 2, NORMAL, 10.0)

    assert [Dispatch(2, endpoint("m#0")), Preempt(1, while_reading=True)] == effects
    assert [1] == begun(here.handle(GivenBack(1), 10.0))


def test_requests_alone_never_ask_for_anything() -> None:
    here = scheduler(slots=1)

    assert [] == asked([one for number in range(1, 9) for one in arrive(here, number, NORMAL)])


def test_the_line_that_gives_way_is_on_the_replica_that_has_read_the_prompt() -> None:
    here = scheduler(replicas=2, slots=1)
    here.configure(depth=100, attempts=3, avoid_seconds=1, strategies={"m": "prefix_affinity"})
    prefix = (1 << COVERED_BITS | 4000,)

    def converse(ticket: int, now: float) -> list[Effect]:
        return here.handle(Arrived(Ticket(ticket, Ask("m", prefix=prefix))), now)

    (first,) = converse(1, 0.0)
    assert isinstance(first, Dispatch)
    here.handle(Finished(1), 1.0)
    lines = {one.endpoint.replica: one.ticket_id for number in (2, 3) for one in started(here, number, 2.0)}

    assert [lines[first.endpoint.replica]] == asked(converse(4, 20.0))


def started(here: Scheduler, ticket: int, now: float) -> list[Dispatch]:
    return [one for one in arrive(here, ticket, BACKGROUND, now) if isinstance(one, Dispatch)]


def test_few_lines_that_gave_way_go_on_while_requests_come() -> None:
    here = scheduler(slots=4)
    for number in range(1, 9):
        arrive(here, number, BACKGROUND, 0.0)
    gave: list[int] = []
    for number in (20, 21):
        gave += asked(arrive(here, number, NORMAL, 10.0))
        here.handle(GivenBack(gave[-1]), 10.1)

    first, second = (begun(here.handle(Finished(number), 11.0)) for number in (20, 21))

    assert [[gave[0]], [5]] == [first, second]
    here.handle(Tick(), 42.0)
    assert [gave[1]] == begun(here.handle(Finished(5), 43.0))


def test_a_line_that_gave_way_while_it_was_read_goes_on_like_any_other() -> None:
    here = scheduler()
    arrive(here, 1, BACKGROUND, 9.0)
    arrive(here, 2, NORMAL, 10.0)
    here.handle(GivenBack(1), 10.0)

    assert [1] == asked(arrive(here, 3, NORMAL, 11.0))

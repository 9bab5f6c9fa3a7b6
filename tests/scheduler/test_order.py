"""Who of those that wait for a model runs next: classes, fair shares, holds, wide tickets."""

from collections import Counter

import pytest

from relayd.scheduler import Arrived, Ask, Ended, Event, Exchange, Finished, Refusal, Scheduler, Ticket, Usage
from relayd.scheduler.order import MOST_PASSED
from tests.scheduler.script import placed, play, ready, refused

pytestmark = pytest.mark.pure

USAGE = Usage(1000, 0, 100, 500.0, 500.0)


def asks(ticket_id: int, flow: str = "", klass: str = "normal", width: int = 1, size: int = 4000) -> Arrived:
    return Arrived(Ticket(ticket_id, Ask("m", width, klass=klass, flow=flow, body_bytes=size)))


def whole(ticket_id: int, usage: Usage = USAGE) -> Event:
    return Finished(ticket_id, Exchange(ask=Ask("m"), ended=Ended.DONE, usage=usage))


def busy(*waiting: Event, slots: int = 1, depth: int = 1000) -> Scheduler:
    """Return a scheduler with one replica, whose slots are taken by tickets from 1,000,000 on."""
    scheduler = Scheduler(depth=depth)
    play(scheduler, ready("m#0", slots=slots), *(asks(1_000_000 + number) for number in range(slots)))
    play(scheduler, *waiting)
    return scheduler


def order(scheduler: Scheduler, first: int = 1_000_000, count: int = 10_000) -> list[int]:
    """Return the tickets that start, each when the one before is over."""
    started: list[int] = []
    while len(started) < count and (found := placed(play(scheduler, whole(first)))):
        first = found[0][0]
        started.append(first)
    return started


def test_classes_run_before_each_other_and_each_in_the_order_of_its_arrival() -> None:
    scheduler = busy(
        asks(1, klass="batch"), asks(2), asks(3, klass="interactive"), asks(4), asks(5, klass="interactive")
    )

    assert [3, 5, 2, 4, 1] == order(scheduler)


def test_a_class_is_passed_a_bounded_number_of_times() -> None:
    crowd = [asks(10 + number, klass="interactive") for number in range(100)]
    started = order(busy(asks(1, klass="batch"), asks(2), *crowd))

    assert MOST_PASSED == started.index(2)
    assert MOST_PASSED + 1 == started.index(1)


def test_two_flows_share_slots_equally_though_one_floods() -> None:
    flood = [asks(number, "flood") for number in range(1, 101)]
    polite = [asks(number, "polite") for number in range(101, 121)]

    shares = Counter("flood" if number <= 100 else "polite" for number in order(busy(*flood, *polite))[:40])

    assert 1 >= abs(shares["flood"] - shares["polite"])


def test_a_flow_with_long_prompts_gets_as_many_tokens_and_not_as_many_requests() -> None:
    long = [asks(number, "long", size=4 * 9000) for number in range(1, 51)]
    short = [asks(number, "short", size=4 * 1000) for number in range(101, 301)]
    scheduler = Scheduler(depth=1000)
    play(scheduler, ready("m#0"), asks(1_000_000), *long, *short)
    tokens, running = Counter[str](), 1_000_000
    for _ in range(60):
        running = placed(play(scheduler, whole(running, Usage(1000, 0, 10)) if running > 100 else
                              whole(running, Usage(9000, 0, 10))))[0][0]  # fmt: skip
        tokens["long" if running <= 100 else "short"] += 9040 if running <= 100 else 1040

    assert 9040 >= abs(tokens["long"] - tokens["short"])


def test_what_a_cache_held_is_not_charged() -> None:
    cached, read = Usage(5000, 4900, 10), Usage(5000, 0, 10)
    waiting = [asks(number, "warm" if number % 2 else "cold", size=20_000) for number in range(1, 201)]
    scheduler, running, started = busy(*waiting), 1_000_000, Counter[str]()
    for _ in range(90):
        running = placed(play(scheduler, whole(running, cached if running % 2 else read)))[0][0]
        started["warm" if running % 2 else "cold"] += 1

    assert started["warm"] > 3 * started["cold"]


def test_a_flow_that_comes_anew_neither_pays_for_the_past_nor_waits_for_it() -> None:
    scheduler = busy(*(asks(number, "old") for number in range(1, 101)))
    running = order(scheduler, count=50)[-1]
    play(scheduler, *(asks(number, "new") for number in range(201, 221)))

    started = order(scheduler, running, count=20)

    assert 1 >= abs(10 - sum(number > 200 for number in started))


def test_a_flow_whose_turn_came_is_not_starved_by_ever_new_flows() -> None:
    scheduler = busy(*(asks(number, "old") for number in range(1, 6)))
    running, started = 1_000_000, list[int]()
    for number in range(100, 200):
        play(scheduler, asks(number, f"new {number}"))
        running = placed(play(scheduler, whole(running)))[0][0]
        started.append(running)

    assert {1, 2, 3, 4, 5} <= set(started)


@pytest.mark.parametrize("width", [2, 3, 4])
def test_a_wide_ticket_is_not_passed_by_narrow_ones_of_other_flows(width: int) -> None:
    scheduler = busy(asks(1, "wide", width=width), *(asks(number, "n") for number in range(2, 9)), slots=4)

    effects = play(scheduler, *(whole(1_000_000 + number) for number in range(4)))

    assert 1 == placed(effects)[0][0]


def test_a_full_queue_refuses_the_newest_of_whom_most_wait() -> None:
    scheduler = busy(*(asks(number, "flood") for number in range(1, 5)), asks(5, "polite"), depth=5)

    assert [(4, Refusal.QUEUE_FULL)] == refused(play(scheduler, asks(6, "polite")))
    assert [(7, Refusal.QUEUE_FULL)] == refused(play(scheduler, asks(7, "flood")))


def test_a_full_queue_refuses_the_worst_class_first() -> None:
    scheduler = busy(*(asks(number, "a", "batch") for number in (1, 2)), asks(3, "b"), depth=3)

    assert [(2, Refusal.QUEUE_FULL)] == refused(play(scheduler, asks(4, "b", "interactive")))
    assert [(5, Refusal.QUEUE_FULL)] == refused(play(scheduler, asks(5, "c", "batch")))


def test_a_flow_may_have_a_limit_of_its_own() -> None:
    scheduler = Scheduler(depth=9)
    scheduler.configure(depth=9, attempts=3, avoid_seconds=1, flow_depth=1)
    play(scheduler, ready("m#0"), asks(1, "a"), asks(2, "a"))

    assert [(3, Refusal.QUEUE_FULL)] == refused(play(scheduler, asks(3, "a")))
    assert [] == refused(play(scheduler, asks(4, "b")))


def test_flows_that_have_left_are_forgotten() -> None:
    scheduler = busy()
    running = 1_000_000
    for number in range(1, 5000):
        play(scheduler, asks(number, f"flow {number}"))
        running = placed(play(scheduler, whole(running)))[0][0]

    lines = scheduler._queues["m"]._lines
    assert 1100 > max(len(line._flows) for line in lines)

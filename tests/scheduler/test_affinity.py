"""Which replica gets a prompt that some have read before."""

import sys
from types import FrameType

import pytest

from relayd.scheduler import (
    Arrived,
    Ask,
    Ended,
    Event,
    Exchange,
    Finished,
    Lost,
    Ready,
    Scheduler,
    SlotsKept,
    SlotsRestored,
    Tick,
    Ticket,
    Usage,
)
from relayd.scheduler.affinity import PrefixAffinity
from relayd.scheduler.capacity import Capacity
from relayd.scheduler.prefixes import COVERED, COVERED_BITS, PrefixIndex, covered
from tests.scheduler.rooms import loaded, process
from tests.scheduler.script import endpoint, placed, play, ready

pytestmark = pytest.mark.pure

RATE, TOKEN_MS, BYTES_A_TOKEN = 1000.0, 10.0, 4


def chain(*blocks: int, size: int = 4000) -> tuple[int, ...]:
    """Return a chain of blocks of so many bytes."""
    return tuple(
        (hash(blocks[: end + 1]) & (1 << 39) - 1) << COVERED_BITS | size * (end + 1)
        for end in range(len(blocks))
    )


def asks(ticket_id: int, *blocks: int, session: str = "") -> Arrived:
    prefix = chain(*blocks)
    return Arrived(Ticket(ticket_id, Ask("m", prefix=prefix, session=session, body_bytes=covered(prefix))))


def whole(ticket_id: int, *blocks: int, cached: int = 0, written: int = 100) -> Event:
    read = covered(chain(*blocks)) // BYTES_A_TOKEN
    usage = Usage(read, cached, written, (read - cached) / RATE * 1000, written * TOKEN_MS)
    return Finished(ticket_id, Exchange(ask=Ask("m"), ended=Ended.DONE, usage=usage))


def fleet(replicas: int = 2, slots: int = 1, hold: float = 20.0) -> Scheduler:
    """Return a scheduler whose replicas read 1,000 tokens a second, as it has learned."""
    scheduler = Scheduler(depth=100)
    scheduler.configure(
        depth=100, attempts=3, avoid_seconds=1, strategies={"m": "prefix_affinity"}, max_hold_seconds=hold
    )
    play(scheduler, *(ready(f"m#{number}", slots=slots) for number in range(replicas)))
    for number in range(replicas):
        play(scheduler, asks(9000 + number, 900 + number), now=0.0)
    for number in range(replicas):
        play(scheduler, whole(9000 + number, 900 + number), now=2.0)
    return scheduler


def test_the_next_turn_of_a_conversation_goes_where_the_last_one_was_read() -> None:
    scheduler = fleet(3)
    play(scheduler, asks(1, 1, 2, 3), now=10.0)
    where = next(one for one in range(3) if scheduler.running_on(f"m#{one}"))
    play(scheduler, whole(1, 1, 2, 3), now=14.0)

    assert [(2, f"m#{where}")] == placed(play(scheduler, asks(2, 1, 2, 3, 4), now=20.0))


def test_a_request_is_held_for_the_busy_replica_that_has_read_it_and_others_pass() -> None:
    scheduler = fleet(2)
    warm = placed(play(scheduler, asks(1, 1, 2, 3, 4, 5, 6), now=10.0))[0][1]
    play(scheduler, whole(1, 1, 2, 3, 4, 5, 6), now=17.0)
    other = {"m#0": "m#1", "m#1": "m#0"}[warm]
    assert [(2, warm)] == placed(play(scheduler, asks(2, 1, 2, 3, 4, 5, 6, 7), now=20.0))

    assert [] == placed(play(scheduler, asks(3, 1, 2, 3, 4, 5, 6, 8), now=20.1))
    assert [(4, other)] == placed(play(scheduler, asks(4, 50), now=20.2))
    assert [(3, warm)] == placed(play(scheduler, whole(2, 1, 2, 3, 4, 5, 6, 7, cached=6000), now=22.0))


def test_a_hold_ends_in_time_and_the_request_then_stands_first() -> None:
    scheduler = fleet(2, hold=3.0)
    warm = placed(play(scheduler, asks(1, 1, 2, 3, 4, 5, 6), now=10.0))[0][1]
    play(scheduler, whole(1, 1, 2, 3, 4, 5, 6), now=17.0)
    other = {"m#0": "m#1", "m#1": "m#0"}[warm]
    play(scheduler, asks(2, 1, 2, 3, 4, 5, 6, 7), now=20.0)
    play(scheduler, asks(3, 1, 2, 3, 4, 5, 6, 8), now=20.1)

    assert scheduler.tick_due <= 23.1
    moments, effects = [20.1], list[tuple[int, str]]()
    while not effects and len(moments) < 50:
        moments.append(scheduler.tick_due)
        effects = placed(play(scheduler, Tick(), now=moments[-1]))
    assert [(3, other)] == effects
    assert moments[-1] <= 23.1


def test_a_request_is_not_held_for_what_is_quickly_read() -> None:
    scheduler = fleet(2)
    warm = placed(play(scheduler, asks(1, 1), now=10.0))[0][1]
    play(scheduler, whole(1, 1), now=13.0)
    assert [(2, warm)] == placed(play(scheduler, asks(2, 1, 2), now=20.0))

    assert 1 == len(placed(play(scheduler, asks(3, 1), now=20.0)))


def test_one_that_was_held_for_a_replica_that_is_lost_runs_elsewhere_at_once() -> None:
    scheduler = fleet(2)
    warm = placed(play(scheduler, asks(1, 1, 2, 3, 4, 5, 6), now=10.0))[0][1]
    play(scheduler, whole(1, 1, 2, 3, 4, 5, 6), now=17.0)
    play(scheduler, asks(2, 1, 2, 3, 4, 5, 6, 7), now=20.0)
    play(scheduler, asks(3, 1, 2, 3, 4, 5, 6, 8), now=20.1)

    assert [3] == [ticket for ticket, _ in placed(play(scheduler, Lost(warm), now=20.2))]


def test_a_new_incarnation_is_cold() -> None:
    scheduler = fleet(2)
    warm = placed(play(scheduler, asks(1, 1, 2, 3, 4), now=10.0))[0][1]
    play(scheduler, whole(1, 1, 2, 3, 4), now=15.0)
    play(scheduler, Lost(warm), Ready(warm, "m", 1, endpoint(warm, 2)), now=16.0)

    strategy = scheduler._strategies.of("m")
    assert isinstance(strategy, PrefixAffinity)
    assert {} == strategy._index.find(chain(1, 2, 3, 4))


def test_an_incarnation_that_has_read_its_slots_back_is_warm() -> None:
    scheduler = fleet(2)
    play(scheduler, asks(1, 1, 2, 3), now=10.0)
    where = next(one for one in range(2) if scheduler.running_on(f"m#{one}"))
    play(scheduler, whole(1, 1, 2, 3), now=14.0)
    play(scheduler, SlotsKept(f"m#{where}"), Lost(f"m#{where}"), now=15.0)
    play(scheduler, SlotsRestored(f"m#{where}"), ready(f"m#{where}", incarnation=2), now=16.0)
    play(scheduler, asks(2, 7), now=17.0)
    play(scheduler, whole(2, 7), now=18.0)

    assert [(3, f"m#{where}")] == placed(play(scheduler, asks(3, 1, 2, 3, 4), now=20.0))


def test_one_that_crashed_is_warm_with_what_was_kept_before_and_no_more() -> None:
    index, dead, back = PrefixIndex(), capacity_of("m#0"), capacity_of("m#0")
    index.learn(dead, chain(1, 2), 2000)
    index.save(dead)
    index.learn(dead, chain(5, 6), 2000)
    index.keep(set())
    index.restore(back)

    assert [8000, 0] == [index.depth(back, one) for one in (chain(1, 2), chain(5, 6))]


def test_what_a_replica_did_not_have_is_corrected() -> None:
    index, capacity = PrefixIndex(), capacity_of("m#0")
    index.learn(capacity, chain(1, 2, 3), 3000)
    index.learn(capacity, chain(1, 2, 4), 3000)

    index.correct(capacity, chain(1, 2, 4), 4000)

    assert {capacity: 12_000} == index.find(chain(1, 2, 4))
    assert {capacity: 8000} == index.find(chain(1, 2, 3))


def capacity_of(name: str, slots: int = 2, kept: float | None = None) -> Capacity:
    return Capacity(endpoint(name), slots, kept)


def test_a_replica_is_taken_to_hold_what_its_slots_and_its_memory_hold() -> None:
    index, capacity = PrefixIndex(), capacity_of("m#0", slots=2, kept=5000)
    for number in range(1, 7):
        index.learn(capacity, chain(number, size=12_000), 3000)

    held = [number for number in range(1, 7) if index.find(chain(number, size=12_000))]

    assert [4, 5, 6] == held


def test_a_memory_that_is_smaller_than_planned_is_found_by_what_it_misses() -> None:
    index, capacity = PrefixIndex(), capacity_of("m#0", slots=1, kept=1_000_000)
    for round_ in range(12):
        for number in range(1, 7):
            index.learn(capacity, chain(number, size=12_000), 3000)
            index.judge(capacity, missed=round_ > 0)

    assert 2 >= sum(bool(index.find(chain(number, size=12_000))) for number in range(1, 7))


def test_lines_of_a_batch_push_no_conversation_out() -> None:
    index, capacity = PrefixIndex(), capacity_of("m#0", slots=2, kept=10_000)
    index.learn(capacity, chain(1, 2, 3), 3000)
    for number in range(100, 200):
        index.learn(capacity, chain(7, number), 2000)
        index.spend(capacity, chain(7, number))

    assert {capacity: 12_000} == index.find(chain(1, 2, 3, 4))
    assert {capacity: 4000} == index.find(chain(7, 300))


def test_a_beginning_that_a_replica_did_not_have_is_no_reason_to_forget_conversations() -> None:
    scheduler = fleet(1, slots=2)
    play(scheduler, asks(1, 1, 2, 3), now=10.0)
    play(scheduler, whole(1, 1, 2, 3), now=14.0)
    play(scheduler, asks(2, 1, 5), now=20.0)
    play(scheduler, whole(2, 1, 5), now=24.0)

    strategy = scheduler._strategies.of("m")
    assert isinstance(strategy, PrefixAffinity)
    assert [12_000] == [*strategy._index.find(chain(1, 2, 3)).values()]


def test_the_index_has_a_cap() -> None:
    index, capacity = PrefixIndex(), capacity_of("m#0", kept=1e12)
    for number in range(200):
        index.learn(capacity, chain(*range(number * 1000, number * 1000 + 500), size=512), 1000)

    assert 34_000 > len(index)


def test_a_prompt_that_goes_on_replaces_what_it_continues() -> None:
    index, capacity = PrefixIndex(), capacity_of("m#0", slots=1, kept=0)
    for turns in range(1, 9):
        index.learn(capacity, chain(*range(turns)), 1000 * turns)

    assert {capacity: 32_000} == index.find(chain(*range(8)))
    assert 8 == len(index)


def test_nothing_is_left_of_replicas_that_are_no_more() -> None:
    index, one, other = PrefixIndex(), capacity_of("m#0"), capacity_of("m#1")
    for capacity in (one, other):
        index.learn(capacity, chain(1, 2, 3), 3000)
    index.keep({other})
    assert {other: 12_000} == index.find(chain(1, 2, 3))
    index.keep(set())

    assert 0 == len(index)
    assert {} == index.find(chain(1, 2, 3))


def test_a_session_is_a_hint_where_nothing_else_decides() -> None:
    scheduler = fleet(4)
    where = placed(play(scheduler, asks(1, 1, session="s"), now=10.0))[0][1]
    play(scheduler, whole(1, 1), now=12.0)
    for number in range(4):  # the hinted one was used last
        play(scheduler, asks(100 + number, 500 + number), now=20.0)
    for number in range(4):
        play(scheduler, whole(100 + number, 500 + number), now=30.0)

    assert [(2, where)] == placed(play(scheduler, asks(2, 77, session="s"), now=40.0))


def test_requests_without_fingerprints_go_to_the_least_busy_replica() -> None:
    scheduler = fleet(2, slots=2)
    effects = play(scheduler, *(Arrived(Ticket(number, Ask("m"))) for number in (1, 2, 3, 4)), now=10.0)

    assert ["m#0", "m#1", "m#0", "m#1"] == [replica for _, replica in placed(effects)]


def test_the_length_of_a_chain_is_in_its_last_fingerprint() -> None:
    assert 12_000 == covered(chain(1, 2, 3))
    assert 0 == covered(())
    assert COVERED == (1 << COVERED_BITS) - 1


def test_what_a_replica_has_read_is_worth_the_time_to_read_it_again() -> None:
    scheduler = fleet(slots=2)
    play(scheduler, asks(50, 7, 8, 9))
    (place,) = scheduler._running
    play(scheduler, whole(50, 7, 8, 9))
    warm, cold = (
        scheduler._strategies.warm_seconds("m", one)
        for one in sorted(scheduler._replicas.capacities("m"), key=lambda one: one is not place.capacity)
    )

    read = covered(chain(7, 8, 9)) / BYTES_A_TOKEN + 100
    assert warm > 0.8 * read / RATE
    assert cold < warm


def test_the_models_that_a_replica_of_has_read_most_are_evicted_last() -> None:
    made = loaded(2, process("warm#0"), process("cold#0"))
    made.scheduler.configure(
        depth=9, attempts=3, avoid_seconds=1.0, strategies=dict.fromkeys(("warm", "cold"), "prefix_affinity")
    )
    for number, model in enumerate(("warm", "cold")):
        size = (20_000, 200)[number]
        prefix = chain(number, size=4 * size)
        ask = Ask(model, prefix=prefix, body_bytes=covered(prefix))
        usage = Usage(size, 0, 40, size / RATE * 1000, 400.0)
        events = Arrived(Ticket(900 + number, ask)), Finished(900 + number, Exchange(ask=ask, usage=usage))
        play(made.scheduler, *events, now=made.now)

    tenants = {one.replica: one for one in made.scheduler._keeper.swapper._candidates(made.now + 1)}

    assert tenants["warm#0"].warm_seconds > tenants["cold#0"].warm_seconds > 0


def with_held(count: int) -> Scheduler:
    """Return a scheduler of two replicas, and tickets held for the one that has read their prompt."""
    scheduler, read = fleet(2), tuple(range(1, 41))
    play(scheduler, asks(1, *read), now=10.0)
    play(scheduler, whole(1, *read), now=50.0)
    play(scheduler, asks(2, *read, 77), now=60.0)
    for number in range(count):
        assert [] == placed(play(scheduler, asks(100 + number, *read, 88), now=60.1))
    return scheduler


def decisions(scheduler: Scheduler, event: Event, now: float) -> int:
    """Return for how many tickets replicas are compared because of an event."""
    found = 0

    def note(frame: FrameType, kind: str, _: object) -> None:
        nonlocal found
        found += kind == "call" and frame.f_code is PrefixAffinity.choose.__code__

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        scheduler.handle(event, now)
    finally:
        sys.setprofile(before)
    return found


def test_an_arrival_decides_no_held_ticket_again() -> None:
    assert 1 == decisions(with_held(5), asks(500, 50), 60.2)


def test_an_end_elsewhere_decides_no_held_ticket_again_that_it_cannot_suit() -> None:
    scheduler = with_held(5)
    play(scheduler, asks(500, 50), now=60.2)

    assert 0 == decisions(scheduler, whole(500, 50), 60.4)


def test_a_held_ticket_runs_where_another_replica_that_has_read_it_is_free_first() -> None:
    scheduler = fleet(3)
    for ticket in (1, 2):
        play(scheduler, asks(ticket, 1, 2, 3, 4, 5, 6), now=10.0)
    for ticket in (1, 2):
        play(scheduler, whole(ticket, 1, 2, 3, 4, 5, 6), now=17.0)
    busy = {ticket: placed(play(scheduler, asks(ticket, 1, 2, 3, 4, 5, 6, 7), now=20.0)) for ticket in (3, 4)}
    assert [] == placed(play(scheduler, asks(5, 1, 2, 3, 4, 5, 6, 8), now=20.1))

    last = busy[4][0][1]
    ended = whole(4, 1, 2, 3, 4, 5, 6, 7, cached=6000, written=5)
    assert [(5, last)] == placed(play(scheduler, ended, now=20.3))

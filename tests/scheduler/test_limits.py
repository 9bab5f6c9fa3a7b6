"""Do limits hold for any minute, and quotas for their day and month, whatever the order of requests?"""

from datetime import UTC, datetime
from random import Random

import pytest

from relayd.rights import KeyLimits, Quota
from relayd.scheduler.limits import Bound, Meter, MinuteCount, Over, Spending, period_ends

pytestmark = pytest.mark.pure

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC).timestamp()
DAY = 86_400.0


def meter(*quotas: Quota, **limits: int) -> Meter[str]:
    return Meter(KeyLimits(**limits), quotas, Spending(NOON))


def spend(one: Meter[str], tokens: int, now: float = 0.0, wall: float = NOON) -> Over | None:
    """Let a request come and end at once."""
    over = one.admit(now, wall)
    if over is None:
        one.leave(tokens, now, wall, used=True)
    return over


def test_without_limits_every_request_may_run() -> None:
    one = meter()

    assert [None] * 1000 == [spend(one, 10**9) for _ in range(1000)]


def test_a_request_more_than_a_minute_may_hold_is_refused_until_one_is_a_minute_old() -> None:
    one = meter(rpm=2)

    assert [None, None] == [spend(one, 0, 100.0), spend(one, 0, 110.0)]
    assert Over(Bound.REQUESTS, 2, 45.0) == spend(one, 0, 115.0)
    assert spend(one, 0, 159.5) is not None
    assert spend(one, 0, 160.0) is None


@pytest.mark.parametrize("seed", range(10))
def test_no_sixty_seconds_ever_hold_more_than_the_limit(seed: int) -> None:
    random, one, now = Random(seed), meter(rpm=7), 1000.0
    admitted = []
    for _ in range(700):
        now += random.choice([0, 0, 0, 0.3, 1, 5, 30, 200])
        if spend(one, 0, now) is None:
            admitted.append(now)

    assert len(admitted) > 50
    assert 7 >= max(sum(start <= at < start + 60 - 1e-6 for at in admitted) for start in admitted)


@pytest.mark.parametrize("seed", range(10))
def test_what_is_told_to_wait_is_served_after_that_wait(seed: int) -> None:
    random, one, now = Random(seed), meter(rpm=5, tpm=1000), 1000.0
    for _ in range(500):
        now += random.choice([0, 0.5, 3, 20])
        over = spend(one, random.randrange(400), now)
        if over is not None:
            assert 0 < over.wait_seconds <= 60
            now += over.wait_seconds
            again = spend(one, 1, now)
            assert again is None or again.bound is not over.bound


def test_tokens_of_a_minute_are_counted_when_they_are_known() -> None:
    one = meter(tpm=100)

    assert None is spend(one, 60)
    assert None is spend(one, 60)
    assert Bound.TOKENS is getattr(spend(one, 1), "bound", None)
    assert None is spend(one, 1, 60.0)


def test_a_sum_of_a_minute_is_never_below_zero() -> None:
    random, count, now = Random(3), MinuteCount(), 0.0
    for _ in range(5000):
        now += random.choice([0, 0.1, 1, 7, 59, 60, 61, 3600])
        count.at(now)
        count.add(random.randrange(5), now)
        assert count.total >= 0
        assert count.at(now) == count.total
    assert 0 == count.at(now + 60)


def test_a_quota_of_tokens_ends_with_its_month_and_says_when() -> None:
    one = meter(Quota("tokens", 100, "month"))
    december = datetime(2026, 12, 1, tzinfo=UTC).timestamp()

    assert None is spend(one, 100)
    over = spend(one, 1)

    assert over is not None
    assert (Bound.QUOTA, december, december - NOON) == (over.bound, over.ends, over.wait_seconds)
    assert None is spend(one, 1, wall=december)


def test_a_quota_of_requests_counts_those_that_still_run() -> None:
    one = meter(Quota("requests", 2, "day"))

    assert [None, None] == [one.admit(0, NOON), one.admit(0, NOON)]
    assert Bound.QUOTA is getattr(one.admit(0, NOON), "bound", None)
    one.leave(5, 0, NOON, used=False)
    assert None is one.admit(0, NOON)


def test_what_reached_no_replica_costs_nothing_of_a_quota() -> None:
    one = meter(Quota("requests", 1, "day"))

    for _ in range(5):
        assert None is one.admit(0, NOON)
        one.leave(0, 0, NOON, used=False)


def test_a_day_begins_anew_and_its_month_goes_on() -> None:
    spending = Spending(NOON - DAY, day=(5, 50), month=(9, 90))
    spending.add(7, NOON)

    assert 1 == spending.used(Quota("requests", 1, "day"), NOON)
    assert 7 == spending.used(Quota("tokens", 1, "day"), NOON)
    assert 10 == spending.used(Quota("requests", 1, "month"), NOON)
    assert 97 == spending.used(Quota("tokens", 1, "month"), NOON)


@pytest.mark.parametrize(
    ("moment", "day", "month"),
    [
        (datetime(2026, 12, 31, 23, 59, tzinfo=UTC), (2027, 1, 1), (2027, 1, 1)),
        (datetime(2028, 2, 28, tzinfo=UTC), (2028, 2, 29), (2028, 3, 1)),
        (datetime(2026, 1, 31, 8, tzinfo=UTC), (2026, 2, 1), (2026, 2, 1)),
    ],
)
def test_periods_end_at_midnight(
    moment: datetime, day: tuple[int, int, int], month: tuple[int, int, int]
) -> None:
    expected = (datetime(*day, tzinfo=UTC).timestamp(), datetime(*month, tzinfo=UTC).timestamp())

    assert expected == period_ends(moment.timestamp())


def test_further_requests_wait_for_their_turn_in_the_order_in_which_they_came() -> None:
    one = meter(in_flight=1, queued=2)

    assert [True, False, False] == [one.take_turn(name) for name in ("a", "b", "c")]
    assert Over(Bound.QUEUE, 2, 1.0) == one.take_turn("d")
    assert ["b", "c", None] == [one.end_turn() for _ in range(3)]
    assert 0 == one.running


def test_a_request_that_leaves_while_it_waits_gives_its_place_up() -> None:
    one = meter(in_flight=1)
    for name in ("a", "b", "c"):
        one.take_turn(name)

    one.give_up("b")

    assert ("c",) == one.waiting
    assert ["c", None] == [one.end_turn(), one.end_turn()]


def test_more_that_may_run_begin_at_once_and_fewer_end_first() -> None:
    one = meter(in_flight=1)
    for name in ("a", "b", "c", "d"):
        one.take_turn(name)

    assert ["b", "c"] == one.configure(KeyLimits(in_flight=3), ())
    assert [] == one.configure(KeyLimits(in_flight=1), ())
    assert [None, None, "d", None] == [one.end_turn() for _ in range(4)]
    assert 0 == one.running


def test_a_limit_that_is_taken_away_lets_all_begin() -> None:
    one = meter(in_flight=1)
    for name in ("a", "b", "c"):
        one.take_turn(name)

    assert ["b", "c"] == one.configure(KeyLimits(), ())
    assert 3 == one.running


@pytest.mark.parametrize("seed", range(20))
def test_never_more_run_than_may_and_none_is_forgotten(seed: int) -> None:
    random, most = Random(seed), 3
    one, running, waiting = meter(in_flight=most), set[str](), list[str]()
    for number in range(800):
        if running and random.random() < 0.5:
            running.remove(random.choice(sorted(running)))
            if begun := one.end_turn():
                assert waiting.pop(0) == begun
                running.add(begun)
        elif waiting and random.random() < 0.3:
            left = random.choice(waiting)
            waiting.remove(left)
            one.give_up(left)
        else:
            (running.add if one.take_turn(str(number)) else waiting.append)(str(number))
        assert len(running) == one.running <= most
        assert tuple(waiting) == one.waiting
        assert not waiting or len(running) == most

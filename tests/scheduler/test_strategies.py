"""Which replica each strategy chooses, and which strategy a model has."""

from collections import Counter
from random import Random

import pytest

from relayd.scheduler import Finished, Scheduler
from relayd.scheduler.balance import LeastBusy, RealTimeMetrics, RoundRobin
from relayd.scheduler.capacity import Capacity
from relayd.scheduler.strategies import Strategies
from tests.scheduler.script import arrived, endpoint, placed, play, ready

pytestmark = pytest.mark.pure


def fleet(strategy: str, *slots: int) -> Scheduler:
    scheduler = Scheduler(depth=100)
    scheduler.configure(depth=100, attempts=3, avoid_seconds=1, strategies={"m": strategy})
    play(scheduler, *(ready(f"m#{number}", slots=count) for number, count in enumerate(slots)))
    return scheduler


def one_after_the_other(scheduler: Scheduler, count: int) -> list[str]:
    """Return where requests run, each of which ends before the next."""
    found = []
    for number in range(1, count + 1):
        found += [replica for _, replica in placed(play(scheduler, arrived(number)))]
        play(scheduler, Finished(number))
    return found


def test_round_robin_takes_turns_whatever_is_free() -> None:
    scheduler = fleet("round_robin", 2, 8)

    effects = play(scheduler, *map(arrived, (1, 2, 3, 4)))

    assert ["m#0", "m#1", "m#0", "m#1"] == [replica for _, replica in placed(effects)]


@pytest.mark.parametrize("name", ["least_busy", "least_connection"])
def test_least_busy_has_the_name_that_llmstream_gives_it_too(name: str) -> None:
    scheduler = fleet(name, 2, 8)

    effects = play(scheduler, *map(arrived, (1, 2, 3)))

    assert ["m#0", "m#1", "m#1"] == [replica for _, replica in placed(effects)]


def test_random_reaches_every_replica_about_equally() -> None:
    found = Counter(one_after_the_other(fleet("random", 1, 1, 1, 1), 400))

    assert {"m#0", "m#1", "m#2", "m#3"} == set(found)
    assert 60 < min(found.values())


def test_the_same_chance_gives_the_same_choices() -> None:
    pools = [Strategies(random=Random(3)) for _ in range(2)]
    for one in pools:
        one.configure({"m": "random"}, 20.0)
    free = [Capacity(endpoint(f"m#{number}"), 1) for number in range(5)]

    assert [pools[0].of("m").pick(free) for _ in range(20)] == [
        pools[1].of("m").pick(free) for _ in range(20)
    ]


def test_real_time_metrics_gives_work_in_proportion_to_what_is_unused() -> None:
    strategy = RealTimeMetrics()
    half, full = Capacity(endpoint("m#0"), 4), Capacity(endpoint("m#1"), 4)
    for number in range(2):
        half.take(number, 1, number)
    for number in range(4):
        full.take(number, 1, number)

    found = Counter(strategy.pick([half, full]).endpoint.replica for _ in range(300))

    assert Counter({"m#0": 200, "m#1": 100}) == found


def test_real_time_metrics_gives_work_by_the_weights_of_upstreams() -> None:
    strategy = RealTimeMetrics()
    light, heavy = Capacity(endpoint("m@a"), 4), Capacity(endpoint("m@b"), 4, weight=3.0)

    found = Counter(strategy.pick([light, heavy]).endpoint.replica for _ in range(400))

    assert Counter({"m@a": 100, "m@b": 300}) == found


def test_real_time_metrics_counts_what_a_replica_owes() -> None:
    strategy = RealTimeMetrics()
    quick, slow = Capacity(endpoint("m#0"), 4), Capacity(endpoint("m#1"), 4)
    for capacity in (quick, slow):
        capacity.take(1, 2, 1)
    slow.overdue.update((7, 8, 9))

    found = Counter(strategy.pick([quick, slow]).endpoint.replica for _ in range(100))

    assert found["m#0"] > 3 * found["m#1"]


def test_a_strategy_keeps_what_it_learned_while_a_model_keeps_it() -> None:
    strategies = Strategies()
    strategies.configure({"m": "prefix_affinity", "n": "round_robin"}, 20.0)
    learned = strategies.of("m")
    strategies.configure({"m": "prefix_affinity", "n": "least_connection"}, 20.0)

    assert learned is strategies.of("m")
    assert isinstance(strategies.of("n"), LeastBusy)
    strategies.configure({"m": "round_robin"}, 20.0)
    assert isinstance(strategies.of("m"), RoundRobin)

"""Who gets memory now, what is kept for whom, and who leaves."""

import pytest

from relayd.scheduler.eviction import LeastCost, Tenant
from relayd.scheduler.grants import Decision, GrantAsk, Pool, Right, decide
from relayd.units import Bytes

pytestmark = pytest.mark.pure


def by(**accounts: int) -> dict[str, Bytes]:
    return {account: Bytes(count) for account, count in accounts.items()}


def ask(name: str, *sizes: dict[str, Bytes], right: Right = Right.TURN, is_urgent: bool = False) -> GrantAsk:
    return GrantAsk(name, sizes, right, is_urgent)


def tenant(name: str, held: int, *, is_idle: bool = True, is_young: bool = False) -> Tenant:
    return Tenant(name, by(host=held), is_idle=is_idle, is_young=is_young)


def decided(pool: Pool, *asks: GrantAsk) -> Decision:
    return decide(asks, pool, LeastCost(), 0.0)


def test_the_best_size_that_fits_is_granted() -> None:
    found = decided(Pool(by(host=5)), ask("a#0", by(host=9), by(host=5), by(host=1)))

    assert [("a#0", 1)] == found.grants


def test_without_limits_everything_is_granted_at_once() -> None:
    found = decided(Pool(None, loading={"host": "x#0"}), ask("a#0", by(host=9)), ask("b#0", by(host=9)))

    assert [("a#0", 0), ("b#0", 0)] == found.grants


def test_one_load_at_a_time_on_a_device_and_others_beside_it() -> None:
    pool = Pool(by(host=99, cuda0=9, cuda1=9))
    found = decided(
        pool,
        ask("a", by(host=1, cuda0=2)),
        ask("b", by(host=1, cuda0=2)),
        ask("c", by(host=1, cuda1=2)),
        ask("d", by(host=3)),
    )

    assert [("a", 0), ("c", 0), ("d", 0)] == found.grants
    assert {"b": ("a",)} == found.waits_for


def test_a_load_that_is_under_way_holds_its_device() -> None:
    found = decided(Pool(by(host=99), loading={"host": "x#0"}), ask("a#0", by(host=1)))

    assert [] == found.grants
    assert {"a#0": ("x#0",)} == found.waits_for


def test_the_bytes_of_what_waits_for_its_device_are_kept() -> None:
    found = decided(
        Pool(by(host=9, cuda0=9), loading={"cuda0": "x"}), ask("a", by(host=5, cuda0=1)), ask("b", by(host=5))
    )

    assert [] == found.grants
    assert {"a": ("x",)} == found.waits_for


def test_what_is_idle_leaves_before_what_is_in_use() -> None:
    pool = Pool(by(host=0), candidates=[tenant("busy", 4, is_idle=False), tenant("idle", 9)])

    assert {"idle"} == decided(pool, ask("a", by(host=4))).victims.keys()


def test_what_is_in_use_is_to_leave_where_nothing_idle_is_enough() -> None:
    pool = Pool(by(host=0), candidates=[tenant("busy", 4, is_idle=False), tenant("idle", 3)])

    assert {"busy"} == decided(pool, ask("a", by(host=4))).victims.keys()


def test_what_is_young_counts_as_in_use_unless_a_wait_limit_is_near() -> None:
    def pool() -> Pool:
        return Pool(by(host=0), candidates=[tenant("young", 4, is_young=True), tenant("old", 9)])

    assert {"old"} == decided(pool(), ask("a", by(host=4))).victims.keys()
    assert {"young"} == decided(
        Pool(by(host=0), candidates=[tenant("young", 4, is_young=True)]), ask("a", by(host=4), is_urgent=True)
    ).victims.keys()


@pytest.mark.parametrize(
    ("right", "expected"), [(Right.NONE, set()), (Right.IDLE, set()), (Right.TURN, {"busy"})]
)
def test_who_leaves_depends_on_the_right_of_who_asks(right: Right, expected: set[str]) -> None:
    pool = Pool(by(host=0), candidates=[tenant("busy", 4, is_idle=False)])

    assert expected == decided(pool, ask("a", by(host=4), right=right)).victims.keys()


def test_home_models_do_not_leave_for_each_other() -> None:
    home = Tenant("home", by(host=4), is_home=True)

    assert {} == decided(Pool(by(host=0), candidates=[home]), ask("a", by(host=4), right=Right.IDLE)).victims


def test_what_leaves_already_is_waited_for_and_no_one_else_leaves() -> None:
    pool = Pool(by(host=1), leaving={"gone": by(host=4)}, candidates=[tenant("idle", 9)])
    found = decided(pool, ask("a", by(host=5)))

    assert {} == found.victims
    assert {"a": ("gone",)} == found.waits_for


def test_a_younger_question_does_not_get_what_an_older_one_waits_for() -> None:
    pool = Pool(by(host=3), candidates=[tenant("busy", 4, is_idle=False)])
    found = decided(pool, ask("old", by(host=7)), ask("young", by(host=3)))

    assert [] == found.grants
    assert {"busy"} == found.victims.keys()


def test_a_younger_question_gets_what_the_older_one_does_not_need() -> None:
    pool = Pool(by(host=3), candidates=[tenant("busy", 4, is_idle=False)])
    found = decided(pool, ask("old", by(host=4)), ask("young", by(host=3)))

    assert [("young", 0)] == found.grants


def test_a_question_for_which_no_one_can_leave_keeps_nothing_from_younger_ones() -> None:
    found = decided(Pool(by(host=3)), ask("hopeless", by(host=9)), ask("young", by(host=3)))

    assert [("young", 0)] == found.grants


def test_two_questions_share_one_victim_that_is_large_enough() -> None:
    pool = Pool(by(host=0), candidates=[tenant("big", 9), tenant("small", 3)])
    found = decided(pool, ask("a", by(host=4)), ask("b", by(host=4)))

    assert {"big"} == found.victims.keys()


def test_what_is_being_loaded_is_kept_for_the_oldest_and_none_leaves_before() -> None:
    loading = Tenant("loading", by(host=4), is_loading=True)
    pool = Pool(by(host=0), candidates=[tenant("idle", 4), loading])
    found = decided(pool, ask("old", by(host=8)), ask("young", by(host=4)))

    assert {} == found.victims
    assert {"old": ("idle", "loading")} == found.waits_for


def test_what_is_being_loaded_does_not_leave_where_others_are_enough() -> None:
    loading = Tenant("loading", by(host=4), is_loading=True)
    pool = Pool(by(host=0), candidates=[loading, tenant("busy", 4, is_idle=False)])

    assert {"busy"} == decided(pool, ask("a", by(host=4))).victims.keys()

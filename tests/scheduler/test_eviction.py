"""Which replicas leave: the cheapest set that frees enough on the right accounts."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.scheduler.eviction import LeastCost, Tenant
from relayd.units import Bytes

pytestmark = pytest.mark.pure


def tenant(
    name: str, size: int, cost: float = 1.0, account: str = "host", used_at: float = 0.0, **more: bool
) -> Tenant:
    return Tenant(
        name, {account: Bytes(size)}, reload_seconds=cost, chance=1.0, used_at=used_at,
        is_idle=not more.get("is_giving_way"), **more,
    )  # fmt: skip


def victims(need: int, *running: Tenant, account: str = "host") -> set[str] | None:
    found = LeastCost().victims({account: Bytes(need)}, running, 100.0)
    return None if found is None else set(found)


def test_the_cheapest_that_frees_enough_leaves() -> None:
    assert {"b"} == victims(4, tenant("a", 5, cost=9), tenant("b", 5, cost=2), tenant("c", 3, cost=1))


def test_one_dear_replica_leaves_rather_than_many_that_cost_more_together() -> None:
    small = [tenant(name, 1, cost=2) for name in "abcd"]

    assert {"big"} == victims(4, *small, tenant("big", 9, cost=5))


def test_many_cheap_replicas_leave_rather_than_one_that_costs_more() -> None:
    small = [tenant(name, 1, cost=0.1) for name in "abcd"]

    assert set("abcd") == victims(4, *small, tenant("big", 9, cost=5))


def test_only_replicas_on_the_right_device_leave() -> None:
    assert {"b"} == victims(2, tenant("a", 9, cost=0.1), tenant("b", 3, 9, "cuda0"), account="cuda0")


def test_none_leaves_where_all_together_are_too_few() -> None:
    assert victims(9, tenant("a", 4), tenant("b", 4)) is None


def test_nothing_missing_needs_no_victim() -> None:
    assert frozenset[str]() == LeastCost().victims({}, [tenant("a", 4)], 100.0)


def test_among_equals_the_one_unused_for_longest_leaves() -> None:
    assert {"old"} == victims(4, tenant("new", 5, used_at=90.0), tenant("old", 5, used_at=10.0))


def test_a_replica_that_gives_way_already_is_chosen_again() -> None:
    assert {"b"} == victims(4, tenant("a", 5, cost=1), tenant("b", 5, cost=99, is_giving_way=True))


def test_a_warm_cache_makes_a_replica_dearer() -> None:
    warm = Tenant("warm", {"host": Bytes(5)}, warm_seconds=3.0)

    assert {"cold"} == victims(4, warm, tenant("cold", 5, cost=2))


def test_fifty_equal_replicas_are_searched_in_bounded_time() -> None:
    assert 40 == len(victims(40, *(tenant(f"m{number}", 1) for number in range(50))) or ())


TENANTS = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 40)), min_size=1, max_size=7
)


@given(TENANTS, st.integers(1, 12), st.integers(0, 12))
def test_no_set_that_frees_enough_is_cheaper(
    sizes: list[tuple[int, int, int]], host: int, device: int
) -> None:
    running = [
        Tenant(f"m{number}", {"host": Bytes(one), "cuda0": Bytes(two)}, cost / 4, 1.0)
        for number, (one, two, cost) in enumerate(sizes)
    ]
    need = {"host": Bytes(host)} | ({"cuda0": Bytes(device)} if device else {})
    enough = [
        sum(one.cost_seconds for one in chosen)
        for count in range(len(running) + 1)
        for chosen in combinations(running, count)
        if all(sum(one.held[account] for one in chosen) >= count for account, count in need.items())
    ]
    found = LeastCost().victims(need, running, 0.0)

    assert bool(enough) == (found is not None)
    if found is not None:
        assert min(enough) == pytest.approx(sum(one.cost_seconds for one in running if one.replica in found))

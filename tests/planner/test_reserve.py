"""Does what models may take follow the machine and the operator, and never what is free at the moment?"""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as some

from relayd.config.schema import MemoryBudget
from relayd.hardware.machine import MemoryLimit
from relayd.planner.reserve import allowance, device_reserve, host_reserve
from relayd.units import GIB, MIB, Bytes
from tests.planner.models import machine

pytestmark = pytest.mark.pure

NOTHING_SET = MemoryBudget()
sizes = some.integers(1, 2048 * GIB)


@given(sizes, sizes, some.booleans(), some.booleans())
def test_more_ram_never_leaves_models_less(one: int, other: int, limited: bool, headless: bool) -> None:
    small, large = sorted((one, other))

    assert small - host_reserve(small, limited=limited, headless=headless) <= large - host_reserve(
        large, limited=limited, headless=headless
    )


@given(sizes, sizes)
def test_more_memory_on_a_device_never_leaves_models_less(one: int, other: int) -> None:
    small, large = sorted((one, other))

    assert small - device_reserve(small) <= large - device_reserve(large)


@pytest.mark.parametrize(("total", "kept"), [(4 * GIB, 2 * GIB), (16 * GIB, 4 * GIB), (100 * GIB, 20 * GIB)])
def test_people_keep_a_fifth_of_ram_and_at_least_four_gib_but_never_more_than_half(
    total: int, kept: int
) -> None:
    assert kept == host_reserve(total)


def test_where_nobody_logs_in_a_tenth_is_enough() -> None:
    assert 10 * GIB == host_reserve(100 * GIB, headless=True)


def test_a_control_group_keeps_a_tenth_and_at_least_64_mib() -> None:
    assert (64 * MIB, 2 * GIB) == (
        host_reserve(512 * MIB, limited=True),
        host_reserve(20 * GIB, limited=True),
    )


def test_what_is_free_at_the_moment_changes_nothing() -> None:
    idle = machine("gpu=4090:24,ram=32")
    busy = replace(
        idle,
        memory=replace(idle.memory, available=Bytes(GIB)),
        gpus=tuple(replace(gpu, memory_free=Bytes(2 * GIB)) for gpu in idle.gpus),
    )

    assert allowance(idle, NOTHING_SET) == allowance(busy, NOTHING_SET)


def test_a_limit_that_is_set_is_the_budget_and_keeps_no_reserve() -> None:
    found = allowance(machine("gpu=4090:24,ram=32"), MemoryBudget(host_mib=2048, device_mib=1024))

    assert (2 * GIB, GIB) == (found.host.usable, found.gpus[0].usable)
    assert "[memory] host_mib allows 2.0 GiB" in found.host.explain()


def test_a_limit_above_what_there_is_gives_what_there_is() -> None:
    found = allowance(machine("ram=32"), MemoryBudget(host_mib=1 << 20))

    assert 32 * GIB == found.host.usable


def test_a_group_limit_is_what_the_reserve_is_taken_of() -> None:
    plain = machine("ram=64")
    limit = MemoryLimit(Bytes(10 * GIB), Bytes(0), Bytes(0))
    limited = replace(plain, memory=replace(plain.memory, limit=limit))

    assert 9 * GIB == allowance(limited, NOTHING_SET).host.usable

"""How much memory does the kernel give one llama-server?"""

import pytest

from relayd.planner.wall import STACK_BYTES, memory_wall
from relayd.units import GIB, MIB

pytestmark = pytest.mark.pure


def limit(anonymous: int, *, slots: int = 2, cores: int = 2) -> int:
    found = memory_wall(anonymous, slots=slots, cores=cores).limit
    assert found is not None
    return found


def test_what_was_planned_has_half_a_gibibyte_or_a_tenth_on_top_and_its_stacks() -> None:
    stacks = limit(0) - 512 * MIB

    assert 26 * STACK_BYTES == stacks
    assert [MIB + 512 * MIB, 10 * GIB + GIB] == [limit(planned) - stacks for planned in (MIB, 10 * GIB)]


@pytest.mark.parametrize(("slots", "cores", "threads"), [(1, 1, 22), (8, 2, 38), (4, 64, 209)])
def test_each_thread_that_can_exist_has_its_stack(slots: int, cores: int, threads: int) -> None:
    assert threads * STACK_BYTES == limit(0, slots=slots, cores=cores) - 512 * MIB


def test_more_of_anything_never_lowers_it() -> None:
    by_plan = [limit(planned * MIB) for planned in (0, 1, 5_000, 5_120, 6_000, 40_000)]
    by_slots = [limit(MIB, slots=slots) for slots in (1, 2, 8, 64)]

    assert sorted(by_plan) == by_plan
    assert sorted(by_slots) == by_slots

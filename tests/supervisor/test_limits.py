"""What the kernel lets a process take."""

import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from relayd.planner.wall import STACK_BYTES, MemoryWall
from relayd.supervisor.limits import limit, set_wall, small_stacks, wall_of
from relayd.units import MIB, Bytes
from tests.supervisor.test_adoption import LINE, record

pytestmark = [pytest.mark.fake, pytest.mark.skipif(sys.platform != "linux", reason="prlimit is Linux's")]


@contextmanager
def sleeping() -> Iterator[int]:
    process = subprocess.Popen(("sleep", "60"))
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


def test_a_process_that_is_started_inside_has_small_stacks_and_this_one_keeps_its_own() -> None:
    before = resource.getrlimit(resource.RLIMIT_STACK)

    with small_stacks(), sleeping() as pid:
        assert STACK_BYTES == resource.prlimit(pid, resource.RLIMIT_STACK)[0]

    assert before == resource.getrlimit(resource.RLIMIT_STACK)


def test_r46_a_started_process_has_its_wall_and_no_core() -> None:
    with sleeping() as pid:
        limit(pid, MemoryWall(Bytes(700 * MIB)))

        assert 700 * MIB == resource.prlimit(pid, resource.RLIMIT_DATA)[0]
        assert (0, 0) == resource.prlimit(pid, resource.RLIMIT_CORE)


def test_an_adopted_one_gets_it_again_and_one_that_has_none_is_left_alone() -> None:
    with sleeping() as pid:
        before = resource.prlimit(pid, resource.RLIMIT_DATA)
        set_wall(pid, MemoryWall(reason="a GPU driver reserves address space"))
        assert before == resource.prlimit(pid, resource.RLIMIT_DATA)

        set_wall(pid, MemoryWall(Bytes(700 * MIB)))
        assert 700 * MIB == resource.prlimit(pid, resource.RLIMIT_DATA)[0]


def test_a_process_that_is_gone_is_no_error() -> None:
    with sleeping() as pid:
        pass

    limit(pid, MemoryWall(Bytes(700 * MIB)))


def test_a_record_of_an_earlier_build_has_no_wall() -> None:
    assert wall_of(record(LINE)).limit is None
    assert wall_of(record(LINE)).reason

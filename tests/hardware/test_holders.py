"""Are the programs that hold most of the RAM named?"""

import os

import psutil
import pytest

from relayd.hardware import largest_in_ram
from relayd.ui.machine import held_line
from relayd.units import GIB, Bytes

pytestmark = pytest.mark.real


def test_this_program_is_among_those_that_hold_ram_the_largest_first() -> None:
    found = largest_in_ram(10_000)

    assert psutil.Process(os.getpid()).name() in dict(found)
    assert sorted((held for _, held in found), reverse=True) == [held for _, held in found]


def test_programs_are_named_with_what_they_hold() -> None:
    assert (
        "5.0 GiB of RAM is free now. Other programs hold the most: firefox 3.0 GiB, java 2.0 GiB."
        == held_line(Bytes(5 * GIB), [("firefox", Bytes(3 * GIB)), ("java", Bytes(2 * GIB))])
    )

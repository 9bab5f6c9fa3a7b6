import pytest

from relayd.units import MIB
from tests.soak.report import over_time
from tests.soak.watch import Figures

pytestmark = pytest.mark.pure


def test_what_daemons_held_is_shown_at_every_step_with_the_daemon_of_the_time() -> None:
    first = Figures(10, 0.5, [(0.5, 50 * MIB, 40), (1.5, 51 * MIB, 41), (9.5, 52 * MIB, 42)])
    second = Figures(11, 11.0, [(11.0, 50 * MIB, 40), (19.9, 53 * MIB, 44), (20.1, 54 * MIB, 45)])

    assert [
        "       0 s    1  50 MiB  40",
        "      11 s    2  50 MiB  40",
        "      20 s    2  54 MiB  45",
    ] == list(over_time([first, second], 10))

import pytest

from relayd.ui.loading import loading_line
from relayd.units import GIB

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        (80, "loading qwen3-8b  ████████████░░░░░░░░  62%  2.9 GiB of 4.7 GiB, 4.0 s"),
        (50, "loading qwen3-8b   62%  2.9 GiB of 4.7 GiB, 4.0 s"),
        (40, " 62%  2.9 GiB of 4.7 GiB, 4.0 s"),
        (10, " 62%  2.9"),
    ],
)
def test_a_load_is_one_line_at_any_width(columns: int, line: str) -> None:
    assert line == loading_line("qwen3-8b", int(2.9 * GIB), int(4.7 * GIB), 4.0, columns)


def test_a_size_that_is_not_known_leaves_the_seconds() -> None:
    assert "loading m  1 min 5 s" == loading_line("m", 5, 0, 65.0, 80)


def test_more_than_the_file_is_all_of_it() -> None:
    assert "100%  1.0 GiB of 1.0 GiB" in loading_line("m", 2 * GIB, GIB, 1.0, 80)

"""How sizes read where they stand beside one another."""

import pytest

from relayd.units import GIB, MIB, show_apart, show_bytes, show_seconds

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    ("counts", "texts"),
    [
        ((17 * GIB, 24 * GIB), ("17 GiB", "24 GiB")),
        ((23 * GIB + 500 * MIB, 23 * GIB + 100 * MIB), ("23.5 GiB", "23.1 GiB")),
        ((GIB + 3 * MIB, GIB + 4 * MIB), ("1.003 GiB", "1.004 GiB")),
        ((5 * GIB, 5 * GIB), ("5.0 GiB", "5.0 GiB")),
    ],
)
def test_different_sizes_read_differently(counts: tuple[int, ...], texts: tuple[str, ...]) -> None:
    assert texts == show_apart(*counts)


def test_a_byte_more_is_not_told_apart_for_ever() -> None:
    assert len(set(show_apart(GIB, GIB + 1))) == 1


def test_one_size_alone_has_few_digits() -> None:
    assert ["23 GiB", "4.4 GiB", "350 B"] == [
        show_bytes(count) for count in (23 * GIB + 100 * MIB, 4506 * MIB, 350)
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (300, "5 min"),
        (301, "5 min 1 s"),
        (7200, "2 h"),
        (7260, "2 h 1 min"),
        (172_800, "2 d"),
        (176_400, "2 d 1 h"),
    ],
)
def test_a_duration_has_no_rest_of_nothing(seconds: float, text: str) -> None:
    assert text == show_seconds(seconds)

"""Paragraphs: broken between words, nowhere else."""

import pytest

from relayd.ui.paragraph import wrapped

pytestmark = pytest.mark.pure


def test_words_and_commands_are_kept_whole() -> None:
    assert ["one two", "three"] == wrapped("one two three", 8)
    assert ["`a b c d`", "e"] == wrapped("`a b c d` e", 3)


def test_an_address_longer_than_the_line_stays_one_piece() -> None:
    assert ["see", "https://example.org/a-long/path", "there"] == wrapped(
        "see https://example.org/a-long/path there", 12
    )


def test_the_first_line_has_room_for_what_stands_before_it() -> None:
    assert ["one", "two three", "four"] == wrapped("one two three\nfour", 10, begun=6)


def test_without_a_width_no_line_is_broken() -> None:
    assert ["one two three"] == wrapped("one two three", 0)

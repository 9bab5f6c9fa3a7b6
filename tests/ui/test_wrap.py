import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.ui.wrap import WordWrap, width_of

pytestmark = pytest.mark.pure

TEXT = "The quick brown fox jumps over the lazy dog, again and again."


def wrapped(text: str, columns: int, step: int = 3) -> str:
    wrap = WordWrap(columns)
    pieces = (text[at : at + step] for at in range(0, len(text), step))
    return "".join(map(wrap.feed, pieces)) + wrap.end()


@pytest.mark.parametrize("step", [1, 2, 5, 100])
def test_lines_end_between_words_wherever_pieces_are_cut(step: int) -> None:
    lines = wrapped(TEXT, 20, step).splitlines()

    assert TEXT.split() == " ".join(lines).split()
    assert all(width_of(line.rstrip()) <= 20 for line in lines)
    assert 4 == len(lines)


def test_a_word_longer_than_a_line_is_left_whole() -> None:
    assert "see\nhttps://example.org/a/long/path" == wrapped(
        "see https://example.org/a/long/path", 10
    ).replace("see \n", "see\n")


def test_code_between_fences_keeps_its_lines() -> None:
    code = "```python\nprint('a long line that is wider than the terminal')\n```\n"

    assert code == wrapped(code, 20)
    assert code + "and then\nwords are\nwrapped" == wrapped(code + "and then words are wrapped", 10).replace(
        " \n", "\n"
    )


def test_text_without_spaces_is_broken_where_the_line_ends() -> None:
    assert ["你好世界你", "好世界"] == wrapped("你好世界你好世界", 10).splitlines()


def test_without_a_terminal_nothing_is_broken() -> None:
    assert TEXT * 9 == wrapped(TEXT * 9, 0)


@given(st.text(alphabet="ab \n`你", max_size=60), st.integers(4, 12), st.integers(1, 7))
def test_no_word_is_lost(text: str, columns: int, step: int) -> None:
    assert text.split() == wrapped(text, columns, step).split() or "你" in text
    assert text.replace(" ", "").replace("\n", "") == wrapped(text, columns, step).replace(" ", "").replace(
        "\n", ""
    )

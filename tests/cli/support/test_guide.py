"""Are questions asked until they are answered, and can each be left out?"""

from collections.abc import Callable, Iterator

import pytest

from relayd.cli.support.guide import Guide

pytestmark = pytest.mark.pure


def typing(*answers: str) -> tuple[Guide, list[str]]:
    """Return a guide that reads these answers and then the end of its input, and what it tells."""
    left: Iterator[str] = iter(answers)
    told: list[str] = []

    def ask(question: str) -> str:
        told.append(question)
        try:
            return next(left)
        except StopIteration:
            raise EOFError from None

    return Guide(ask, told.append), told


@pytest.mark.parametrize(("typed", "meant"), [("", "chat"), ("2", "code"), ("Code", "code"), (" 1 ", "chat")])
def test_an_option_is_its_number_its_name_or_the_first(typed: str, meant: str) -> None:
    guide, _ = typing(typed)

    assert meant == guide.choose("What for?", ["chat", "code"])


def test_a_step_is_left_out_with_a_dash_or_the_end_of_the_input() -> None:
    assert None is typing("-")[0].choose("What for?", ["chat"])
    assert None is typing()[0].choose("What for?", ["chat"])
    assert not typing()[0].agrees("Fetch it?")


def test_anything_else_is_asked_again() -> None:
    guide, told = typing("3", "2")

    assert "code" == guide.choose("What for?", ["chat", "code"])
    assert "There is no choice 3. Type a number from 1 to 2 or - to skip." in told
    assert 2 == sum("What for?" in one for one in told)


def test_a_wrong_number_is_not_taken_for_a_name() -> None:
    guide, told = typing("7", "qwen3-8b")

    assert "qwen3-8b" == guide.choose("Which?", ["a", "b", "c"], others="NAME")
    assert "There is no choice 7. Type a number from 1 to 3, NAME or - to skip." in told


def test_other_text_is_taken_where_it_can_mean_something() -> None:
    assert "qwen3-8b" == typing("qwen3-8b")[0].choose("Which?", ["a"], others="NAME")
    assert None is typing("")[0].choose("Which?", [], others="NAME")


@pytest.mark.parametrize(
    ("typed", "agreed"),
    [(("",), True), (("Y",), True), (("n",), False), (("perhaps", "no"), False), (("-",), False)],
)
def test_enter_agrees(typed: tuple[str, ...], agreed: bool) -> None:
    assert agreed is typing(*typed)[0].agrees("Fetch it?")


@pytest.fixture
def silent() -> Callable[[str], None]:
    def tell(_: str) -> None:
        pytest.fail("nobody is there to be told")

    return tell


def test_nobody_is_asked_where_every_first_choice_is_taken(silent: Callable[[str], None]) -> None:
    guide = Guide(None, silent)

    assert ("chat", None, True, False) == (
        guide.choose("What for?", ["chat", "code"]),
        guide.choose("What for?", []),
        guide.agrees("Fetch it?"),
        guide.asks,
    )

"""Do the rules on words recognise what they are after?"""

import pytest

from tests.words import DENIAL, is_sentence

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    "text", ["", "Wait for it.", "Run `relayd stop`.", "{} is free.", "Install it:\npip install x", "\0"]
)
def test_sentences_are_recognised(text: str) -> None:
    assert is_sentence(text)


@pytest.mark.parametrize("text", ["wait for it.", "Wait for it", "Run:", "See: relayd status"])
def test_fragments_are_recognised(text: str) -> None:
    assert not is_sentence(text)


@pytest.mark.parametrize("text", ["3 is no port", "they are no files", "it is no `x`"])
def test_denials_are_recognised(text: str) -> None:
    assert DENIAL.search(text)


@pytest.mark.parametrize("text", ["there is no file", "is no longer there", "is no more than 3", "no port"])
def test_plain_negations_pass(text: str) -> None:
    assert not DENIAL.search(text)

"""How often does a request give its slots back, and how far does it get in between?"""

from dataclasses import dataclass

import pytest

from relayd.router.givenback import LEAST_TOKENS, SlotReturns
from relayd.router.prefill import PromptProgress

pytestmark = pytest.mark.pure


@dataclass
class Answer:
    events: int = 0


def progress(processed: int) -> PromptProgress:
    return PromptProgress(total=100, cached=0, processed=processed, ms=1)


def test_the_first_time_a_request_gives_way_at_once() -> None:
    assert SlotReturns(Answer(1)).yields()


def test_then_it_gets_on_by_so_many_tokens_before_it_does_again() -> None:
    answer = Answer(10)
    returns = SlotReturns(answer)
    assert returns.yields()

    answer.events = 10 + LEAST_TOKENS - 1
    assert not returns.yields()
    answer.events += 1
    assert returns.yields()
    assert not returns.yields()


def test_a_prompt_is_read_anew_a_few_times_and_no_more() -> None:
    returns = SlotReturns(Answer())

    assert [True] * 4 + [False] == [returns.rereads(progress(50)) for _ in range(5)]


@pytest.mark.parametrize("seen", [None, progress(100)])
def test_only_a_prompt_that_is_being_read_is_read_anew(seen: PromptProgress | None) -> None:
    assert not SlotReturns(Answer()).rereads(seen)


def test_reading_anew_does_not_keep_its_slots() -> None:
    returns = SlotReturns(Answer())
    assert returns.rereads(progress(50))

    assert returns.yields()

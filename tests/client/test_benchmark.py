"""A benchmark measures a model alone first, then with each number of requests at once."""

import threading
from collections.abc import Sequence
from typing import cast

import pytest

from relayd.client.benchmark import Benchmark, Level, run_benchmark, verdict
from relayd.client.chat import Conversation, Message, Turn

pytestmark = pytest.mark.pure


class Model:
    """Answers every prompt, a little faster each time."""

    def __init__(self) -> None:
        self.prompts: list[str] = []
        self.options: list[dict[str, object]] = []
        self._lock = threading.Lock()

    def ask(self, _model: str, messages: Sequence[Message], **options: object) -> Turn:
        with self._lock:
            self.prompts.append(messages[0]["content"])
            self.options.append(options)
            speed = float(len(self.prompts))
        return Turn("x", "m#0", 0.0, 0.5, 2.0, 100, 0, 10 * speed, 8, speed)


def measured(model: Model) -> tuple[Benchmark, list[str]]:
    steps: list[str] = []
    result = run_benchmark(
        lambda: cast("Conversation", model), "m", prompt_words=5, tokens=8, rounds=3, at_once=(1, 4),
        on_step=steps.append,
    )  # fmt: skip
    return result, steps


def test_the_first_answer_warms_up_and_does_not_count() -> None:
    result, _ = measured(Model())

    assert (100, 30.0, 3.0) == (result.prompt_tokens, result.prefill_per_second, result.decode_per_second)


def test_each_level_adds_up_the_tokens_of_its_requests() -> None:
    result, steps = measured(Model())

    assert [(1, 8 / 1.5, 0.5), (4, 32 / 1.5, 0.5)] == [
        (level.requests, level.tokens_per_second, level.first_token_seconds) for level in result.levels
    ]
    assert ["warming up", "alone, round 1 of 3", "alone, round 2 of 3", "alone, round 3 of 3",
            "1 at once", "4 at once"] == steps  # fmt: skip


def test_no_prompt_is_asked_twice_and_no_cache_answers() -> None:
    model = Model()
    measured(model)

    assert 9 == len(set(model.prompts)) == len(model.prompts)
    assert {6} == {len(prompt.split()) for prompt in model.prompts}
    assert all(options["cache_prompt"] is False for options in model.options)
    assert all((options["max_tokens"], options["ignore_eos"]) == (8, True) for options in model.options)


def test_a_request_alone_has_the_speed_of_all_together() -> None:
    result, _ = measured(Model())

    assert result.levels[0].each_per_second == result.levels[0].tokens_per_second


@pytest.mark.parametrize(
    ("together", "each", "said"),
    [
        (
            30.0,
            7.5,
            "4 at once do 1.5 times the work of one, each at 38% of its speed alone.",
        ),
        (42.0, 21.0, "4 at once do 2.1 times the work of one, each as fast as alone."),
        (20.5, 5.1, "Up to 4 requests at once do no more work than one: they only share it."),
    ],
)
def test_a_sentence_states_what_several_at_once_are_good_for(together: float, each: float, said: str) -> None:
    assert said == verdict([Level(1, 20.0, 20.0, 0.1), Level(4, together, each, 0.2)])


def test_one_level_has_no_verdict() -> None:
    assert verdict([Level(1, 20.0, 20.0, 0.1)]) == ""

"""Which refusals of a line pass, for how long its model pauses, and when it has failed."""

from dataclasses import dataclass, field
from typing import cast

import pytest

from relayd.batch.patience import MOST_FAILURES, PATIENCE_SECONDS, LinePatience
from relayd.batch.results import LineAnswer
from relayd.batch.running import RunningBatch, Tried

pytestmark = pytest.mark.pure


@dataclass
class Row:
    key: str = "k"


@dataclass
class Batch:
    row: Row = field(default_factory=Row)
    tried: dict[int, Tried] = field(default_factory=dict)


def goes_again(patience: LinePatience, batch: Batch, code: str, now: float, retry_after: float = 0.0) -> bool:
    answer = LineAnswer(503, b"{}", "r", code, retry_after)
    return patience.goes_again(cast("RunningBatch", batch), "m", 1, answer, now)


def test_an_answer_is_final() -> None:
    assert not goes_again(LinePatience(), Batch(), "", 0.0)
    assert not goes_again(LinePatience(), Batch(), "context_length_exceeded", 0.0)


def test_a_limit_passes_however_long_it_takes() -> None:
    patience, batch = LinePatience(), Batch()

    assert all(goes_again(patience, batch, "rate_limit_exceeded", 1000.0 * day) for day in range(200))


def test_a_model_that_cannot_serve_is_waited_for_a_while() -> None:
    patience, batch = LinePatience(), Batch()

    assert goes_again(patience, batch, "model_unavailable", 0.0)
    assert goes_again(patience, batch, "model_unavailable", PATIENCE_SECONDS - 1)
    assert not goes_again(patience, batch, "model_unavailable", PATIENCE_SECONDS)


def test_a_line_that_fails_again_and_again_has_failed() -> None:
    patience, batch = LinePatience(), Batch()

    tries = [goes_again(patience, batch, "upstream_failed", 100.0 * one) for one in range(MOST_FAILURES)]

    assert [True] * (MOST_FAILURES - 1) + [False] == tries


def test_each_pause_is_twice_the_last_until_a_line_is_answered() -> None:
    patience, batch, now, pauses = LinePatience(), Batch(), 0.0, []
    for _ in range(8):
        goes_again(patience, batch, "queue_full", now)
        pause = next(one for one in range(1, 1000) if not patience.is_paused("k", "m", now + one / 2))
        pauses.append(pause / 2)
        now += pause

    assert [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0] == pauses
    patience.served("k", "m")
    goes_again(patience, batch, "queue_full", now)
    assert not patience.is_paused("k", "m", now + 0.5)


def test_a_pause_is_as_long_as_the_refusal_asks_for_and_of_its_model_and_key_alone() -> None:
    patience = LinePatience()
    goes_again(patience, Batch(), "rate_limit_exceeded", 0.0, retry_after=60.0)

    assert patience.is_paused("k", "m", 59.0)
    assert not patience.is_paused("k", "m", 60.0)
    assert not patience.is_paused("other", "m", 1.0)
    assert not patience.is_paused("k", "other", 1.0)

"""How long a batch takes: from the progress of prompts, else from the timings of answers."""

import pytest

from relayd.router import inferred_batch
from relayd.router.prefill import Prefill
from relayd.scheduler import Ask, Ended, Exchange, Usage
from tests.fakes.replica import chunk
from tests.scheduler.script import endpoint

pytestmark = pytest.mark.pure

REPLICA = endpoint("m#0", 2)


def progress(processed: int, time_ms: int, total: int = 1200) -> bytes:
    counts = f'"total":{total},"cache":0,"processed":{processed},"time_ms":{time_ms}'
    return chunk(f'data: {{"choices":[],"prompt_progress":{{{counts}}}}}\n\n'.encode())


def answered(read: int, prompt_ms: float, *, cached: int = 0, incarnation: int = 2) -> Exchange:
    usage = Usage(read + cached, cached, 9, prompt_ms, 100.0)
    return Exchange(ask=Ask("m"), ended=Ended.DONE, replica="m#0", incarnation=incarnation, usage=usage)


def test_a_batch_takes_as_long_as_the_progress_of_a_prompt_moves_on_but_for_its_last_part() -> None:
    batches: list[float] = []
    prefill = Prefill(batches.append)

    for processed, time_ms in ((0, 0), (512, 400), (1024, 900), (1200, 1000)):
        prefill.feed(progress(processed, time_ms))

    assert [0.4, 0.5] == pytest.approx(batches)


def test_a_batch_is_inferred_from_the_timings_of_the_same_incarnation() -> None:
    others = [answered(64, 9000, incarnation=1), answered(8, 9000), answered(0, 0.0, cached=900)]

    assert 5.12 == pytest.approx(inferred_batch([*others, answered(100, 1000, cached=50)], REPLICA, 512))
    assert 0.0 == inferred_batch(others, REPLICA, 512)


def test_the_middle_of_the_newest_answers_counts_as_one_may_have_waited_behind_others() -> None:
    newest = [answered(100, ms) for ms in (100, 9000, 110, 100, 120, 100, 100, 100)]

    assert 0.1 * 5.12 == pytest.approx(inferred_batch([*newest, *[answered(100, 9e6)] * 99], REPLICA, 512))

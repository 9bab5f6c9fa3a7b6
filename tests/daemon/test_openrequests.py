"""Where did the time of a request go: into its queue, a load, attempts that failed, or its answer?"""

import pytest
from msgspec.structs import replace

from relayd.daemon.openrequests import finished_request
from relayd.scheduler import Exchange
from relayd.scheduler.ask import Ask
from relayd.scheduler.views import LoadDone

pytestmark = pytest.mark.pure

ENDED = Exchange(
    Ask("qwen"), "id-1", "/v1/x", arrived_at=100.0, queued_at=100.0, placed_at=112.0, first_byte_at=113.0,
    ended_at=120.0,
)  # fmt: skip


def test_a_load_counts_as_far_as_the_request_waited_for_it() -> None:
    loads = [
        LoadDone("qwen#0", "qwen", ended_at=111.0, waited_seconds=0.0, load_seconds=20.0),
        LoadDone("other#0", "other", ended_at=112.0, waited_seconds=0.0, load_seconds=12.0),
    ]

    found = finished_request(ENDED, 0.0, loads)

    assert (12.0, 11.0, 0.0) == (found.queue_seconds, found.load_seconds, found.retry_seconds)


def test_attempts_that_failed_are_told_from_the_queue() -> None:
    found = finished_request(replace(ENDED, attempts=2, first_placed_at=104.0), 0.0, [])

    assert (12.0, 0.0, 8.0) == (found.queue_seconds, found.load_seconds, found.retry_seconds)


def test_without_a_load_or_a_second_attempt_all_of_it_is_the_queue() -> None:
    early = LoadDone("qwen#0", "qwen", ended_at=90.0, waited_seconds=0.0, load_seconds=20.0)

    found = finished_request(ENDED, 0.0, [early])

    assert (0.0, 0.0) == (found.load_seconds, found.retry_seconds)

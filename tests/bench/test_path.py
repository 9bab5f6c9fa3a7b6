"""Do a request and a chunk call as few functions as they did?"""

import asyncio

import pytest

from tests.bench.path import measured

pytestmark = pytest.mark.pure

MOST_A_REQUEST = 121
"""Calls of a short streamed request from door to door, of about 0.5 µs each with what they do: 239 with keys,
deadlines and continuation, 176 since the schedule is called directly and what is off asks nothing, 121 since
no coroutine runs. A feature that half of all requests do not need has to find a place where it costs them
none."""

MOST_A_CHUNK = 2
"""`Upstream.data_received`, and what writes it to the client."""


def test_a_chunk_passes_in_few_calls() -> None:
    few, many = (asyncio.run(measured(chunks=chunks)).total() for chunks in (10, 110))

    assert many - few <= 100 * MOST_A_CHUNK + 5  # what is done once in a while


def test_a_request_takes_no_more_calls_than_it_may() -> None:
    calls = asyncio.run(measured())

    assert calls.total() <= MOST_A_REQUEST, calls.most_common(20)


def test_a_long_prompt_takes_hardly_more_calls_than_a_short_one() -> None:
    short, long = (asyncio.run(measured(prompt=prompt)).total() for prompt in ("hi", "word " * 6_000))

    assert long <= short + 10  # its progress is asked for

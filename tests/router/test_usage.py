"""Tokens are read from the end of an answer, wherever it was cut into pieces."""

import json

import pytest

from relayd.router.usage import SummingTap, Tap, read_usage
from relayd.scheduler import Usage
from tests.fakes.replica import DONE, LAST_CHUNK, chunk

pytestmark = pytest.mark.pure

TIMINGS = b'"timings":{"cache_n":1,"prompt_n":2,"prompt_ms":3.5,"predicted_n":4,"predicted_ms":5.5,"extra":6}'
USAGE = b'"usage" : {"prompt_tokens":9,"completion_tokens":8,"prompt_tokens_details":{"cached_tokens":7}}'


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"{%b,%b}" % (USAGE, TIMINGS), Usage(9, 7, 8, 3.5, 5.5)),
        (b"{%b}" % USAGE, Usage(9, 7, 8)),
        (b"{%b}" % TIMINGS, Usage(3, 1, 4, 3.5, 5.5)),
        (b"{%b}" % USAGE.replace(b"prompt_t", b"input_t").replace(b"completion", b"output"), Usage(9, 7, 8)),
        (b'{"usage":{"prompt_tokens":1}} {"usage":{"prompt_tokens":2}}', Usage(2)),
        (b'{"usage":{"prompt_tokens":1}} {"usage":null}', Usage(1)),
        (b'{"usage":{"prompt_tokens":1}} {"usage":{"prompt', Usage(1)),
        (b"{}", None),
        (b"", None),
        (b'{"usage":{"prompt_tokens":"many"}}', None),
    ],
)  # fmt: skip
def test_the_last_complete_figures_count(raw: bytes, expected: Usage | None) -> None:
    assert expected == read_usage(raw)


_STARTED = (
    b'event: message_start\ndata: {"type":"message_start","message":{"id":"m","content":[],"usage":'
    b'{"cache_read_input_tokens":8,"input_tokens":13,"output_tokens":0}}}\n\n'
)
_ENDED = (
    b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":'
    b'{"output_tokens":4}}\n\nevent: message_stop\ndata: {"type":"message_stop"}\n\n'
)


@pytest.mark.parametrize("between", [0, 1, 5000])
def test_a_stream_of_messages_costs_the_prompt_that_its_beginning_names(between: int) -> None:
    tap = Tap()
    tap.add(chunk(_STARTED))
    for _ in range(between):
        tap.add(chunk(b'event: content_block_delta\ndata: {"type":"content_block_delta"}\n\n'))
    tap.add(chunk(_ENDED) + LAST_CHUNK)

    assert Usage(21, 8, 4) == tap.usage()


def test_a_stream_of_messages_in_one_piece_costs_its_prompt_too() -> None:
    tap = Tap()
    tap.add(chunk(_STARTED + _ENDED) + LAST_CHUNK)

    assert Usage(21, 8, 4) == tap.usage()


def test_a_whole_message_costs_what_the_cache_held_too() -> None:
    tap = Tap()
    tap.add(b'{"usage":{"cache_read_input_tokens":20,"input_tokens":1,"output_tokens":4}}')

    assert Usage(21, 20, 4) == tap.usage()


def test_a_text_about_usage_is_not_usage() -> None:
    text = json.dumps({"content": '{"usage":{"prompt_tokens":99}}'}).encode()

    assert read_usage(text) is None


@pytest.mark.parametrize("size", [1, 7, 64, 100_000])
def test_chunks_may_fall_anywhere_into_the_last_event(size: int) -> None:
    answer = b"data: {%b,%b}\n\n%b" % (USAGE, TIMINGS, DONE)
    parts = [answer[at : at + size] for at in range(0, len(answer), size)]

    assert Usage(9, 7, 8, 3.5, 5.5) == read_usage(b"".join(map(chunk, parts)) + LAST_CHUNK)


def test_a_tap_holds_little_of_a_long_answer() -> None:
    tap = Tap()
    tap.add(b"x" * (1 << 20))
    for _ in range(100):
        tap.add(b"y" * (1 << 20))
    tap.add(b"{%b}" % USAGE)

    assert Usage(9, 7, 8) == tap.usage()
    assert sum(map(len, (tap._first, *tap._last))) < 40_000


def test_a_tap_knows_its_last_bytes_across_pieces() -> None:
    tap = Tap()
    tap.add(b"data: x\n")
    tap.add(b"\n")

    assert tap.ends_with(b"x\n\n")
    assert not Tap().ends_with(b"x")


def test_a_stream_of_several_prompts_costs_what_all_of_them_cost() -> None:
    tap = SummingTap()
    tap.add(b'e0\r\ndata: {"choices":[{"finish_reason":null}],"timings":{"prompt_n":9}}\n\n\r\n')
    for prompt in (3, 5):
        timings = b'{"cache_n":1,"prompt_n":%d,"prompt_ms":1.5,"predicted_n":7,"predicted_ms":2.0}' % prompt
        tap.add(b'f0\r\ndata: {"choices":[{"finish_reason":"length"}],"timings":%b}\n\n\r\n' % timings)
        for _ in range(20):
            tap.add(b'10\r\ndata: {"choices":[{"text":"x","finish_reason":null}]}\n\n\r\n')

    assert Usage(10, 2, 14, 3.0, 4.0) == tap.usage()
    assert None is SummingTap().usage()

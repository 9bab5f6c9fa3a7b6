"""Does a request end that has taken too long: with its status before the first byte, with its event after?"""

import json
import math
from dataclasses import replace

import pytest

from relayd.api.admission import Route
from relayd.api.fleet import ModelView
from relayd.api.inference import Inference
from relayd.api.ollama import OLLAMA_DIALECT
from relayd.api.openai import openai_forwardings
from relayd.errors import RequestError
from relayd.router import TimeLimits
from relayd.scheduler import Ended
from tests.api.conftest import Doors, view
from tests.api.stage import Stage
from tests.fakes.replica import SSE_HEAD, Act, Then, act, chunk, event

CHAT = "/v1/chat/completions"
SILENT = act(then=Then.HANG)
PREFILL = act(SSE_HEAD, then=Then.HANG)
DECODING = act(SSE_HEAD + chunk(event(1)), then=Then.HANG)
SHORT = 0.05


def raw(*fields: str, stream: bool = True, path: str = CHAT) -> bytes:
    body = json.dumps({"model": "qwen", "stream": stream, "messages": []}).encode()
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json"]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", *fields, "", ""]).encode() + body


def limited(limits: TimeLimits) -> tuple[ModelView, ...]:
    return (replace(view(), times=limits),)


@pytest.mark.pure
@pytest.mark.parametrize(
    ("limits", "begun_at", "last_byte_at", "expected"),
    [
        (TimeLimits(), None, 0.0, math.inf),
        (TimeLimits(first_byte_seconds=5), None, 0.0, 105.0),
        (TimeLimits(first_byte_seconds=5), 103.0, 103.0, math.inf),
        (TimeLimits(token_gap_seconds=5), None, 0.0, math.inf),
        (TimeLimits(token_gap_seconds=5), 103.0, 107.0, 112.0),
        (TimeLimits(token_gap_seconds=5), 103.0, 0.0, 108.0),
        (TimeLimits(total_seconds=5), None, 0.0, 105.0),
        (TimeLimits(total_seconds=9, token_gap_seconds=5), 103.0, 107.0, 109.0),
        (TimeLimits(total_seconds=9, first_byte_seconds=5), None, 0.0, 105.0),
    ],
)
def test_the_next_limit_is_the_one_that_is_due_first(
    limits: TimeLimits, begun_at: float | None, last_byte_at: float, expected: float
) -> None:
    due, _ = limits.next(100.0, begun_at, last_byte_at)

    assert expected == due


@pytest.mark.pure
@pytest.mark.parametrize("asked", ["", "0", "0.0", "-1", "nan", "inf", "1e3", "5s", " 5", "9" * 30])
def test_a_header_without_seconds_is_refused(asked: str) -> None:
    with pytest.raises(RequestError, match="X-Request-Timeout"):
        TimeLimits().within(asked)


@pytest.mark.pure
@pytest.mark.parametrize(
    ("total", "asked", "expected"), [(0, "2.5", 2.5), (10, "2", 2), (10, "60", 10), (0, ".5", 0.5)]
)
def test_a_client_can_allow_less_time_but_not_more(total: float, asked: str, expected: float) -> None:
    assert TimeLimits(total_seconds=expected) == TimeLimits(total_seconds=total).within(asked)


@pytest.mark.pure
def test_a_model_has_the_limits_of_the_server_where_it_has_none_of_its_own() -> None:
    assert TimeLimits(1, 20, 3) == TimeLimits(1, 0, 3).over(TimeLimits(10, 20, 30))


@pytest.mark.fake
@pytest.mark.parametrize(
    ("limits", "script"),
    [
        (TimeLimits(first_byte_seconds=SHORT), SILENT),
        (TimeLimits(first_byte_seconds=SHORT), PREFILL),
        (TimeLimits(total_seconds=SHORT), SILENT),
        (TimeLimits(total_seconds=SHORT), PREFILL),
    ],
)
def test_what_has_not_begun_in_time_is_504_in_the_dialect(
    doors: Doors, limits: TimeLimits, script: Act
) -> None:
    stage = Stage(script=script)

    answer = stage.ask(doors, raw(), limited(limits))

    assert 504 == answer.status
    assert "request_timeout" == json.loads(answer.body)["error"]["code"]
    (exchange,) = stage.exchanges.recent()
    assert (Ended.REFUSED, "request_timeout") == (exchange.ended, exchange.code)


@pytest.mark.fake
@pytest.mark.parametrize("limits", [TimeLimits(token_gap_seconds=SHORT), TimeLimits(total_seconds=SHORT)])
def test_what_pauses_or_lasts_too_long_ends_with_the_error_event(doors: Doors, limits: TimeLimits) -> None:
    stage = Stage(script=DECODING)

    answer = stage.ask(doors, raw(), limited(limits))

    assert 200 == answer.status
    begun, error, _ = answer.body.split(b"\n\n")
    assert event(1).strip() == begun
    assert "request_timeout" == json.loads(error.removeprefix(b"data: "))["error"]["code"]
    (exchange,) = stage.exchanges.recent()
    assert (Ended.CUT, "request_timeout") == (exchange.ended, exchange.code)


@pytest.mark.fake
def test_a_client_sets_its_own_limit(doors: Doors) -> None:
    answer = Stage(script=SILENT).ask(doors, raw(f"X-Request-Timeout: {SHORT}"))

    assert 504 == answer.status
    assert f"{SHORT} s" in json.loads(answer.body)["error"]["message"]


@pytest.mark.fake
def test_a_plain_answer_has_no_first_byte_of_its_own(doors: Doors) -> None:
    """Its first byte is its last: only the whole time counts."""
    limits = TimeLimits(first_byte_seconds=SHORT / 10, token_gap_seconds=SHORT / 10, total_seconds=4 * SHORT)

    answer = Stage(script=SILENT).ask(doors, raw(stream=False), limited(limits))

    assert "not complete" in json.loads(answer.body)["error"]["message"]


@pytest.mark.fake
def test_the_error_is_written_in_the_dialect_of_the_request(doors: Doors) -> None:
    def as_ollama(inference: Inference) -> tuple[Route, ...]:
        return tuple(inference.routes(OLLAMA_DIALECT, openai_forwardings()))

    stage = Stage(script=SILENT, routes=as_ollama)
    answer = stage.ask(doors, raw(), limited(TimeLimits(total_seconds=SHORT)))

    assert 504 == answer.status
    assert isinstance(json.loads(answer.body)["error"], str)


@pytest.mark.fake
def test_the_replica_is_left_as_by_a_client_that_left(doors: Doors) -> None:
    stage = Stage(script=DECODING)
    stage.ask(doors, raw(), limited(TimeLimits(total_seconds=SHORT)))

    names = [type(one).__name__ for one in stage.events]
    assert ["Arrived", "Abandoned", "Finished"] == names[:3]


@pytest.mark.fake
def test_an_answer_in_time_is_not_touched(doors: Doors) -> None:
    answer = Stage(script=act(SSE_HEAD + chunk(event(1)) + b"0\r\n\r\n")).ask(
        doors, raw(), limited(TimeLimits(60, 60, 60))
    )

    assert (200, event(1)) == (answer.status, answer.body)

"""When is a head sent before its answer has begun, and what becomes of the answer then (head hold)?"""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from relayd.api.anthropic import anthropic_routes
from relayd.api.kept import KeptResponses
from relayd.api.ollama import ollama_routes
from relayd.api.openai import openai_routes
from relayd.api.responses import responses_routes
from relayd.clock import SystemClock
from relayd.router import TimeLimits
from relayd.scheduler import Ended
from tests.api.conftest import Doors, Response, open_doors, view
from tests.api.stage import Stage
from tests.fakes.replica import SSE_HEAD, Act, Then, act

pytestmark = pytest.mark.fake

CLOCK = SystemClock()
HELLO = [{"role": "user", "content": "Hi"}]
CHAT = {"messages": HELLO}
HOLD = 0.02
LATE = 0.5
COMMENT = b": relayd waited="

DOORS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "/v1/chat/completions": (openai_routes, CHAT),
    "/v1/messages": (anthropic_routes, CHAT | {"max_tokens": 9}),
    "/v1/responses": (partial(responses_routes, kept=KeptResponses(CLOCK), clock=CLOCK), {"input": "Hi"}),
    "/api/chat": (partial(ollama_routes, clock=CLOCK), CHAT),
}


def ask(
    doors: Doors,
    script: Act,
    path: str = "/v1/chat/completions",
    *,
    stream: bool = True,
    version: str = "1.1",
    hold: float = HOLD,
) -> tuple[Response, Stage]:
    """Send a request that is ended after `LATE` seconds if it has no answer by then."""
    routes, members = DOORS[path]
    body = json.dumps({**members, "model": "qwen", "stream": stream})
    head = f"POST {path} HTTP/{version}\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    stage = Stage(script=script, routes=routes, head_hold_seconds=hold)
    timed = replace(view(), times=TimeLimits(total_seconds=LATE))
    raw = f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()
    return stage.ask(doors, raw, (timed,)), stage


SILENT, PREFILL = act(then=Then.HANG), act(SSE_HEAD, then=Then.HANG)


@pytest.mark.parametrize("script", [SILENT, PREFILL], ids=["no head", "in prefill"])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/responses"])
def test_a_refusal_behind_an_early_head_is_an_event_of_the_dialect(path: str, script: Act) -> None:
    answer, stage = ask(open_doors, script, path)

    assert (200, "text/event-stream") == (answer.status, answer.headers["content-type"])
    assert answer.body.startswith(COMMENT)
    last = answer.body.rstrip(b"\n").rpartition(b"\n\n")[2]
    assert b"error" in last
    assert b"not complete" in last
    (exchange,) = stage.exchanges.recent()
    assert (Ended.REFUSED, "request_timeout") == (exchange.ended, exchange.code)


@pytest.mark.parametrize(
    ("path", "stream", "version", "hold"),
    [
        ("/api/chat", True, "1.1", HOLD),  # its lines have no comments
        ("/v1/chat/completions", False, "1.1", HOLD),
        ("/v1/chat/completions", True, "1.0", HOLD),
        ("/v1/chat/completions", True, "1.1", 0),
    ],
)
def test_a_client_that_takes_no_comments_gets_its_status(
    path: str, stream: bool, version: str, hold: float
) -> None:
    answer, _ = ask(open_doors, SILENT, path, stream=stream, version=version, hold=hold)

    assert 504 == answer.status


def test_what_aiohttp_answers_waits_for_its_status() -> None:
    answer, _ = ask(partial(open_doors, by_lane=False), SILENT)

    assert 504 == answer.status

"""Does a request find its model and its slot, and is the slot surely given back?"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web

from relayd.api.answer import json_answer
from relayd.api.fleet import ModelView
from relayd.api.openai import model_entry, openai_routes
from relayd.clock import SystemClock
from relayd.endpoint import Endpoint, UnixAddress
from relayd.errors import UpstreamError
from relayd.router import Call, Dispatcher, Lease
from relayd.scheduler import Arrived, Dispatch, Event, Finished, Refusal, Refuse
from relayd.secret import Secret
from relayd.units import Bytes
from tests.api.conftest import Doors, Response, StillFleet, run_with, view

pytestmark = pytest.mark.system

ENDPOINT = Endpoint(UnixAddress(Path("/nowhere.sock")), Secret("child"), "qwen#0", 1)
PATHS = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings")


@dataclass
class Stage:
    """The real dispatcher, a schedule that always answers the same, and a proxy that echoes."""

    refusal: Refusal | None = None
    failure: UpstreamError | None = None
    events: list[Event] = field(default_factory=list)
    calls: list[tuple[Call, Endpoint]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.dispatcher = Dispatcher(self.schedule, SystemClock(), max_wait_seconds=1)

    def schedule(self, event: Event) -> None:
        self.events.append(event)
        if not isinstance(event, Arrived):
            return
        if self.refusal is None:
            self.dispatcher.on_answer(Dispatch(event.ticket.id, ENDPOINT))
        else:
            self.dispatcher.on_answer(Refuse(event.ticket.id, self.refusal, "so it is", 2.5))

    async def forward(
        self,
        request: web.BaseRequest,
        call: Call,
        placement: Lease,
        request_id: str,
        headers: Mapping[str, str],
    ) -> web.StreamResponse:
        self.calls.append((call, await placement.placed()))
        if call.stream:
            answer = web.StreamResponse(headers=headers)
            answer.content_length = 0
            await answer.prepare(request)
            return answer
        if self.failure is not None:
            raise self.failure
        return json_answer({"id": request_id})

    def ask(
        self, doors: Doors, raw: bytes, views: tuple[ModelView, ...] = (view(), view("llama"))
    ) -> Response:
        async def scene() -> Response:
            fleet = StillFleet(views)
            routes = openai_routes(fleet, self.dispatcher, self, max_body=Bytes(2 << 20), body_seconds=1)
            async with doors(routes, cors_origins=("http://app.example",)) as client:
                return await client.ask(raw)

        return run_with(scene)

    @property
    def arrived(self) -> list[tuple[str, int]]:
        return [
            (one.ticket.ask.model, one.ticket.ask.width) for one in self.events if isinstance(one, Arrived)
        ]

    @property
    def gave_back(self) -> bool:
        ids = [one.ticket.id for one in self.events if isinstance(one, Arrived)]
        return ids == [one.ticket_id for one in self.events if isinstance(one, Finished)]


def post(body: object, path: str = PATHS[0]) -> bytes:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nX-Request-ID: r1\r\n"
    )
    return head.encode() + f"Content-Length: {len(raw)}\r\n\r\n".encode() + raw


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", ["llama", "llama-alias"])
def test_a_request_goes_as_it_came_to_the_model_it_names(doors: Doors, path: str, name: str) -> None:
    stage = Stage()
    raw = json.dumps({"model": name, "prompt": "a", "input": "a", "x": 1.50}).encode()

    answer = stage.ask(doors, post(raw, f"{path}?api-version=1"))

    assert (200, b'{"id":"r1"}') == (answer.status, answer.body)
    assert [(Call(path, raw), ENDPOINT)] == stage.calls
    assert [("llama", 1)] == stage.arrived
    assert stage.gave_back


def test_a_streamed_answer_carries_what_the_door_asks_for(doors: Doors) -> None:
    stage = Stage()
    raw = post({"model": "qwen", "stream": True}).replace(b"X-Req", b"Origin: http://app.example\r\nX-Req")

    answer = stage.ask(doors, raw)

    assert [True] == [call.stream for call, _ in stage.calls]
    assert ("r1", "http://app.example") == (
        answer.headers["x-request-id"],
        answer.headers["access-control-allow-origin"],
    )


def test_a_ticket_is_as_wide_as_its_request(doors: Doors) -> None:
    stage = Stage()

    stage.ask(doors, post({"model": "qwen", "messages": [], "n": 3}))

    assert [("qwen", 3)] == stage.arrived


def test_a_large_body_passes_too(doors: Doors) -> None:
    stage = Stage()

    assert 200 == stage.ask(doors, post({"model": "qwen", "messages": [], "pad": "x" * 1_000_000})).status


def test_an_unknown_model_takes_no_slot(doors: Doors) -> None:
    stage = Stage()

    answer = stage.ask(doors, post({"model": "lama"}))

    assert (404, "model_not_found", "model") == (answer.status, answer.error["code"], answer.error["param"])
    assert "Did you mean 'llama'?" in answer.error["message"]
    assert not stage.events


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"model": 1}', b'{"model":"\\ud800"}', b"\xff", b"[" * 100]
)
def test_a_body_that_cannot_be_read_takes_no_slot(doors: Doors, body: bytes) -> None:
    stage = Stage()

    assert stage.ask(doors, post(body)).status in {400, 404}
    assert not stage.events


@pytest.mark.parametrize(
    ("refusal", "status"),
    [
        (Refusal.QUEUE_FULL, 429),
        (Refusal.TIMED_OUT, 503),
        (Refusal.UNAVAILABLE, 503),
        (Refusal.ATTEMPTS_SPENT, 502),
    ],
)
def test_a_refusal_says_when_to_come_back(doors: Doors, refusal: Refusal, status: int) -> None:
    stage = Stage(refusal)

    answer = stage.ask(doors, post({"model": "qwen"}))

    assert (status, refusal.value, "3") == (
        answer.status,
        answer.error["code"],
        answer.headers["retry-after"],
    )
    assert stage.gave_back


def test_a_replica_that_fails_gives_the_slot_back(doors: Doors) -> None:
    stage = Stage(failure=UpstreamError("The replica failed."))

    answer = stage.ask(doors, post({"model": "qwen"}))

    assert (502, "upstream_failed", "r1") == (
        answer.status,
        answer.error["code"],
        answer.headers["x-request-id"],
    )
    assert stage.gave_back


def test_the_list_holds_every_model_once(doors: Doors) -> None:
    answer = json.loads(Stage().ask(doors, get("/v1/models")).body)

    assert "list" == answer["object"]
    assert [model_entry(view()) | {"aliases": ["qwen-alias"]}, "llama"] == [
        answer["data"][0],
        answer["data"][1]["id"],
    ]


@pytest.mark.parametrize(
    ("tail", "status"),
    [
        ("qwen", 200),
        ("qwen-alias", 200),
        ("%71wen", 200),
        ("a%2Fb", 200),
        ("a/b", 200),
        ("QWEN", 404),
        ("..%2Fqwen", 404),
    ],
)
def test_one_model_is_looked_up_by_name(doors: Doors, tail: str, status: int) -> None:
    answer = Stage().ask(doors, get(f"/v1/models/{tail}"), (view(), view("a/b")))

    assert status == answer.status


def test_the_demo_model_says_what_it_is() -> None:
    one, demo = model_entry(view()), model_entry(view(demo=True))

    assert {"id", "object", "created", "owned_by", "aliases", "context", "slots", "state"} == set(one)
    assert demo["demo"] is True
    assert "not a language model" in str(demo["description"])


def test_without_any_model_every_request_is_told_so(doors: Doors) -> None:
    answer = Stage().ask(doors, post({"messages": []}), ())

    assert (404, "model_not_found") == (answer.status, answer.error["code"])

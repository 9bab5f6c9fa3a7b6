"""Does a request find its model and its slot, and is the slot surely given back?"""

import json
from dataclasses import dataclass, field

import pytest

from relayd.api.fleet import ModelView
from relayd.api.inference import Inference
from relayd.api.openai import model_entry, openai_routes
from relayd.clock import SystemClock
from relayd.endpoint import Endpoint
from relayd.router import Dispatcher, Exchanges, Pools, Proxy
from relayd.scheduler import (
    Arrived,
    AttemptFailed,
    Dispatch,
    Ended,
    Event,
    Exchange,
    Finished,
    Refusal,
    Refuse,
)
from relayd.units import Bytes
from tests.api.conftest import KEY, Doors, Response, StillFleet, run_with, view
from tests.fakes.replica import DONE, LAST_CHUNK, SSE_HEAD, Act, act, chunk, event, fake_replica, json_answer

pytestmark = pytest.mark.system

PATHS = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings")
GOOD = act(json_answer(b'{"ok":true}'))
GOOD_STREAM = act(SSE_HEAD + chunk(event(1)) + chunk(DONE) + LAST_CHUNK)


@dataclass
class Stage:
    """The real data path to one replica, behind a schedule that always answers the same."""

    refusal: Refusal | None = None
    script: Act = GOOD
    keys: tuple[str, ...] = ()
    events: list[Event] = field(default_factory=list)
    requests: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.exchanges = Exchanges(SystemClock())

    def schedule(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, AttemptFailed):
            self.dispatcher.on_answer(Refuse(event.ticket_id, Refusal.ATTEMPTS_SPENT, "one is enough", 2.5))
        elif not isinstance(event, Arrived):
            return
        elif self.refusal is None:
            self.dispatcher.on_answer(Dispatch(event.ticket.id, self.endpoint))
        else:
            self.dispatcher.on_answer(Refuse(event.ticket.id, self.refusal, "so it is", 2.5))

    endpoint: Endpoint = field(init=False)
    dispatcher: Dispatcher = field(init=False)

    def ask(
        self, doors: Doors, raw: bytes, views: tuple[ModelView, ...] = (view(), view("llama"))
    ) -> Response:
        async def scene() -> Response:
            self.dispatcher = Dispatcher(self.schedule, SystemClock(), max_wait_seconds=1)
            pools = Pools()
            proxy = Proxy(pools, write_stall_seconds=5, on_fault=lambda *_: None)
            inference = Inference(
                StillFleet(views),
                self.dispatcher,
                proxy,
                self.exchanges,
                max_body=Bytes(2 << 20),
                body_seconds=1,
            )
            routes = openai_routes(inference)
            async with (
                fake_replica(None, self.script) as replica,
                doors(routes, keys=self.keys, cors_origins=("http://app.example",)) as client,
            ):
                self.endpoint = replica.endpoint
                answer = await client.ask(raw)
                pools.close()
                self.requests += replica.requests
                return answer

        return run_with(scene)

    @property
    def arrived(self) -> list[tuple[str, int]]:
        asks = [one.ticket.ask for one in self.events if isinstance(one, Arrived)]
        return [(ask.model, ask.width) for ask in asks]

    @property
    def gave_back(self) -> bool:
        ids = [one.ticket.id for one in self.events if isinstance(one, Arrived)]
        return ids == [one.ticket_id for one in self.events if isinstance(one, Finished)]

    @property
    def exchange(self) -> Exchange:
        """The only one there is."""
        (exchange,) = self.exchanges.recent()
        return exchange


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
    raw = json.dumps({"model": name, "metadata": {"a": 1.50}}).encode()

    answer = stage.ask(doors, post(raw, f"{path}?api-version=1"))

    assert (200, b'{"ok":true}') == (answer.status, answer.body)
    (request,) = stage.requests
    assert "X-Relayd-Changed" not in answer.headers
    assert (f"POST {path} HTTP/1.1".encode(), raw) == (request.split(b"\r\n")[0], request[-len(raw) :])
    assert [("llama", 1)] == stage.arrived
    assert stage.gave_back


def test_a_streamed_answer_carries_what_the_door_asks_for(doors: Doors) -> None:
    stage = Stage(script=GOOD_STREAM)
    raw = post({"model": "qwen", "stream": True}).replace(b"X-Req", b"Origin: http://app.example\r\nX-Req")

    answer = stage.ask(doors, raw)

    assert stage.exchange.ask.stream
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
    assert (Ended.REFUSED, 404, "model_not_found") == (
        stage.exchange.ended,
        stage.exchange.status,
        stage.exchange.code,
    )


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
        (Refusal.NOT_LOADED, 503),
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
    stage = Stage(script=act(b"nonsense\r\n\r\n"))

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


def test_the_name_of_the_key_reaches_the_scheduler(doors: Doors) -> None:
    stage = Stage(keys=(KEY,))
    raw = post({"model": "qwen"}).replace(b"X-Req", f"Authorization: Bearer {KEY}\r\nX-Req".encode())

    stage.ask(doors, raw)

    assert ["key-0"] == [one.ticket.ask.key for one in stage.events if isinstance(one, Arrived)]


def test_the_scheduler_and_the_log_get_the_same_exchange(doors: Doors) -> None:
    stage = Stage()

    stage.ask(doors, post({"model": "qwen"}))

    assert [stage.exchange] == [one.exchange for one in stage.events if isinstance(one, Finished)]
    assert ("r1", PATHS[0]) == (stage.exchange.request_id, stage.exchange.path)


@pytest.mark.parametrize("name", ["qwen@box", "a/b@box"])
def test_a_model_of_another_machine_is_named_with_its_node(doors: Doors, name: str) -> None:
    stage = Stage()

    assert 200 == stage.ask(doors, post({"model": name}), (view(name),)).status
    assert [(name, 1)] == stage.arrived
    assert 200 == Stage().ask(doors, get(f"/v1/models/{name}"), (view(name),)).status

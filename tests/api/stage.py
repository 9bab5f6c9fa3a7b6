"""The real data path to one replica that follows a script, behind a schedule that always says the same."""

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from relayd.api.admission import Route
from relayd.api.fleet import ModelView
from relayd.api.inference import Inference
from relayd.api.keys import KnownKeys
from relayd.api.openai import openai_routes
from relayd.clock import SystemClock
from relayd.endpoint import Endpoint
from relayd.router import Beside, Dispatcher, Exchanges, Pools, Proxy
from relayd.scheduler import Arrived, AttemptFailed, Dispatch, Event, Exchange, Finished, Refusal, Refuse
from relayd.units import Bytes
from tests.api.conftest import Doors, Response, StillFleet, run_with, view
from tests.fakes.replica import DONE, LAST_CHUNK, SSE_HEAD, Act, act, chunk, event, fake_replica, json_answer

PATHS = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings")
GOOD = act(json_answer(b'{"ok":true}'))
GOOD_STREAM = act(SSE_HEAD + chunk(event(1)) + chunk(DONE) + LAST_CHUNK)


_ADDED = re.compile(
    rb',"stream":true(,"stream_options":\{"include_usage":true\},"echo":true)?(,"return_progress":true)?\}$'
)


@dataclass
class Stage:
    """The real data path to one replica, behind a schedule that always answers the same."""

    refusal: Refusal | None = None
    script: Act = GOOD
    keys: tuple[str, ...] = ()
    known: KnownKeys | None = None
    serving: bool = True
    routes: Callable[[Inference], Iterable[Route]] = openai_routes
    head_hold_seconds: float = 0
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
            self.dispatcher = Dispatcher(
                self.schedule,
                SystemClock(),
                max_wait_seconds=1,
                head_hold_seconds=self.head_hold_seconds,
            )
            pools = Pools()
            proxy = Proxy(pools, write_stall_seconds=5, on_fault=lambda *_: None)
            inference = Inference(
                StillFleet(views),
                self.dispatcher,
                proxy,
                self.exchanges,
                max_body=Bytes(2 << 20),
                body_seconds=1,
                beside=Beside(pools, self._serving),
            )
            routes = self.routes(inference)
            async with (
                fake_replica(None, self.script) as replica,
                doors(
                    routes, keys=self.keys, known=self.known, cors_origins=("http://app.example",)
                ) as client,
            ):
                self.endpoint = replica.endpoint
                answer = await client.ask(raw)
                pools.close()
                self.requests += replica.requests
                return answer

        return run_with(scene)

    def _serving(self, _model: str) -> tuple[Endpoint, ...]:
        return (self.endpoint,) if self.serving else ()

    @property
    def arrived(self) -> list[tuple[str, int]]:
        asks = [one.ticket.ask for one in self.events if isinstance(one, Arrived)]
        return [(ask.model, ask.width) for ask in asks]

    @property
    def gave_back(self) -> bool:
        ids = [one.ticket.id for one in self.events if isinstance(one, Arrived)]
        return ids == [one.ticket_id for one in self.events if isinstance(one, Finished)]

    @property
    def sent(self) -> Any:
        """The body that the replica got, decoded, without what relayd asks for besides."""
        return json.loads(as_asked(self.requests[-1].partition(b"\r\n\r\n")[2]))

    @property
    def sent_to(self) -> str:
        """The path that the replica got."""
        return self.requests[-1].split(b" ")[1].decode()

    @property
    def exchange(self) -> Exchange:
        """The only one there is."""
        (exchange,) = self.exchanges.recent()
        return exchange


def as_asked(body: bytes) -> bytes:
    """Return a body without what relayd adds to it so that a plain answer comes as a stream."""
    return _ADDED.sub(b"}", body)


def post(body: object, path: str = PATHS[0]) -> bytes:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nX-Request-ID: r1\r\n"
    )
    return head.encode() + f"Content-Length: {len(raw)}\r\n\r\n".encode() + raw


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()

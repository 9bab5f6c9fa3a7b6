"""Who is let in by default, and what can be commanded?"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from threading import Event
from typing import Any, cast

import msgspec
import pytest

from relayd.api.admission import Access, Route
from relayd.api.control import Verb, control_app
from relayd.api.grants import KeyGrant
from relayd.api.inference import Inference
from relayd.api.keys import KnownKeys
from relayd.api.native import native_routes
from relayd.api.openai import NOT_SERVED, openai_routes
from relayd.config import parse_listen
from relayd.config.schema import Server
from relayd.daemon.operations import Operations, verbs
from relayd.rights import KeyRights
from relayd.units import KIB
from tests.api.conftest import Client, Doors, Response, view
from tests.api.stage import Stage, get, post
from tests.api.test_description import every_route


@pytest.mark.pure
def test_r1_this_machine_alone_is_listened_on_by_default() -> None:
    listen = Server().listen

    assert isinstance(listen, str)
    assert "127.0.0.1" == parse_listen(listen).host


class Named(msgspec.Struct, frozen=True):
    name: str = ""


async def _nothing(_arguments: Named) -> Named:
    return Named()


@pytest.mark.pure
def test_r15_the_verbs_are_a_closed_set_of_paths_without_look_up_by_name() -> None:
    app = control_app({("GET", "status"): Verb(Named, _nothing), ("POST", "stop"): Verb(Named, _nothing)})

    assert {("GET", "/status"), ("HEAD", "/status"), ("POST", "/stop")} >= {
        (route.method, route.resource.canonical) for route in app.router.routes() if route.resource
    }
    assert 1 << 16 == app._client_max_size


@pytest.mark.pure
def test_r15_every_verb_of_a_daemon_has_typed_arguments() -> None:
    operations = Operations.__new__(Operations)

    for (method, _), verb in verbs(operations).items():
        assert method in ("GET", "POST")
        assert issubclass(verb.arguments, msgspec.Struct)
        assert asyncio.iscoroutinefunction(verb.run)


FOR_ANYBODY = {"/", "/health", "/v1/health", "/healthz", "/readyz"}
"""Whether relayd is there, and well: without figures and names where a key is set (R9)."""

FOR_CLIENTS = {
    *("/v1/models", "/v1/models/", "/models", "/models/", "/api/v0/models", "/api/v0/models/"),
    *("/api/tags", "/api/ps", "/api/version", "/props", "/lora-adapters"),
    *("/v1/responses/", "/openapi.json", "/llms.txt", "/cors-proxy"),
    *NOT_SERVED,
    *(f"{path}/" for path in NOT_SERVED),
}
"""What a client needs to use models: none of it shows what others do."""


@pytest.mark.system
def test_r13_a_door_that_reads_is_for_figures_or_administration_unless_it_is_named_here(doors: Doors) -> None:
    found: dict[Access, set[str]] = {}

    def noted(inference: Inference) -> tuple[Route, ...]:
        routes = every_route(inference)
        for route in routes:
            if route.method == "GET":
                found.setdefault(route.access, set()).add(route.path)
        return routes

    Stage(routes=noted).ask(doors, get("/healthz"))

    assert FOR_ANYBODY == found.pop(Access.PUBLIC)
    assert FOR_CLIENTS == found.pop(Access.CLIENT)
    assert {Access.METRICS} == found.keys() - {Access.ADMIN}


BEHIND = ("/metrics", "/slots", "/models/m/metrics", "/models/org/m/slots", "/models/m/metrics?model=m")


@pytest.mark.system
@pytest.mark.parametrize("path", BEHIND)
@pytest.mark.parametrize("scope", ["inference", "admin", "node"])
def test_r53_figures_are_for_keys_of_their_scope_wherever_they_stand(
    doors: Doors, path: str, scope: str
) -> None:
    stage = Stage(routes=native_routes, known=_only(scope))

    answer = stage.ask(doors, get(path).replace(b"\r\n\r\n", _BEARER))

    assert (403, "key_scope", []) == (answer.status, answer.error["code"], stage.requests)


@pytest.mark.system
@pytest.mark.parametrize("path", BEHIND[:4])
def test_r53_a_key_for_figures_gets_them_wherever_they_stand(doors: Doors, path: str) -> None:
    stage = Stage(routes=native_routes, known=_only("metrics"))

    answer = stage.ask(doors, get(path).replace(b"\r\n\r\n", _BEARER), (view("m"), view("org/m")))

    assert "key_scope" not in answer.body.decode()
    assert answer.status != 403


@pytest.mark.system
@pytest.mark.parametrize("path", ["/v1/models", "/models/m", "/models/m/props", "/v1/responses/resp_1"])
def test_r13_a_key_for_figures_is_for_nothing_else(doors: Doors, path: str) -> None:
    stage = Stage(routes=every_route, known=_only("metrics"))

    answer = stage.ask(doors, get(path).replace(b"\r\n\r\n", _BEARER))

    assert (403, "key_scope") == (answer.status, answer.error["code"])


_BEARER = b"\r\nAuthorization: Bearer a\r\n\r\n"


def _only(scope: str) -> KnownKeys:
    grant = KeyGrant("a", "a", KeyRights(scopes=(scope,)))
    return KnownKeys({sha256(b"a").digest(): grant}, is_open=False, is_unused=False)


ADDRESSES = (
    *("api_base", "base_url", "url", "host", "endpoint", "upstream", "server", "proxy", "proxies", "target"),
    *("callback_url", "webhook", "api_key", "organization", "headers", "extra_headers", "replica", "address"),
)


@pytest.mark.fake
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/v1/embeddings"])
def test_r26_no_member_of_a_body_chooses_where_it_goes(doors: Doors, path: str) -> None:
    stage = Stage()
    body = {"model": "qwen", "messages": [{"role": "user", "content": "a"}], "prompt": "a", "input": "a"}

    answer = stage.ask(doors, post({**body, **dict.fromkeys(ADDRESSES, "http://169.254.169.254/")}, path))

    assert (200, path) == (answer.status, stage.sent_to)
    assert set() == {*ADDRESSES} & stage.sent.keys()
    assert b"169.254" not in stage.requests[-1]


LARGE = 600 * KIB
SMALL = post({"model": "qwen", "messages": []})


@dataclass
class CrowdedClient:
    """Asks for something small while something large waits to be looked into."""

    client: Client
    thread: ThreadPoolExecutor
    answers: list[str] = field(default_factory=list)

    async def ask(self, raw: bytes) -> Response:
        gate = Event()
        self.thread.submit(gate.wait)
        large = asyncio.create_task(self._noted("large", raw))
        try:
            await self._noted("small", SMALL)
        finally:
            gate.set()
        return await large

    async def _noted(self, name: str, raw: bytes) -> Response:
        answer = await self.client.ask(raw)
        self.answers.append(name)
        return answer


@pytest.mark.fake
def test_r37_what_one_client_sends_is_looked_into_aside_while_others_are_answered(doors: Doors) -> None:
    crowds, threads = list[CrowdedClient](), list[ThreadPoolExecutor]()

    def routes(inference: Inference) -> Iterable[Route]:
        threads.append(inference.aside)
        return openai_routes(inference)

    @asynccontextmanager
    async def crowded(*given: Any, **options: Any) -> AsyncIterator[CrowdedClient]:
        async with doors(*given, **options) as client:
            crowds.append(CrowdedClient(client, threads[0]))
            yield crowds[0]

    body = {"model": "qwen", "messages": [{"role": "user", "content": "a" * LARGE}]}
    answer = Stage(routes=routes).ask(cast("Doors", crowded), post(body))

    assert answer.status in (200, 400)
    assert ["small", "large"] == crowds[0].answers

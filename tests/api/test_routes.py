"""Who may use a route, in which dialect is it refused, and does a drain wait for it?"""

import asyncio
import json

import pytest
from aiohttp import web

from relayd.api.admission import Access, RequestContext, Route
from relayd.api.answer import json_answer
from tests.api.conftest import KEY, Doors, Response, run_with
from tests.router.ndjson import NDJSON

pytestmark = pytest.mark.system

BEARER = f"Authorization: Bearer {KEY}\r\n"
ADMIN_KEY = "another-key-that-is-long-enough"


async def ok(request: web.BaseRequest, context: RequestContext) -> web.StreamResponse:
    return json_answer({"method": request.method, "tail": context.tail})


ROUTES = (
    Route("POST", "/api/chat", ok, dialect=NDJSON),
    Route("GET", "/v1/files/", ok),
    Route("DELETE", "/v1/files/", ok),
    Route("POST", "/v1/files/special/", ok),
    Route("GET", "/admin/status", ok, Access.ADMIN),
)


def ask(doors: Doors, method: str, path: str, *fields: str, **options: tuple[str, ...]) -> Response:
    raw = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n{''.join(fields)}\r\n"

    async def scene() -> Response:
        async with doors(ROUTES, **options) as client:
            return await client.ask(raw.encode())

    return run_with(scene)


@pytest.mark.parametrize(
    ("method", "fields", "status", "code"),
    [
        ("POST", ("Origin: http://evil.example\r\n",), 403, "origin_not_allowed"),
        ("POST", ("x-api-key: wrong\r\n",), 401, "invalid_api_key"),
        ("POST", (), 401, "invalid_api_key"),
        ("PUT", (BEARER,), 405, "method_not_allowed"),
    ],
)
def test_what_the_door_itself_refuses_is_told_in_the_dialect_of_the_path(
    doors: Doors, method: str, fields: tuple[str, ...], status: int, code: str
) -> None:
    answer = ask(doors, method, "/api/chat", *fields, keys=(KEY,))

    assert (status, code) == (answer.status, json.loads(answer.body)["reason"])


def test_a_host_that_is_not_ours_is_told_in_the_dialect_of_the_path(doors: Doors) -> None:
    async def scene() -> Response:
        async with doors(ROUTES) as client:
            return await client.ask(b"POST /api/chat HTTP/1.1\r\nHost: evil.example\r\n\r\n")

    answer = run_with(scene)

    assert (421, "host_not_allowed") == (answer.status, json.loads(answer.body)["reason"])


def test_a_path_that_nobody_knows_is_refused_in_the_dialect_of_the_door(doors: Doors) -> None:
    assert "not_found" == ask(doors, "GET", "/api/nothing").error["code"]


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_several_methods_share_a_prefix(doors: Doors, method: str) -> None:
    answer = ask(doors, method, "/v1/files/a/b")

    assert {"method": method, "tail": "a/b"} == json.loads(answer.body)


def test_the_longest_prefix_wins(doors: Doors) -> None:
    assert {"method": "POST", "tail": "x"} == json.loads(ask(doors, "POST", "/v1/files/special/x").body)
    assert 405 == ask(doors, "GET", "/v1/files/special/x").status


def test_every_method_of_a_prefix_is_allowed_by_name(doors: Doors) -> None:
    assert "GET, DELETE, HEAD, OPTIONS" == ask(doors, "OPTIONS", "/v1/files/x").headers["allow"]


@pytest.mark.parametrize(
    ("keys", "fields", "status"),
    [
        ((), (), 403),
        ((KEY, ADMIN_KEY), (), 401),
        ((KEY, ADMIN_KEY), (BEARER,), 403),
        ((KEY, ADMIN_KEY), (f"x-api-key: {ADMIN_KEY}\r\n",), 200),
    ],
    ids=["no keys at all", "no key", "a client's key", "an administrator's key"],
)
def test_only_an_administrator_may_administer(
    doors: Doors, keys: tuple[str, ...], fields: tuple[str, ...], status: int
) -> None:
    assert status == ask(doors, "GET", "/admin/status", *fields, keys=keys, admins=("key-1",)).status


async def endless(request: web.BaseRequest, _context: RequestContext) -> web.StreamResponse:
    answer = web.StreamResponse()
    await answer.prepare(request)
    await answer.write(b": open\n\n")
    await asyncio.Event().wait()
    return answer


@pytest.mark.parametrize("lasting", [True, False])
def test_a_drain_ends_a_lasting_answer_and_waits_for_any_other(doors: Doors, lasting: bool) -> None:
    routes = (Route("GET", "/events", endless, lasting=lasting),)

    async def scene() -> tuple[bool, bytes]:
        async with doors(routes) as client:
            assert client.listener is not None
            reader, writer = await client.connect()
            writer.write(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await reader.readuntil(b": open\n\n")
            client.listener.stop_listening()
            drained = await client.listener.drained(0.05)
            rest = await reader.read() if lasting else b""
            writer.close()
            return drained, rest

    drained, rest = run_with(scene)

    assert lasting == drained
    assert not rest.endswith(b"0\r\n\r\n"), "an endless answer was given an end"


def test_a_lasting_answer_that_ended_by_itself_is_waited_for_again(doors: Doors) -> None:
    routes = (Route("GET", "/events", ok, lasting=True),)

    async def scene() -> bool:
        async with doors(routes) as client:
            assert client.listener is not None
            reader, writer = await client.connect()
            writer.write(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await reader.readuntil(b"}")
            drained = await client.listener.drained(0.05)
            writer.close()
            return drained

    assert not run_with(scene)

"""Who may administer over TCP, and how is a verb answered, refused, followed and written down?"""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator

import msgspec
import pytest

from relayd.api.admin import Action, admin_routes
from relayd.api.admission import Route
from relayd.api.control import Feed, Verb
from relayd.api.description import llms_text, openapi
from relayd.api.served import peer_of
from relayd.errors import StateError
from tests.api.conftest import KEY, Doors, Response, run_with

pytestmark = pytest.mark.system

BEARER = f"Authorization: Bearer {KEY}\r\n"


class Greeting(msgspec.Struct, frozen=True):
    name: str
    loud: bool = False


class Greeted(msgspec.Struct, frozen=True):
    text: str


async def greet(greeting: Greeting) -> Greeted:
    if greeting.name == "nobody":
        raise StateError("nobody is here", remedy="Name somebody.")
    return Greeted(greeting.name.upper() if greeting.loud else greeting.name)


async def count(_greeting: Greeting) -> AsyncGenerator[Greeted]:
    async def counting() -> AsyncGenerator[Greeted]:
        yield Greeted("one")
        yield Greeted("two")
        await asyncio.Event().wait()

    return counting()


ACTIONS = (
    Action("POST", "/admin/greet/{name}", "greet", "Greet somebody.", "name", status=201),
    Action("GET", "/admin/greet/{name}", "greet", "Greet somebody.", "name"),
    Action("GET", "/admin/count", "count", "Count.", streams=True),
    Action("GET", "/admin/missing", "missing", "Is not offered."),
)


def routes() -> tuple[Route, ...]:
    return admin_routes({"greet": Verb(Greeting, greet), "count": Feed(Greeting, count)}, peer_of, ACTIONS)


def ask(
    doors: Doors, first: str, body: bytes = b"", *fields: str, admins: tuple[str, ...] = ("key-0",)
) -> Response:
    head = f"{first} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n{''.join(fields)}\r\n"

    async def scene() -> Response:
        async with doors(routes(), keys=(KEY,), admins=admins) as client:
            return await client.ask(head.encode() + body)

    return run_with(scene)


def test_a_verb_is_answered_with_what_it_returns(doors: Doors) -> None:
    answer = ask(doors, "POST /admin/greet/a%2Fb", b'{"loud": true}', BEARER)

    assert (201, {"text": "A/B"}) == (answer.status, json.loads(answer.body))
    assert answer.headers["x-request-id"]


def test_what_a_verb_refuses_has_its_own_code_and_remedy(doors: Doors) -> None:
    answer = ask(doors, "POST /admin/greet/nobody", b"", BEARER)

    assert (500, "state_unusable") == (answer.status, answer.error["code"])
    assert "nobody is here. Name somebody." == answer.error["message"]


@pytest.mark.parametrize(
    ("fields", "admins", "status", "code"),
    [
        ((), ("key-0",), 401, "invalid_api_key"),
        (("Authorization: Bearer wrong\r\n",), ("key-0",), 401, "invalid_api_key"),
        ((BEARER,), ("another",), 403, "admin_key_required"),
        ((BEARER,), (), 403, "admin_key_required"),
        ((BEARER, "Origin: http://evil.example\r\n"), ("key-0",), 403, "origin_not_allowed"),
    ],
    ids=["no key", "a wrong key", "a client's key", "no administrator's key exists", "a foreign page"],
)
@pytest.mark.parametrize("first", ["GET /admin/greet/x", "POST /admin/greet/x", "GET /admin/count"])
def test_only_administrators_are_let_in(
    doors: Doors, first: str, fields: tuple[str, ...], admins: tuple[str, ...], status: int, code: str
) -> None:
    answer = ask(doors, first, b"", *fields, admins=admins)

    assert (status, code) == (answer.status, answer.error["code"])


def test_r52_a_change_leaves_an_audit_line_with_address_and_key_and_a_look_leaves_none(
    doors: Doors, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "relayd.admin"):
        ask(doors, "GET /admin/greet/x", b"", BEARER)
        assert [] == caplog.messages
        ask(doors, "POST /admin/greet/x", b"", BEARER)

    assert ["admin.command verb=greet name=x client=127.0.0.1 key=key-0"] == caplog.messages
    assert KEY not in caplog.text


def test_a_body_that_is_too_large_is_refused_unread(doors: Doors) -> None:
    answer = ask(doors, "POST /admin/greet/x", b" " * 70_000, BEARER)

    assert (413, "body_too_large") == (answer.status, answer.error["code"])


def test_a_feed_is_an_event_stream_that_lasts_until_its_client_leaves(doors: Doors) -> None:
    async def scene() -> tuple[bytes, bool]:
        async with doors(routes(), keys=(KEY,), admins=("key-0",)) as client:
            reader, writer = await client.connect()
            writer.write(f"GET /admin/count?name=x HTTP/1.1\r\nHost: localhost\r\n{BEARER}\r\n".encode())
            told = await reader.readuntil(b'data: {"text":"two"}\n\n')
            assert client.listener is not None
            client.listener.stop_listening()
            drained = await client.listener.drained(0.05)
            writer.close()
            return told, drained

    told, drained = run_with(scene)

    assert b"Content-Type: text/event-stream\r\n" in told
    assert told.index(b": open") < told.index(b'data: {"text":"one"}')
    assert drained, "a drain waited for a stream without end"


def test_what_is_offered_is_described_with_its_arguments() -> None:
    paths = openapi(routes())["paths"]

    assert {"/admin/greet/{name}", "/admin/count"} == paths.keys()
    post = paths["/admin/greet/{name}"]["post"]
    assert {"loud"} == post["requestBody"]["content"]["application/json"]["schema"]["properties"].keys()
    assert {"201", "default"} == post["responses"].keys()
    assert ["loud", "name"] == [one["name"] for one in paths["/admin/greet/{name}"]["get"]["parameters"]]
    assert {"text/event-stream"} == paths["/admin/count"]["get"]["responses"]["200"]["content"].keys()
    assert "`POST /admin/greet/{name}`: Greet somebody." in llms_text(routes())

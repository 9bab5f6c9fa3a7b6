"""What a daemon's HTTP side opens, and by whose rules."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from relayd.api import FailedKeys, Keyring, ModelState, ModelView
from relayd.clock import SystemClock
from relayd.config import Config
from relayd.config.schema import Server
from relayd.daemon.doors import Doors
from relayd.daemon.keybook import KeyBook
from relayd.errors import ListenError
from relayd.router import Dispatcher, Pools
from relayd.scheduler import Arrived, Ended, Event, Refusal, Refuse
from relayd.secret import Secret
from tests.api.conftest import Client, Response

pytestmark = pytest.mark.system

KEY = "a-key-that-is-long-enough-for-relayd"
ANYWHERE = Server(listen="127.0.0.1:0")
KEYED = Server(listen="127.0.0.1:0", api_key=Secret(KEY))


class View:
    """One model that is not loaded."""

    def models(self) -> Sequence[ModelView]:
        return (ModelView("m", (), 0, 1, 4, 4096, ModelState.COLD, False, 1_700_000_000, 1),)


class Schedule:
    """Refuses everything, for want of memory."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.dispatcher = Dispatcher(self.post, SystemClock(), max_wait_seconds=5)

    def post(self, event: Event) -> None:
        if isinstance(event, Arrived):
            self.keys.append(event.ticket.ask.key)
            refuse = Refuse(event.ticket.id, Refusal.NOT_LOADED, "b holds 3 GiB of 4", 30.0)
            self.dispatcher.on_answer(refuse)


@asynccontextmanager
async def opened(
    server: Server, book: KeyBook | None = None
) -> AsyncIterator[tuple[Doors, Client, Schedule]]:
    schedule = Schedule()
    book = book or KeyBook(Path("no-file"), SystemClock())
    book.configure(server)
    doors = Doors(View(), schedule.dispatcher, Pools(), SystemClock(), book.keyring)
    url = await doors.open(Config(server=server))
    try:
        yield doors, Client(int(url.rpartition(":")[2])), schedule
    finally:
        await doors.listener.close(0.2)


async def post(client: Client, *fields: str) -> Response:
    body = json.dumps({"model": "m", "messages": []}).encode()
    head = [
        "POST /v1/chat/completions HTTP/1.1",
        "Host: localhost",
        "Content-Type: application/json",
        *fields,
    ]
    return await client.ask("\r\n".join([*head, f"Content-Length: {len(body)}", "", ""]).encode() + body)


async def test_a_model_that_is_not_loaded_is_refused_with_reason_and_remedy() -> None:
    async with opened(ANYWHERE) as (doors, client, _):
        answer = await post(client)
        (exchange,) = doors.exchanges.recent()

    assert (503, "model_not_loaded", "30") == (
        answer.status,
        answer.error["code"],
        answer.headers["retry-after"],
    )
    assert "b holds 3 GiB of 4. " in answer.error["message"]
    assert "relayd status" in answer.error["message"]
    assert (Ended.REFUSED, 503, "model_not_loaded") == (exchange.ended, exchange.status, exchange.code)


async def test_a_model_that_is_not_loaded_is_listed_so_and_nothing_is_degraded() -> None:
    async with opened(ANYWHERE) as (_, client, _schedule):
        models = await client.ask(b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n")
        health = await client.ask(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")

    assert ["cold"] == [model["state"] for model in json.loads(models.body)["data"]]
    assert "ok" == json.loads(health.body)["status"]


async def test_the_configured_key_has_a_name_in_the_schedule() -> None:
    async with opened(KEYED) as (_, client, schedule):
        refused, accepted = await post(client), await post(client, f"x-api-key: {KEY}")

    assert [401, 503] == [refused.status, accepted.status]
    assert ["configured"] == schedule.keys


async def test_a_reload_judges_the_next_request_by_the_new_rules() -> None:
    book = KeyBook(Path("no-file"), SystemClock())
    async with opened(ANYWHERE, book) as (doors, client, _):
        before = await post(client)
        book.configure(KEYED)
        doors.follow(doors.make(Config(server=KEYED)))
        after = await post(client)

    assert [503, 401] == [before.status, after.status]


async def test_a_port_that_is_taken_is_refused() -> None:
    async with opened(ANYWHERE) as (_, client, schedule):
        taken = Config(server=Server(listen=f"127.0.0.1:{client.port}"))
        second = Doors(
            View(), schedule.dispatcher, Pools(), SystemClock(), Keyring(FailedKeys(SystemClock()))
        )
        with pytest.raises(ListenError):
            await second.open(taken)


async def test_every_listed_address_serves_and_closes_with_the_others() -> None:
    async with opened(Server(listen=("127.0.0.1:0", "127.0.0.2:0"))) as (doors, _, _):
        answers = [
            await Client(port, host=host).ask(b"GET /healthz HTTP/1.1\r\nHost: %b\r\n\r\n" % host.encode())
            for host, port in doors.listener.addresses
        ]

    assert [200, 200] == [answer.status for answer in answers]
    assert "127.0.0.1:0, 127.0.0.2:0" == doors.listen


async def test_where_one_address_is_taken_none_stays_open() -> None:
    async with opened(ANYWHERE) as (_, client, schedule):
        both = Config(server=Server(listen=(f"127.0.0.2:{client.port}", f"127.0.0.1:{client.port}")))
        book = KeyBook(Path("no-file"), SystemClock())
        second = Doors(View(), schedule.dispatcher, Pools(), SystemClock(), book.keyring)
        with pytest.raises(ListenError, match=f"127.0.0.1:{client.port}"):
            await second.open(both)
        with pytest.raises(ConnectionRefusedError):
            await Client(client.port, host="127.0.0.2").connect()

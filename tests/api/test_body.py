"""Is a body taken in whole, within its limit and in time, or refused without harm?"""

import asyncio
import gzip

import pytest

from relayd.api.bodies import Bodies
from relayd.router import ENDING
from relayd.units import Bytes
from tests.api.conftest import BODY_LIMIT, Doors, Echo, Response, direct_route, read_response, run_with
from tests.daemons import DEADLINE_SECONDS

pytestmark = pytest.mark.system

CHAT = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


def ask(doors: Doors, raw: bytes) -> Response:
    async def scene() -> Response:
        async with doors() as client:
            return await client.ask(raw)

    return run_with(scene)


def test_a_body_of_exactly_the_limit_passes(doors: Doors) -> None:
    body = b"x" * BODY_LIMIT

    answer = ask(doors, CHAT + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)

    assert (200, b'{"bytes":100000}') == (answer.status, answer.body)


def test_200_megabytes_are_refused_by_their_declared_length(doors: Doors) -> None:
    answer = ask(doors, CHAT + b"Content-Length: 200000000\r\n\r\n")

    assert (413, "body_too_large", "close") == (
        answer.status, answer.error["code"], answer.headers["connection"],
    )  # fmt: skip
    assert "server.max_body_mib" in answer.error["message"]


def test_r31_chunks_are_counted_as_they_come(doors: Doors) -> None:
    chunk = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"

    answer = ask(doors, CHAT + b"Transfer-Encoding: chunked\r\n\r\n" + 4 * chunk)

    assert (413, "close") == (answer.status, answer.headers["connection"])


def test_r31_a_compressed_bomb_is_refused_unopened(doors: Doors) -> None:
    bomb = gzip.compress(b"0" * 20_000_000)
    assert len(bomb) < BODY_LIMIT

    answer = ask(
        doors, CHAT + f"Content-Encoding: gzip\r\nContent-Length: {len(bomb)}\r\n\r\n".encode() + bomb
    )

    assert (415, "unsupported_media_type") == (answer.status, answer.error["code"])


@pytest.mark.parametrize("before", [b"", b"{"])
def test_a_body_that_stops_is_given_up(doors: Doors, before: bytes) -> None:
    answer = ask(doors, CHAT + b"Content-Length: 2\r\n\r\n" + before)

    assert (408, "body_timeout") == (answer.status, answer.error["code"])


def test_r30_one_byte_at_a_time_is_no_progress(doors: Doors) -> None:
    async def scene() -> Response:
        async with doors() as client:
            reader, writer = await client.connect()
            writer.write(CHAT + b"Content-Length: 1000\r\n\r\n")
            dripping = asyncio.create_task(drip(writer))
            answer = await read_response(reader)
            dripping.cancel()
            writer.close()
            return answer

    async def drip(writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"x")
            await asyncio.sleep(0.02)

    assert 408 == run_with(scene).status


def test_a_body_whose_framing_breaks_on_the_way_is_answered_once(doors: Doors) -> None:
    async def scene() -> tuple[Response, bytes]:
        async with doors() as client:
            reader, writer = await client.connect()
            writer.write(CHAT + b"Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n")  # the body is being read
            writer.write(b"2\r\n{}\r\nzz\r\n")
            answer, rest = await read_response(reader), await reader.read()
            writer.close()
            return answer, rest

    answer, rest = run_with(scene)

    assert (400, "invalid_request", b"") == (answer.status, answer.error["code"], rest)


def test_a_client_that_expects_it_is_told_to_continue_once_it_may(doors: Doors) -> None:
    async def scene() -> tuple[bytes, Response]:
        async with doors() as client:
            reader, writer = await client.connect()
            writer.write(CHAT + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
            interim = await reader.readuntil(b"\r\n\r\n")
            writer.write(b"{}")
            answer = await read_response(reader)
            writer.close()
            return interim, answer

    interim, answer = run_with(scene)

    assert b"HTTP/1.1 100 Continue\r\n\r\n" == interim
    assert (200, b'{"bytes":2}') == (answer.status, answer.body)


def test_a_client_that_is_refused_is_not_told_to_continue(doors: Doors) -> None:
    answer = ask(doors, CHAT + b"Expect: 100-continue\r\nContent-Length: 200000000\r\n\r\n")

    assert 413 == answer.status


def test_bodies_beyond_the_budget_are_refused_and_their_connections_closed(doors: Doors) -> None:
    async def scene() -> tuple[list[Response], int]:
        bodies = Bodies(Bytes(50_000))
        route = direct_route("/v1/chat/completions", Echo(bodies, DEADLINE_SECONDS))
        async with doors((route,)) as client:
            declared = await client.ask(CHAT + b"Content-Length: 50001\r\n\r\n")
            chunks = 2 * (b"8000\r\n" + b"x" * 0x8000 + b"\r\n")
            in_chunks = await client.ask(CHAT + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)
            return [declared, in_chunks], bodies.used

    answers, used = run_with(scene)

    assert 2 * [(503, "body_budget_spent", "close", "2")] == [
        (one.status, one.error["code"], one.headers["connection"], one.headers["retry-after"])
        for one in answers
    ]
    assert 0 == used


def test_a_body_that_still_arrives_at_the_end_is_answered(doors: Doors) -> None:
    async def scene() -> tuple[Response, int]:
        bodies = Bodies(Bytes(50_000))
        route = direct_route("/v1/chat/completions", Echo(bodies, DEADLINE_SECONDS))
        async with doors((route,)) as client:
            reader, writer = await client.connect()
            writer.write(CHAT + b"Content-Length: 100\r\n\r\n{")
            while not bodies.senders:
                await asyncio.sleep(0)
            bodies.interrupt(ENDING)
            answer = await read_response(reader)
            writer.close()
            return answer, bodies.used

    answer, used = run_with(scene)

    assert (503, "server_stopping", "1") == (
        answer.status,
        answer.error["code"],
        answer.headers["retry-after"],
    )
    assert 0 == used


def test_a_small_refused_body_keeps_the_connection(doors: Doors) -> None:
    async def scene() -> list[int]:
        async with doors() as client:
            reader, writer = await client.connect()
            form = CHAT.replace(b"/json", b"/xml") + b"Sec-Fetch-Site: none\r\n"
            writer.write(2 * (form + b"Content-Length: 2\r\n\r\n{}"))
            statuses = [(await read_response(reader)).status for _ in range(2)]
            writer.close()
            return statuses

    assert [415, 415] == run_with(scene)

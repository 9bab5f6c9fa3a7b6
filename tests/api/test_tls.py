"""Are connections encrypted by either way in, is a renewed certificate taken up, and is a bad one refused?"""

import asyncio
import json
import shutil
import ssl
from pathlib import Path

import pytest

from relayd.api.limiter import ConnectionLimits
from relayd.api.tls import Certificate
from relayd.errors import ConfigError
from tests.api.conftest import Doors, Response, read_response, run_with
from tests.certificates import make_certificate

pytestmark = pytest.mark.system

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
CHAT = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"


def trusting(cert: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(cert))


async def connect(port: int, cert: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", port, ssl=trusting(cert), server_hostname="localhost")


def test_requests_are_answered_over_one_encrypted_connection(doors: Doors, tmp_path: Path) -> None:
    cert, key = make_certificate(tmp_path)
    body = b"x" * 90_000

    async def scene() -> list[Response]:
        async with doors(tls=Certificate(cert, key).context) as client:
            reader, writer = await connect(client.port, cert)
            writer.write(HEALTH + CHAT % len(body) + body + HEALTH)
            answers = [await read_response(reader) for _ in range(3)]
            writer.close()
            return answers

    answers = run_with(scene)

    assert [200, 200, 200] == [one.status for one in answers]
    assert {"bytes": 90_000} == json.loads(answers[1].body)


def test_a_page_of_the_servers_own_encrypted_origin_may_ask(doors: Doors, tmp_path: Path) -> None:
    cert, key = make_certificate(tmp_path)

    async def scene() -> list[int]:
        async with doors(tls=Certificate(cert, key).context) as client:
            reader, writer = await connect(client.port, cert)
            statuses = []
            for origin in (b"https://localhost", b"http://localhost"):
                writer.write(HEALTH.replace(b"\r\n\r\n", b"\r\nOrigin: " + origin + b"\r\n\r\n"))
                statuses.append((await read_response(reader)).status)
            writer.close()
            return statuses

    assert [200, 403] == run_with(scene)


def test_what_does_not_encrypt_and_what_is_silent_is_let_go_and_the_next_one_served(
    doors: Doors, tmp_path: Path
) -> None:
    cert, key = make_certificate(tmp_path)
    limits = ConnectionLimits(header_seconds=0.2, connections=3, connections_per_peer=3)

    async def scene() -> tuple[bytes, bytes, int]:
        async with doors(tls=Certificate(cert, key).context, limits=limits) as client:
            plain, sender = await client.connect()
            sender.write(HEALTH)
            silent = [await client.connect() for _ in range(2)]
            told = [await to_end(reader) for reader in (plain, *(reader for reader, _ in silent))]
            reader, writer = await connect(client.port, cert)
            writer.write(HEALTH)
            answer = await read_response(reader)
            for one in (sender, writer, *(writer for _, writer in silent)):
                one.close()
            return told[0], b"".join(told[1:]), answer.status

    plain, silent, status = run_with(scene)

    assert b"HTTP" not in plain
    assert (b"", 200) == (silent, status)


async def to_end(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""


def test_a_client_that_leaves_in_a_body_takes_nothing_with_it(doors: Doors, tmp_path: Path) -> None:
    cert, key = make_certificate(tmp_path)

    async def scene() -> int:
        async with doors(tls=Certificate(cert, key).context) as client:
            _, leaving = await connect(client.port, cert)
            leaving.write(CHAT % 1000 + b"x")
            await leaving.drain()
            leaving.transport.abort()
            reader, writer = await connect(client.port, cert)
            writer.write(HEALTH)
            status = (await read_response(reader)).status
            writer.close()
            return status

    assert 200 == run_with(scene)


def test_a_renewed_certificate_is_shown_to_those_who_come_then(doors: Doors, tmp_path: Path) -> None:
    (tmp_path / "renewed").mkdir()
    cert, key = make_certificate(tmp_path)
    renewed, its_key = make_certificate(tmp_path / "renewed")
    certificate = Certificate(cert, key)

    async def scene() -> list[int]:
        async with doors(tls=certificate.context) as client:
            before = await connect(client.port, cert)
            assert not certificate.refresh()
            shutil.copy(renewed, cert)
            with pytest.raises(ConfigError, match="cannot be used"):
                certificate.refresh()
            shutil.copy(its_key, key)
            assert certificate.refresh()
            statuses = []
            for reader, writer in (before, await connect(client.port, renewed)):
                writer.write(HEALTH)
                statuses.append((await read_response(reader)).status)
                writer.close()
            return statuses

    assert [200, 200] == run_with(scene)


@pytest.mark.parametrize("fault", ["missing", "readable by all", "of another certificate", "not PEM"])
def test_a_key_that_cannot_be_used_is_refused_with_what_to_do(tmp_path: Path, fault: str) -> None:
    cert, key = make_certificate(tmp_path)
    match fault:
        case "missing":
            key.unlink()
        case "readable by all":
            key.chmod(0o644)
        case "of another certificate":
            key = make_certificate(tmp_path, "another")[1]
        case "not PEM":
            key.write_text("nothing")
            key.chmod(0o600)

    with pytest.raises(ConfigError) as refused:
        Certificate(cert, key)

    assert "server.tls" in refused.value.message

"""Does the nginx example pass streams on as they are?"""

import asyncio
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from tests.daemons import DEADLINE_SECONDS
from tests.extras import EXTRAS

T = TypeVar("T")

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
pytestmark = [
    pytest.mark.fake,
    pytest.mark.skipif(NGINX is None, reason="nginx is not installed (Debian: apt install nginx-light)"),
]

MAIN = """
daemon off;
master_process off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/site.conf;
}}
"""

REQUEST = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: models.example.org\r\nAuthorization: Bearer k\r\n"
    b"Accept-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}"
)
HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
    b"X-Request-ID: r1\r\n\r\n"
)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


@dataclass
class Exchange:
    """One connection that nginx opened to relayd's stand-in."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def head(self) -> str:
        return (await self.reader.readuntil(b"\r\n\r\n")).decode()

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()


@dataclass
class Site:
    """nginx with the example's site, and the exchanges that reach the other side."""

    socket: Path
    exchanges: asyncio.Queue[Exchange]

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect as soon as nginx listens."""
        while True:
            try:
                return await asyncio.open_unix_connection(self.socket)
            except (FileNotFoundError, ConnectionRefusedError):
                await asyncio.sleep(0.01)

    async def exchange(self) -> Exchange:
        return await self.exchanges.get()


def write_site(folder: Path, upstream: int, listen: str = "") -> Path:
    """Write the example with addresses of our own, and without the certificate that is not here."""
    site = (EXTRAS / "nginx.conf").read_text()
    place = listen or f"unix:{folder}/nginx.sock"
    for old, new in (("443 ssl", place), ("127.0.0.1:8080", f"127.0.0.1:{upstream}")):
        assert old in site
        site = site.replace(old, new)
    (folder / "site.conf").write_text(re.sub(r" *ssl_certificate.*\n", "", site))
    (folder / "nginx.conf").write_text(MAIN.format(folder=folder))
    return folder / "nginx.conf"


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Site]:
    exchanges: asyncio.Queue[Exchange] = asyncio.Queue()
    writers: list[asyncio.StreamWriter] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await exchanges.put(Exchange(reader, writer))

    upstream = await asyncio.start_server(accept, "127.0.0.1", 0)
    conf = write_site(folder, upstream.sockets[0].getsockname()[1])
    assert NGINX
    nginx = await asyncio.create_subprocess_exec(
        NGINX, "-p", str(folder), "-c", str(conf), "-e", str(folder / "error.log")
    )
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            yield Site(folder / "nginx.sock", exchanges)
    finally:
        nginx.terminate()
        await nginx.wait()
        for writer in writers:
            writer.close()
        upstream.close()


def play(scene: Callable[[Site], Coroutine[None, None, T]], folder: Path) -> T:
    async def whole() -> T:
        async with opened(folder) as site:
            return await scene(site)

    return asyncio.run(whole())


def test_a_token_reaches_the_client_before_the_next_one_is_made(home: Path) -> None:
    async def scene(site: Site) -> list[bytes]:
        reader, writer = await site.connect()
        writer.write(REQUEST)
        relayd = await site.exchange()
        await relayd.head()
        await relayd.send(HEAD)
        seen = []
        for token in (b"data: a\n\n", b"data: b\n\n"):
            await relayd.send(chunk(token))
            await reader.readuntil(token)
            seen.append(token)
        writer.close()
        return seen

    assert [b"data: a\n\n", b"data: b\n\n"] == play(scene, home)


def test_a_client_that_leaves_is_missed_by_relayd(home: Path) -> None:
    async def scene(site: Site) -> bytes:
        reader, writer = await site.connect()
        writer.write(REQUEST)
        relayd = await site.exchange()
        await relayd.head()
        await relayd.send(HEAD + chunk(b"data: a\n\n"))
        await reader.readuntil(b"data: a\n\n")
        writer.close()
        return await relayd.reader.read()

    assert play(scene, home) == b"{}"


def test_relayd_sees_a_host_it_lets_in_and_the_key(home: Path) -> None:
    async def scene(site: Site) -> str:
        _, writer = await site.connect()
        writer.write(REQUEST)
        head = await (await site.exchange()).head()
        writer.close()
        return head

    head = play(scene, home)
    assert "\r\nHost: 127.0.0.1\r\n" in head
    assert "\r\nAuthorization: Bearer k\r\n" in head
    assert "\r\nConnection:" not in head


def test_a_request_that_fails_is_not_sent_a_second_time(home: Path) -> None:
    async def scene(site: Site) -> tuple[bytes, bool]:
        reader, writer = await site.connect()
        writer.write(REQUEST)
        relayd = await site.exchange()
        await relayd.head()
        relayd.writer.transport.abort()
        status = await reader.readline()
        writer.close()
        return status, site.exchanges.empty()

    assert (b"HTTP/1.1 502 Bad Gateway\r\n", True) == play(scene, home)


def test_nginx_finds_nothing_to_say_of_the_site(home: Path) -> None:
    assert NGINX
    conf = write_site(home, 8080)
    command = [NGINX, "-t", "-p", str(home), "-c", str(conf), "-e", str(home / "error.log")]

    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=DEADLINE_SECONDS)

    assert 0 == done.returncode, done.stderr
    assert "warn" not in done.stderr

"""What does a request, and a chunk, cost in relayd, in nginx and in plain aiohttp?

    python -m tests.bench.data_path [--seconds 3] [--rounds 3]

One backend answers behind all three, over a unix socket: 600 bytes of JSON, or 64 events of
about 235 bytes, 2 ms apart, which is the size of the engine's own. `wrk` asks with 32
connections. What is printed is the CPU time of the proxy's process alone; compare ratios of one
run, not figures of two. Needs nginx and wrk (`apt-get install nginx wrk`).
"""

import argparse
import asyncio
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import cast

import psutil
import uvloop
from aiohttp import ClientSession, UnixConnector, web

from relayd.api.openai import OPENAI
from relayd.api.spliced import client_of
from relayd.clock import SystemClock
from relayd.endpoint import Endpoint, UnixAddress
from relayd.router import Call, Dispatcher, Exchanges, Pools, Proxy, peek
from relayd.scheduler import Arrived, Ask, Dispatch, Event
from relayd.secret import Secret

CONNECTIONS = 32
EVENTS = 64
EVENT_SECONDS = 0.002
HOST, FIRST_PORT = "127.0.0.1", 18700

ANSWER = b'{"choices":"%b"}' % (b"x" * 584)
EVENT = b"data: %b\n\n" % (b"y" * 227)
ANSWER_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(ANSWER)
STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNK = b"%x\r\n%b\r\n" % (len(EVENT), EVENT)

LUA = """wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{{"model":"m","messages":[{{"role":"user","content":"hi"}}],"stream":{stream}}}'
"""

NGINX = """daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  keepalive_requests 10000000;
  upstream backend {{ server unix:{backend}; keepalive 64; }}
  server {{
    listen {host}:{port};
    location / {{
      proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
    }}
  }}
}}
"""


class Backend(asyncio.Protocol):
    """Answers without looking: whole, or as a stream."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self._left = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if not data.endswith(b"}"):
            return
        if b'"stream":true' in data:
            self.transport.write(STREAM_HEAD)
            self._left = EVENTS
            self._send_event()
        else:
            self.transport.write(ANSWER_HEAD + ANSWER)

    def _send_event(self) -> None:
        if self.transport.is_closing():
            return
        if self._left:
            self._left -= 1
            self.transport.write(CHUNK)
            asyncio.get_running_loop().call_later(EVENT_SECONDS, self._send_event)
        else:
            self.transport.write(b"0\r\n\r\n")


Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def relayd_handler(backend: Path) -> Handler:
    """Return the data path behind a schedule that always has room."""
    clock, endpoint = SystemClock(), Endpoint(UnixAddress(backend), Secret("k"), "m#0", 1)

    def place(event: Event) -> None:
        if isinstance(event, Arrived):
            dispatcher.on_answer(Dispatch(event.ticket.id, endpoint))

    proxy = Proxy(Pools(), write_stall_seconds=60, on_fault=lambda _, reason: print(reason))
    dispatcher, exchanges = Dispatcher(place, clock, max_wait_seconds=60), Exchanges(clock)
    rules = OPENAI.rules["/v1/chat/completions"]

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        with exchanges.begin("request-7", "/") as record:
            seen = peek(await request.read(), rules)
            with dispatcher.open(Ask("m", seen.width, stream=seen.stream), record) as lease:
                client = client_of(request)
                await proxy.forward(client, Call("/", seen.body, seen.stream), lease, OPENAI)
                return client.response

    return handle


def aiohttp_handler(backend: Path) -> Handler:
    session = ClientSession(connector=UnixConnector(str(backend), limit=0), auto_decompress=False)

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        headers = {"Authorization": "Bearer k"}
        async with session.post("http://backend/", data=body, headers=headers) as theirs:
            ours = web.StreamResponse(status=theirs.status, headers={"Content-Type": theirs.content_type})
            with suppress(ConnectionError):  # the load generator leaves in the middle of its last answers
                await ours.prepare(request)
                async for data in theirs.content.iter_any():
                    await ours.write(data)
                await ours.write_eof()
            return ours

    return handle


HANDLERS = {"relayd": relayd_handler, "aiohttp": aiohttp_handler}


async def serve(name: str, backend: Path, port: int) -> None:
    """Run one side of the bench in a process of its own, until killed."""
    loop = asyncio.get_running_loop()
    if name == "backend":
        server = await loop.create_unix_server(Backend, str(backend), backlog=512)
    else:
        front = web.Server(HANDLERS[name](backend), handler_cancellation=True, access_log=None)
        server = await loop.create_server(front, HOST, port, backlog=512)
    say("ready")
    await server.serve_forever()


def say(line: str) -> None:
    print(line, flush=True)


@contextmanager
def running(*command: str | Path, ready: bool = True) -> Iterator[psutil.Process]:
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        try:
            if ready and child.stdout is not None:
                child.stdout.readline()
            yield psutil.Process(child.pid)
        finally:
            child.kill()


def cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def measure(process: psutil.Process, port: int, lua: Path, seconds: float) -> float:
    """Return the CPU microseconds of `process` for each request."""
    before = cpu_seconds(process)
    wrk = [shutil.which("wrk") or "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds:g}s", "-s", str(lua)]
    said = subprocess.run([*wrk, f"http://{HOST}:{port}/"], check=True, capture_output=True, text=True).stdout
    found = re.search(r"(\d+) requests in", said)
    assert found, said
    assert "Non-2xx" not in said, said
    assert "Socket errors" not in said, said
    return (cpu_seconds(process) - before) / int(found[1]) * 1e6


def bench(folder: Path, seconds: float, rounds: int) -> None:
    backend = folder / "backend.sock"
    me = (sys.executable, "-m", "tests.bench.data_path", "--backend", backend)
    scripts = {stream: folder / f"{stream}.lua" for stream in ("false", "true")}
    for stream, script in scripts.items():
        script.write_text(LUA.format(stream=stream))
    ports = {name: FIRST_PORT + number for number, name in enumerate(("nginx", "relayd", "aiohttp"))}
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(folder=folder, backend=backend, host=HOST, port=ports["nginx"]))
    with ExitStack() as stack:
        stack.enter_context(running(*me, "--serve", "backend"))
        nginx = (shutil.which("nginx") or "/usr/sbin/nginx", "-c", config, "-p", folder)
        proxies = {"nginx": stack.enter_context(running(*nginx, ready=False))}
        for name in HANDLERS:
            serving = running(*me, "--serve", name, "--port", str(ports[name]))
            proxies[name] = stack.enter_context(serving)
        figures: dict[tuple[str, str], list[float]] = {}
        for _ in range(rounds):
            for stream, script in scripts.items():
                for name, process in proxies.items():
                    cost = measure(process, ports[name], script, seconds)
                    figures.setdefault((stream, name), []).append(cost)
    for stream, unit, per in (("false", "request", 1), ("true", "chunk", EVENTS)):
        nginx_cost = statistics.median(figures[stream, "nginx"])
        for name in proxies:
            cost = statistics.median(figures[stream, name])
            say(f"{name:8} {cost / per:7.1f} µs of CPU a {unit:8} {cost / nginx_cost:5.2f} x nginx")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the CPU cost of the data path.")
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve", choices=["backend", *HANDLERS], help=argparse.SUPPRESS)
    parser.add_argument("--backend", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        uvloop.run(serve(options.serve, options.backend, options.port))
    else:
        with tempfile.TemporaryDirectory() as folder:
            bench(Path(folder), options.seconds, options.rounds)


if __name__ == "__main__":
    main()

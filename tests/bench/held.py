"""What do clients cost that do not ask: idle ones, ones that wait, read nothing, or send much?"""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from threading import Event, Thread

from tests.bench.running import Router
from tests.bench.scenarios import KEY, SCENARIOS, Programs, Scenario
from tests.bench.table import Row

CONNECTIONS = 1000
_WARM = Scenario("", stream=False, connections=64, seconds=1)
_OTHERS = Scenario("", stream=False, connections=8, seconds=3)
_ENDLESS_EVENTS = 10_000_000
_BODIES_MIB = (1, 4, 8, 15)
"""The largest leaves room for the rest of a body within the default limit of 16 MiB."""


def request(prompt: str, *, stream: bool = False) -> bytes:
    """Return a whole request."""
    asked = '"stream":true,' if stream else '"logprobs":true,'
    body = f'{{"model":"m",{asked}"messages":[{{"role":"user","content":"{prompt}"}}],"max_tokens":64}}'
    fields = (
        "Host: localhost",
        "Content-Type: application/json",
        f"Authorization: Bearer {KEY}",
        f"Content-Length: {len(body)}",
    )
    return "\r\n".join(["POST /v1/chat/completions HTTP/1.1", *fields, "", body]).encode()


def streams(router: Router, programs: Programs) -> Iterator[Row]:
    """Measure 1,000 paced streams, on a router that has had no such load before."""
    programs.ask(router.peer.port, _WARM)
    scenario, name = SCENARIOS["streams"], router.peer.name
    before, used = router.memory_bytes(), router.cpu_seconds()
    with programs.asking(router.peer.port, scenario) as wait:
        Event().wait(scenario.seconds / 2)
        held = (router.memory_bytes() - before) / scenario.connections / 1e3
        seen = wait()
    used = router.cpu_seconds() - used
    yield Row(name, "streams", used / max(seen["chunks"], 1) * 1e6, seen)
    yield Row(name, "stream_kb", held, {})
    yield Row(name, "chunk_delay", seen["delay_p99_us"] / 1e3, {})


def idle(router: Router, programs: Programs) -> Iterator[Row]:
    """Measure 1,000 connections that are kept after one answer each, on a router that had none before."""
    programs.ask(router.peer.port, _WARM)
    whole = request("x")
    with ExitStack() as stack:
        before = router.memory_bytes()
        for _ in range(CONNECTIONS):
            connection = stack.enter_context(_connected(router))
            connection.sendall(whole)
            _read_answer(connection)
        held = (router.memory_bytes() - before) / CONNECTIONS / 1e3
    yield Row(router.peer.name, "idle_kb", held, {})


def unread(router: Router, programs: Programs) -> Iterator[Row]:
    """Measure a client that asks for a long stream and reads none of it, and others beside it."""
    port, name = router.peer.port, router.peer.name
    programs.ask(port, _WARM)
    alone, before = programs.ask(port, _OTHERS), router.memory_bytes()
    with _connected(router) as connection:
        connection.sendall(request(f"@events={_ENDLESS_EVENTS} @gap=0 ", stream=True))
        beside = programs.ask(port, _OTHERS)
        held = router.memory_bytes() - before
    yield Row(name, "unread_mib", max(held, 0) / 2**20, {})
    slower = beside["latency_p50_us"] / alone["latency_p50_us"]
    yield Row(name, "unread_slows", slower, {"errors": alone["errors"] + beside["errors"]})


def bodies(router: Router, programs: Programs) -> Iterator[Row]:
    """Measure the longest wait of a small request while large ones are sent, one after another."""
    programs.ask(router.peer.port, _WARM)
    whole = [request("a" * mib * 2**20) for mib in _BODIES_MIB]
    over, waits = Event(), [0.0]
    watcher = Thread(target=_ping, args=(router, over, waits))
    watcher.start()
    try:
        with _connected(router) as connection:
            for each in whole:
                connection.sendall(each)
                _read_answer(connection)
    finally:
        over.set()
        watcher.join()
    yield Row(router.peer.name, "bodies_ms", max(waits) * 1e3, {})


def _ping(router: Router, over: Event, waits: list[float]) -> None:
    small = request("x")
    with _connected(router) as connection:
        while not over.wait(0.001):
            began = time.perf_counter()
            connection.sendall(small)
            _read_answer(connection)
            waits.append(time.perf_counter() - began)


def _connected(router: Router) -> socket.socket:
    return socket.create_connection(("127.0.0.1", router.peer.port), timeout=30)


def _read_answer(connection: socket.socket) -> None:
    """Read an answer with a length, or in chunks."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += _received(connection)
    head, _, rest = data.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise SystemExit(f"a request was refused: {data[:300]!r}")
    declared = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
    left = int(declared) - len(rest) if declared else 0
    while left > 0 or (not declared and not rest.endswith(b"0\r\n\r\n")):
        received = _received(connection)
        left, rest = left - len(received), (rest + received)[-16:]


def _received(connection: socket.socket) -> bytes:
    if data := connection.recv(65536):
        return data
    raise SystemExit("a connection was closed before its answer was over")

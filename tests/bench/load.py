"""Clients that ask without a pause, and what they measured.

python -m tests.bench.load PORT SCENARIO      prints one JSON object
"""

import asyncio
import json
import math
import sys
import time
from dataclasses import dataclass, field
from typing import cast

import uvloop

KEY = "sk-0123456789abcdef0123456789abcdef"
_STAMP = b"@TS"


@dataclass(frozen=True, slots=True)
class Scenario:
    """What clients do.

    Attributes:
        stream: They ask for streams.
        connections: How many there are; each asks again as soon as it has its answer.
        seconds: For how long they ask.
        gap_us: Microseconds between two events of a stream.
        prompt: Characters of the prompt.
    """

    stream: bool
    connections: int
    seconds: float
    gap_us: int = 0
    prompt: int = 200


SCENARIOS = {
    "one": Scenario(stream=False, connections=1, seconds=3),
    "requests": Scenario(stream=False, connections=32, seconds=3),
    "prompts": Scenario(stream=False, connections=32, seconds=3, prompt=32768),
    "chunks": Scenario(stream=True, connections=32, seconds=4, gap_us=10_000),
    "streams": Scenario(stream=True, connections=1000, seconds=6, gap_us=50_000),
}


@dataclass
class Measured:
    """What all clients saw, in microseconds."""

    ends_at: float
    requests: int = 0
    errors: int = 0
    chunks: int = 0
    latencies: list[float] = field(default_factory=list)
    first_bytes: list[float] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)

    def report(self) -> dict[str, float]:
        """Return counts and quantiles."""
        return {
            "requests": self.requests,
            "errors": self.errors,
            "chunks": self.chunks,
            "latency_p50_us": quantile(self.latencies, 0.5),
            "latency_p99_us": quantile(self.latencies, 0.99),
            "first_byte_p50_us": quantile(self.first_bytes, 0.5),
            "delay_p50_us": quantile(self.delays, 0.5),
            "delay_p99_us": quantile(self.delays, 0.99),
        }


def quantile(values: list[float], share: float) -> float:
    """Return the value below which this share of the others is; NaN without any."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else math.nan


class Asking(asyncio.Protocol):
    """One client."""

    transport: asyncio.Transport

    def __init__(self, request: bytes, measured: Measured) -> None:
        self._request = request
        self._measured = measured
        self._left = -1
        self._inbox = b""
        self._sent_at = 0.0
        self.over = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.over.done():
            self._measured.errors += 1
            self.over.set_result(None)

    def _ask(self) -> None:
        self._left, self._inbox, self._sent_at = -1, b"", time.monotonic()
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        if self._left < 0:
            data = self._begin(data, now)
            if self._left < 0:
                return
        self._stamps(data, now)
        self._inbox = (self._inbox + data)[-5:]
        if self._left > 0:
            self._left -= len(data)
            if not self._left:
                self._done()
        elif self._inbox == b"0\r\n\r\n":
            self._done()

    def _begin(self, data: bytes, now: int) -> bytes:
        head, found, rest = (self._inbox + data).partition(b"\r\n\r\n")
        if not found:
            self._inbox = head
            return b""
        self._measured.errors += b" 200 " not in head[:16]
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        self._left, self._inbox = int(length or 0), b""
        self._measured.first_bytes.append((now / 1e9 - self._sent_at) * 1e6)
        return rest

    def _stamps(self, data: bytes, now: int) -> None:
        at = data.find(_STAMP)
        while at >= 0 and at + 23 <= len(data):
            self._measured.chunks += 1
            self._measured.delays.append((now - int(data[at + 3 : at + 23])) / 1e3)
            at = data.find(_STAMP, at + 23)

    def _done(self) -> None:
        now, measured = time.monotonic(), self._measured
        measured.requests += 1
        measured.latencies.append((now - self._sent_at) * 1e6)
        if now < measured.ends_at:
            self._ask()
        elif not self.over.done():
            self.over.set_result(None)
            self.transport.close()


def request(scenario: Scenario) -> bytes:
    """Return what every client of a scenario sends."""
    stream = '"stream":true,' if scenario.stream else ""
    prompt = f"@d={scenario.gap_us} " + "a" * scenario.prompt
    body = f'{{"model":"m",{stream}"messages":[{{"role":"user","content":"{prompt}"}}],"max_tokens":64}}'
    fields = (
        "Host: localhost", "Content-Type: application/json", f"Authorization: Bearer {KEY}", "Accept: */*",
        "User-Agent: load/1", f"Content-Length: {len(body)}",
    )  # fmt: skip
    return "\r\n".join(["POST /v1/chat/completions HTTP/1.1", *fields, "", body]).encode()


async def measure(port: int, scenario: Scenario) -> Measured:
    """Run a scenario against whatever listens on `port`."""
    loop = asyncio.get_running_loop()
    measured, raw = Measured(time.monotonic() + scenario.seconds), request(scenario)
    clients = [
        (await loop.create_connection(lambda: Asking(raw, measured), "127.0.0.1", port))[1]
        for _ in range(scenario.connections)
    ]
    await asyncio.wait([client.over for client in clients], timeout=scenario.seconds + 30)
    return measured


if __name__ == "__main__":
    seen = uvloop.run(measure(int(sys.argv[1]), SCENARIOS[sys.argv[2]]))
    sys.stdout.write(json.dumps(seen.report()))

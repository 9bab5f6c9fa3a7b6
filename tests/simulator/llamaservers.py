"""Real replicas for the simulator's workloads, each held to its share of a core, and what stands before them.

A replica gets its share by being stopped for the rest of each period: a machine of two cores is enough.
"""

import asyncio
import json
import random
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from relayd.endpoint import Endpoint, TcpAddress
from relayd.secret import Secret
from tests.bench.cancel import serving
from tests.bench.orphans import WARM
from tests.daemons import wait_until
from tests.simulator.replica import Rates

REPLICAS, SLOTS, CONTEXT, BATCH, PORT = 3, 2, 4096, 128, 18_700
PERIOD_SECONDS = 0.025

TEMPLATE = "{%- for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}[assistant]"


@dataclass
class Replica:
    """A llama-server that is stopped for the rest of each period."""

    process: "subprocess.Popen[bytes]"
    port: int
    share: float
    over: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.limiter = threading.Thread(target=self._limit)
        self.name = f"{WARM}#{self.port - PORT}"
        self.endpoint = Endpoint(TcpAddress(self.port), Secret("k"), self.name, 1)
        self.works, self.steps = 0, list[tuple[float, int]]()

    def _limit(self) -> None:
        while not self.over.wait(PERIOD_SECONDS * self.share):
            self.process.send_signal(signal.SIGSTOP)
            self.over.wait(PERIOD_SECONDS * (1 - self.share))
            self.process.send_signal(signal.SIGCONT)

    def end(self) -> None:
        """Kill it."""
        self.over.set()
        if self.limiter.ident is not None:
            self.limiter.join()
        self.process.kill()
        self.process.wait()


@contextmanager
def replicas(engine: Path, model: Path, share: float) -> Iterator[list[Replica]]:
    """Lend replicas that have read nothing."""
    flags = f"-t 1 -np {SLOTS} -c {CONTEXT * SLOTS} -b {BATCH} --cache-ram 0 --no-ui"
    with ExitStack() as stack:
        found = []
        for number in range(REPLICAS):
            port = PORT + number
            command = [str(engine), "-m", str(model), "--port", str(port), *flags.split()]
            process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            found.append(Replica(process, port, share))
            stack.callback(found[-1].end)
        for one in found:
            wait_until(partial(_serves, one))
            one.limiter.start()
        yield found


def _serves(one: Replica) -> bool:
    with suppress(urllib.error.URLError, OSError):
        urllib.request.urlopen(f"http://127.0.0.1:{one.port}/health").close()
        return True
    return False


NGINX = """\
daemon off; worker_processes 1; pid {folder}/pid; error_log stderr crit;
events {{ worker_connections 512; }}
http {{ access_log off;
  upstream replicas {{ least_conn; {servers} }}
  server {{ listen 127.0.0.1:{port};
    location / {{ proxy_pass http://replicas; proxy_buffering off; proxy_http_version 1.1;
      proxy_read_timeout 600s; }} }} }}
"""


@asynccontextmanager
async def front(policy: str, found: Sequence[Replica], folder: Path) -> AsyncIterator[int]:
    """Open what chooses among replicas, and yield its port."""
    if policy != "nginx":
        async with serving(found) as path:  # type: ignore[arg-type]  # what it needs of an engine
            path.scheduler.configure(
                depth=1000, attempts=3, avoid_seconds=1.0, strategies={WARM: policy}, max_hold_seconds=20.0
            )
            yield path.port
        return
    servers = " ".join(f"server 127.0.0.1:{one.port};" for one in found)
    text = NGINX.format(folder=folder, servers=servers, port=PORT + 50)
    (folder / "nginx.conf").write_text(text)
    process = await asyncio.create_subprocess_exec(
        "nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")
    )
    await asyncio.sleep(1)
    try:
        yield PORT + 50
    finally:
        process.terminate()
        await process.wait()


@dataclass(frozen=True, slots=True)
class Answer:
    """One request.

    Attributes:
        flow: Whose it is.
        began: When it was sent (monotonic seconds).
        first: Seconds to its first token.
        queued: Of these, in a queue of ours.
        whole: Seconds to its end.
        cached: Tokens of its prompt that were not read.
        read: Those that were.
        text: What was answered, a token each character.
    """

    flow: str
    began: float
    first: float
    queued: float
    whole: float
    cached: int
    read: int
    text: str


Messages = list[dict[str, str]]


def message(role: str, text: str) -> dict[str, str]:
    return {"role": role, "content": text}


def text_of(number: int, length: int) -> str:
    """Return the words of a segment: a token each character."""
    dice = random.Random(number)
    return "".join(dice.choice("abcdefghijklmnopqrstuvwxyz ") for _ in range(length))


async def ask(port: int, messages: Messages, tokens: int, flow: str) -> Answer:
    """Send a request and read its answer."""
    members = {"model": WARM, "messages": messages, "max_tokens": tokens, "ignore_eos": True, "stream": True}
    body = json.dumps({**members, "temperature": 0}).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 22)
    began, first, queued, timings, text = time.monotonic(), 0.0, 0.0, dict[str, int](), ""
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nX-Session-Id: {flow}\r\n"
    head += "Content-Type: application/json\r\nConnection: close\r\n"
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    while line := await reader.readline():
        if line.lower().startswith(b"x-relayd-queue-ms:"):
            queued = int(line.split(b":")[1]) / 1000
        if not line.startswith(b"data: {"):
            continue
        event = json.loads(line[6:])
        timings = event.get("timings") or timings
        if piece := "".join(choice["delta"].get("content") or "" for choice in event["choices"]):
            first, text = first or time.monotonic(), text + piece
    writer.close()
    whole = time.monotonic() - began
    return Answer(flow, began, first - began, queued, whole, timings["cache_n"], timings["prompt_n"], text)


async def measured(port: int) -> Rates:
    """Return how fast a replica is that does nothing else."""
    tokens = 40

    async def alone(number: int, length: int) -> tuple[Answer, float]:
        one = await ask(port, [message("user", text_of(number, length))], tokens, "")
        return one, (one.whole - one.first) / (tokens - 1)

    await alone(-1, 64)
    one, step = await alone(-2, 1500)
    pair = await asyncio.gather(alone(-3, 64), alone(-4, 64))
    both = sum(seconds for _, seconds in pair) / 2
    return Rates(
        prompt_rate=one.read / one.first,
        step_seconds=step,
        stream_seconds=max(0.0, both - step),
        batch=BATCH,
        kept_tokens=0,
        bytes_a_token=1.0,
    )

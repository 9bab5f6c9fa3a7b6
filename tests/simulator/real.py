"""Strategies on three real replicas, each held to its share of a core: `python -m tests.simulator.real`

    python -m tests.simulator.real [--workload chat] [--seeds 1] [--seconds 35] [--share 0.4]

Sessions arrive whatever becomes of those before (open loop), each policy begins cold and gets the same ones.
relayd's data path runs in this process, nginx (`least_conn`) beside. A replica gets its share by being
stopped for the rest of each period, so that a quiet machine of two cores is enough. Exits 1 where a bar is
missed.
"""

import argparse
import asyncio
import json
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import takewhile
from pathlib import Path
from statistics import fmean

import uvloop

from relayd.cli.engine import lend_installer
from relayd.endpoint import Endpoint, TcpAddress
from relayd.engine import ensure
from relayd.folders import cache_dir
from relayd.secret import Secret
from tests.bench.cancel import WARM, serving
from tests.daemons import wait_until
from tests.ggufs import SLOW, make_model
from tests.simulator.run import percentile
from tests.simulator.workloads import Session, Workload, agents, chat, single

REPLICAS, SLOTS, CONTEXT, PORT = 3, 2, 4096, 18_700
PERIOD_SECONDS = 0.025
POLICIES = ("round_robin", "least_busy", "nginx", "prefix_affinity")
OURS = "prefix_affinity"
SCALE = {"chat": 0.5, "agents": 0.25, "hot": 0.25, "unique": 0.5}
"""Tokens of a session beside those that are simulated: these replicas are slower."""

WORKLOADS: dict[str, Workload] = {
    "chat": chat(0.22),
    "agents": agents(0.12),
    "hot": single(0.9, shared=4000, own=200, answer=120),
    "unique": single(0.5, shared=0, own=1500, answer=120),
}
MOST = {"chat": 0.6, "agents": 0.8, "hot": 1.15, "unique": 1.15}
"""What our p95 is at most of the best other's; where there is nothing to gain, of least busy's."""

LONGEST_ANSWER = 40
MOST_TURNS = 5
LONGEST_THINK = 8.0


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
        self.limiter.join()
        self.process.kill()
        self.process.wait()


@contextmanager
def replicas(engine: Path, model: Path, share: float) -> Iterator[list[Replica]]:
    """Lend replicas that have read nothing."""
    flags = f"-t 1 -np {SLOTS} -c {CONTEXT * SLOTS} -b 128 --cache-ram 0 --no-ui"
    with ExitStack() as stack:
        found = []
        for number in range(REPLICAS):
            port = PORT + number
            command = [str(engine), "-m", str(model), "--port", str(port), *flags.split()]
            process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            found.append(Replica(process, port, share))
        for one in found:
            stack.callback(one.end)
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
async def front(policy: str, found: list[Replica], folder: Path) -> AsyncIterator[int]:
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
    """One request: seconds to its first token, of these in a queue of ours, and tokens of its prompt."""

    first: float
    queued: float
    cached: int
    read: int


def text_of(number: int, length: int) -> str:
    """Return the words of a segment: a token each character."""
    dice = random.Random(number)
    return "".join(dice.choice("abcdefghijklmnopqrstuvwxyz ") for _ in range(length))


async def ask(port: int, prompt: str, tokens: int, session: str) -> Answer:
    """Send a request and read its answer."""
    members = {"model": WARM, "prompt": prompt, "max_tokens": tokens, "ignore_eos": True, "stream": True}
    body = json.dumps({**members, "temperature": 0}).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 22)
    began, first, queued, timings = time.monotonic(), 0.0, 0.0, dict[str, int]()
    head = f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nX-Session-Id: {session}\r\n"
    head += "Content-Type: application/json\r\nConnection: close\r\n"
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    while line := await reader.readline():
        if line.lower().startswith(b"x-relayd-queue-ms:"):
            queued = int(line.split(b":")[1]) / 1000
        if not line.startswith(b"data: {"):
            continue
        first = first or time.monotonic()
        timings = json.loads(line[6:]).get("timings") or timings
    writer.close()
    return Answer(first - began, queued, timings["cache_n"], timings["prompt_n"])


async def converse(port: int, session: Session, scale: float, answers: list[Answer]) -> None:
    """Have one conversation, beginning at its time."""
    await asyncio.sleep(session.at)
    prompt = ""
    for turn in session.turns[:MOST_TURNS]:
        await asyncio.sleep(min(turn.think_seconds, LONGEST_THINK) * scale)
        prompt += "".join(text_of(number, max(1, round(length * scale))) for number, length in turn.added)
        if len(prompt) + LONGEST_ANSWER > CONTEXT - 16:
            return
        tokens = min(LONGEST_ANSWER, turn.answer[1])
        answers.append(await ask(port, prompt, tokens, session.flow))
        prompt += text_of(turn.answer[0], tokens)


async def run(
    policy: str, engine: Path, model: Path, sessions: Sequence[Session], scale: float, share: float
) -> list[Answer]:
    """Return what a policy made of some sessions."""
    answers: list[Answer] = []
    with tempfile.TemporaryDirectory() as folder, replicas(engine, model, share) as found:
        async with front(policy, found, Path(folder)) as port, asyncio.TaskGroup() as group:
            for one in sessions:
                group.create_task(converse(port, one, scale, answers))
    return answers


def _row(workload: str, policy: str, seed: int, answers: Sequence[Answer]) -> str:
    first = [one.first for one in answers]
    cached = sum(one.cached for one in answers) / sum(one.cached + one.read for one in answers)
    queued = fmean(one.queued for one in answers)
    return (
        f"| {workload} | {policy} | {seed} | {len(first)} | {fmean(first):.2f} "
        f"| {percentile(first, 0.5):.2f} | {percentile(first, 0.95):.2f} "
        f"| {queued:.2f} | {fmean(first) - queued:.2f} | {cached:.0%} "
        f"| {sum(one < 2 for one in first) / len(first):.0%} |"
    )


def main() -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulator.real", description=__doc__)
    parser.add_argument("--workload", choices=[*WORKLOADS], default="chat")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--seconds", type=float, default=35.0, help="in which sessions begin")
    parser.add_argument("--share", type=float, default=0.4, help="of a core, for each replica")
    parser.add_argument("--policies", nargs="+", choices=POLICIES, default=POLICIES)
    asked = parser.parse_args()
    with lend_installer() as installer:
        engine = ensure(installer, cache=cache_dir() / "engine").path
    name, scale = asked.workload, SCALE[asked.workload]
    print("| workload | policy | seed | requests | mean | p50 | p95 | queue | reading | cached | under 2 s |")
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        model = make_model(Path(folder) / "slow.gguf", replace(SLOW, writes_bytes=False))
        for seed in asked.seeds:
            made = WORKLOADS[name](random.Random(seed))
            sessions = list(takewhile(lambda one: one.at < asked.seconds, made))
            for policy in asked.policies:
                answers = uvloop.run(run(policy, engine, model, sessions, scale, asked.share))
                print(_row(name, policy, seed, answers), flush=True)
                found.setdefault(policy, []).append(percentile([one.first for one in answers], 0.95))
    return _judge(name, {policy: fmean(values) for policy, values in found.items()})


def _judge(workload: str, p95: dict[str, float]) -> int:
    others = {policy: value for policy, value in p95.items() if policy != OURS}
    if OURS not in p95 or not others:
        return 0
    beside = min(others.values()) if MOST[workload] < 1 else others.get("least_busy", min(others.values()))
    share = p95[OURS] / beside
    print(f"{workload}: p95 {share:.2f} of the other (at most {MOST[workload]})")
    return int(share > MOST[workload])


if __name__ == "__main__":
    sys.exit(main())

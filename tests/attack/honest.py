"""Honest clients beside the attack: are they served, rightly, and how long does the daemon let them wait?

`python -m tests.attack.honest PORT` is a process of its own: a client that shares its interpreter with the
attack would take the attack's work for the daemon's. Each line on standard input begins a phase; at the end
of the input its figures go to standard output.
"""

import asyncio
import random
import statistics
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field

import msgspec

from tests.soak.certain import answer
from tests.soak.clients import WHOLE, WRONG, Question, ask

LOOK_SECONDS = 0.05

_LAST_OF_CHAT = "\n"
"""The last character of the template that the engine puts around messages."""

_HEALTH = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"

BUSY = ("429 queue_full", "503 queue_timeout")
"""Refusals that name no fault: too many asked at a time."""


@dataclass(slots=True)
class Seen:
    """What honest clients saw in one phase."""

    outcomes: dict[str, int] = field(default_factory=dict)
    details: dict[str, str] = field(default_factory=dict)
    lags: list[float] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)

    @property
    def wrong(self) -> int:
        return sum(count for name, count in self.outcomes.items() if name.startswith(WRONG))

    @property
    def missing(self) -> int:
        fine = (WHOLE, *BUSY)
        return sum(count for name, count in self.outcomes.items() if name not in fine) - self.wrong


@dataclass(slots=True)
class Honest:
    """Clients that ask what they know the answer to, and one that looks whether the loop stands still."""

    port: int
    seen: dict[str, Seen] = field(default_factory=dict)
    phase: str = "before"
    _over: bool = False

    async def serve(self) -> None:
        """Ask until standard input ends; every request comes to its end."""
        models = enumerate(("slow", "tiny", "tiny"))
        asking = [self._ask(model, random.Random(seed)) for seed, model in models]
        await asyncio.gather(self._follow(), self._look(), *asking)

    async def _follow(self) -> None:
        while line := await asyncio.to_thread(sys.stdin.readline):
            self.phase = line.strip()
        self._over = True

    def _now(self) -> Seen:
        return self.seen.setdefault(self.phase, Seen())

    async def _ask(self, model: str, chance: random.Random) -> None:
        while not self._over:
            prompt = "question " + chr(chance.randint(33, 126))
            stream, chat = chance.random() < 0.5, chance.random() < 0.3
            question = Question(model, prompt, chance.randint(3, 20), stream, chat)
            last = _LAST_OF_CHAT if question.chat else prompt[-1]
            seen, began = self._now(), time.monotonic()
            failure, detail = await ask(self.port, question, answer(last, question.tokens))
            seen.waits.append(time.monotonic() - began)
            seen.outcomes[failure] = seen.outcomes.get(failure, 0) + 1
            if failure != WHOLE:
                seen.details.setdefault(failure, detail[:200])
            await asyncio.sleep(0.05)

    async def _look(self) -> None:
        """Ask for what costs nothing, over one connection: what it takes is what the loop is late."""
        writer = None
        while not self._over:
            seen, began = self._now(), time.monotonic()
            with suppress(OSError, asyncio.IncompleteReadError):
                if writer is None or writer.is_closing():
                    reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.write(_HEALTH)
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(head.lower().partition(b"content-length:")[2].split()[0]))
            seen.lags.append(time.monotonic() - began)
            await asyncio.sleep(LOOK_SECONDS)
        if writer is not None:
            writer.transport.abort()


class Beside:
    """That process, as the attack sees it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, port: int) -> "Beside":
        command = (sys.executable, "-m", "tests.attack.honest", str(port))
        pipe = asyncio.subprocess.PIPE
        return cls(await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe))

    def enter(self, phase: str) -> None:
        """Count from now on for another phase."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{phase}\n".encode())

    async def stop(self) -> dict[str, Seen]:
        """Let every request come to its end; return what was seen."""
        output, _ = await self._process.communicate(b"")  # None would leave its input open
        return msgspec.json.decode(output, type=dict[str, Seen])

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            self._process.kill()


def spread(values: list[float]) -> dict[str, float]:
    """Return median, 99th percentile and maximum in milliseconds."""
    if len(values) < 2:
        return dict.fromkeys(("p50", "p99", "max"), max(values, default=0.0) * 1000)
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    found = {"p50": cuts[49], "p99": cuts[98], "max": max(values)}
    return {name: round(value * 1000, 1) for name, value in found.items()}


if __name__ == "__main__":
    clients = Honest(int(sys.argv[1]))
    asyncio.run(clients.serve())
    sys.stdout.buffer.write(msgspec.json.encode(clients.seen))

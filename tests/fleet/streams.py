"""Streams of clients, and what became of each."""

import asyncio
import json
import time
from collections import Counter
from dataclasses import dataclass, field

import aiohttp

WHOLE = "whole"


@dataclass
class Streams:
    """Clients that stream completions, some of them at a time.

    Attributes:
        url: Of the hub.
        key: Of the clients.
        outcomes: How many streams ended how.
        ramp_seconds: Over which the clients begin.
        gaps: The longest time without a token, of each stream that ended whole.
    """

    url: str
    key: str
    model: str = "slow"
    outcomes: Counter[str] = field(default_factory=Counter)
    gaps: list[float] = field(default_factory=list)
    firsts: list[float] = field(default_factory=list)
    ramp_seconds: float = 0.0

    async def run(self, at_once: int, tokens: int, seconds: float) -> None:
        """Keep so many streams open, begin no second one after so many seconds, and wait for all."""
        over = time.monotonic() + seconds
        connector, patient = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(connector=connector, timeout=patient) as session:

            async def client(number: int) -> None:
                turn = 0
                await asyncio.sleep(self.ramp_seconds * number / at_once)
                while not turn or time.monotonic() < over:  # each begins one, however late it comes to run
                    await self._ask(session, f"{number} {turn}", tokens)
                    turn += 1

            await asyncio.gather(*map(client, range(at_once)))

    async def _ask(self, session: aiohttp.ClientSession, prompt: str, tokens: int) -> None:
        body = {
            "model": self.model,
            "prompt": prompt,
            "max_tokens": tokens,
            "ignore_eos": True,
            "stream": True,
        }
        fields = {"Authorization": f"Bearer {self.key}"}
        seen = _Seen(time.monotonic())
        try:
            async with session.post(f"{self.url}/v1/completions", json=body, headers=fields) as answer:
                if answer.status == 200:
                    ended = await self._read(answer, seen, tokens)
                else:
                    ended = f"{answer.status} {(await answer.json())['error']['code']}"
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            ended = f"{type(error).__name__} after {'some' if seen.count else 'no'} tokens"
        self.outcomes[ended] += 1
        if ended == WHOLE:
            self.gaps.append(seen.longest)
        else:
            await asyncio.sleep(0.2)

    async def _read(self, answer: aiohttp.ClientResponse, seen: "_Seen", tokens: int) -> str:
        async for line in answer.content:
            if not line.startswith(b"data: "):
                continue
            if line.startswith(b"data: [DONE]"):
                return WHOLE if seen.count >= tokens - 1 else f"only {seen.count} of {tokens} tokens"
            if b'"error"' in line[:20]:
                return f"in the stream: {json.loads(line[6:])['error']['code']}"
            self.on_event(line)
            seen.take()
            if seen.count == 1:
                self.firsts.append(seen.longest)
        return "cut without a reason"

    def on_event(self, line: bytes) -> None:
        """Take an event of a stream."""


@dataclass
class _Seen:
    """How far a stream is: tokens, when the last one came, and the longest time without one."""

    last: float
    count: int = 0
    longest: float = 0.0

    def take(self) -> None:
        now = time.monotonic()
        self.longest, self.last, self.count = max(self.longest, now - self.last), now, self.count + 1


def share(values: list[float], part: float) -> float:
    """Return the value below which a part of them lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else 0.0

"""Conversations of clients, made from a seed: who sends what when (workloads W3 to W6 of the reference)."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from random import Random

from tests.simulator.replica import Prompt, Segment


@dataclass(frozen=True, slots=True)
class Turn:
    """One request of a session.

    Attributes:
        added: What it adds to the conversation so far.
        answer: What it is answered.
        think_seconds: How long the client waits after the answer before it.
    """

    added: tuple[Segment, ...]
    answer: Segment
    think_seconds: float


@dataclass(frozen=True, slots=True)
class Session:
    """One conversation.

    Attributes:
        at: When it begins (seconds).
        turns: Its requests.
        flow: Whose it is.
    """

    at: float
    turns: tuple[Turn, ...]
    flow: str = ""


Workload = Callable[[Random], Iterator[Session]]
"""Yields sessions, the earliest first, without an end."""


class _Made:
    """Numbers the segments of one run, and draws their lengths."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._numbers = count(1)

    def new(self, length: float) -> Segment:
        return next(self._numbers), max(1, round(length))

    def about(self, median: float, sigma: float = 0.7) -> Segment:
        return self.new(self._random.lognormvariate(math.log(median), sigma))

    def turns(self, mean: float) -> int:
        return 1 + int(self._random.expovariate(1 / max(mean - 1, 1e-9)))


def _starts(random: Random, per_second: float) -> Iterator[float]:
    at = 0.0
    while True:
        at += random.expovariate(per_second)
        yield at


def chat(per_second: float = 0.2) -> Workload:
    """Multi-turn chats: one of 16 system prompts by Zipf, growing histories, people who think."""

    def sessions(random: Random) -> Iterator[Session]:
        made = _Made(random)
        systems = [made.new(random.uniform(200, 1200)) for _ in range(16)]
        weights = [1 / place for place in range(1, 17)]
        for at in _starts(random, per_second):
            first = (random.choices(systems, weights)[0], made.about(300))
            turns = [Turn(first, made.about(160), 0.0)]
            turns += [
                Turn((made.about(150),), made.about(160), random.expovariate(1 / 20))
                for _ in range(made.turns(8) - 1)
            ]
            yield Session(at, tuple(turns), f"s{at}")

    return sessions


def agents(per_second: float = 0.04) -> Workload:
    """Agents: two sets of 6,000 tokens of tools, 500 more each turn, short pauses, 15 to 50 turns."""

    def sessions(random: Random) -> Iterator[Session]:
        made = _Made(random)
        tools = [made.new(6000) for _ in range(2)]
        for at in _starts(random, per_second):
            turns = [Turn((random.choice(tools), made.about(300)), made.about(90, 0.4), 0.0)]
            turns += [
                Turn((made.about(450, 0.4),), made.about(90, 0.4), random.expovariate(1 / 3))
                for _ in range(random.randint(14, 49))
            ]
            yield Session(at, tuple(turns), f"s{at}")

    return sessions


def single(per_second: float, shared: int, own: float, answer: float) -> Workload:
    """Requests of one turn: `shared` tokens that all begin with, then `own` ones (median)."""

    def sessions(random: Random) -> Iterator[Session]:
        made = _Made(random)
        hot = made.new(shared) if shared else None
        for at in _starts(random, per_second):
            prompt: Prompt = (*((hot,) if hot else ()), made.about(own, 0.4))
            yield Session(at, (Turn(prompt, made.about(answer, 0.5), 0.0),), f"s{at}")

    return sessions


def fitting(per_second: float = 3.4) -> Workload:
    """Short chats whose beginnings fit into every replica's memory."""

    def sessions(random: Random) -> Iterator[Session]:
        made = _Made(random)
        systems = [made.new(400) for _ in range(4)]
        for at in _starts(random, per_second):
            prompt = (random.choice(systems), made.about(200, 0.4))
            yield Session(at, (Turn(prompt, made.about(120, 0.5), 0.0),), f"s{at}")

    return sessions


WORKLOADS: dict[str, Workload] = {
    "chat": chat(),
    "agents": agents(),
    "one hot prefix": single(3.2, shared=4000, own=200, answer=120),
    "prefixes that fit": fitting(),
    "unique prompts": single(1.8, shared=0, own=1500, answer=120),
}

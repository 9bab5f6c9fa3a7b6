"""Who asks what, and how did it come out?"""

import asyncio
import random
import time
from collections import Counter

from tests.soak.certain import answer
from tests.soak.clients import PATIENCE_SECONDS, WHOLE, WRONG, Question, abort, ask, read_slowly, send_garbage
from tests.soak.poison import send_poison
from tests.soak.timeline import Timeline
from tests.soak.world import World

_LENGTHS = (3, 60)
_LAST_OF_CHAT = "\n"
"""The last character of the template that the engine puts around messages."""

_RUDE = {
    "aborted": abort,
    "read slowly": read_slowly,
    "sent garbage": send_garbage,
    "sent poison": send_poison,
}


class Load:
    """Clients that ask without end, some of them badly behaved.

    Args:
        world: Where they ask.
        timeline: What excuses a failure.
        chance: Chooses.
    """

    def __init__(self, world: World, timeline: Timeline, chance: random.Random) -> None:
        self._world = world
        self._timeline = timeline
        self._chance = chance
        self._tasks: list[asyncio.Task[None]] = []
        self._over = False
        self.sent: Counter[str] = Counter()
        self.outcomes: Counter[str] = Counter()
        self.rude: Counter[str] = Counter()
        self.examples: dict[str, str] = {}

    def start(self, clients: int) -> None:
        """Start clients: so many polite ones, and one of each rude kind."""
        for _ in range(clients):
            self._tasks.append(asyncio.create_task(self._be_polite(random.Random(self._chance.random()))))
        for name in _RUDE:
            self._tasks.append(asyncio.create_task(self._be_rude(name, random.Random(self._chance.random()))))

    async def stop(self) -> None:
        """Let every request come to its end, and ask no more."""
        self._over = True
        await asyncio.gather(*self._tasks)

    async def _be_polite(self, chance: random.Random) -> None:
        while not self._over:
            question = self._question(chance)
            last = _LAST_OF_CHAT if question.chat else question.prompt[-1]
            began = time.monotonic()
            failure, detail = await ask(self._world.port, question, answer(last, question.tokens))
            self._note(question, failure, detail, began)
            await asyncio.sleep(chance.uniform(0.02, 0.2) if failure == WHOLE else chance.uniform(0.3, 0.9))

    def _question(self, chance: random.Random) -> Question:
        names = [model.name for model in self._world.models]
        if self._world.with_extra and chance.random() < 0.1:
            names = ["extra"]
        return Question(
            model=chance.choice(names),
            prompt="question " * chance.choice([1, 5, 20]) + chr(chance.randint(33, 126)),
            tokens=chance.randint(*_LENGTHS),
            stream=chance.random() < 0.5,
            chat=chance.random() < 0.25,
        )

    def _note(self, question: Question, failure: str, detail: str, began: float) -> None:
        now = time.monotonic()
        self.sent["streamed" if question.stream else "unstreamed"] += 1
        if failure == WHOLE:
            self.outcomes[WHOLE] += 1
            return
        excuse = self._timeline.explain(failure, question.model, began, now)
        name = f"{failure}; {excuse or 'NOT EXPLAINED'}"
        self.outcomes[name] += 1
        at = now - self._timeline.started
        self.examples.setdefault(name, f"{question.model} at {at:.1f} s after {now - began:.2f} s {detail}")
        if excuse is None:
            met = ", ".join(self._timeline.in_force(question.model, began, now)) or "nothing"
            what = f"{'' if question.stream else 'un'}streamed request to {question.model}"
            self._timeline.violate(f"{what} after {now - began:.2f} s: {failure} {detail} (met: {met})")

    async def _be_rude(self, name: str, chance: random.Random) -> None:
        while not self._over:
            try:
                outcome = await _RUDE[name](self._world.port, self._question(chance), chance)
            except OSError:
                outcome = "hung up"
            except TimeoutError:
                outcome = f"{WRONG}no end within {PATIENCE_SECONDS:g} s"
            if outcome.startswith(WRONG):
                self._timeline.violate(f"a client that {name}: {outcome}")
            self.rude[f"{name}, {outcome}"] += 1
            await asyncio.sleep(chance.uniform(0.1, 1))

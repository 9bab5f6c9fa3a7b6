"""A simulated llama-server: slots, their caches, host memory for prompts, and rates of reading and writing.

As b11434 does it (reference, llama-server.md 5.8 and 6): a batch holds one token of every stream, filled up
with up to `batch` tokens of the prompts, the oldest first. A request takes the idle slot with the longest
common beginning if that is more than a tenth of its prompt, else the one unused for longest; what a slot
would lose is copied to host memory, from where the best earlier prompt is loaded. Time flows between events.
"""

from collections import deque
from dataclasses import dataclass, field

Segment = tuple[int, int]
"""A part of a prompt that is the same wherever its number is the same, and its length (tokens)."""

Prompt = tuple[Segment, ...]


def tokens(prompt: Prompt) -> int:
    return sum(length for _, length in prompt)


def common(one: Prompt, other: Prompt) -> int:
    """Return how many tokens two prompts begin alike with."""
    shared = 0
    for mine, theirs in zip(one, other, strict=False):
        if mine != theirs:
            break
        shared += mine[1]
    return shared


def part(prompt: Prompt, length: int) -> Prompt:
    """Return the whole segments that a prompt of so many tokens begins with."""
    kept: list[Segment] = []
    for segment in prompt:
        length -= segment[1]
        if length < 0:
            break
        kept.append(segment)
    return tuple(kept)


@dataclass(frozen=True, slots=True)
class Rates:
    """How fast a replica is.

    Attributes:
        prompt_rate: Tokens it reads in a second when it does nothing else.
        step_seconds: How long a token takes when one stream is written.
        stream_seconds: What each further stream adds to that.
        batch: Tokens that are read between two tokens of every stream.
        kept_tokens: Earlier prompts in host memory.
        bytes_a_token: Of a prompt.
    """

    prompt_rate: float = 1500.0
    step_seconds: float = 0.02
    stream_seconds: float = 0.002
    batch: int = 512
    kept_tokens: int = 60_000
    bytes_a_token: float = 4.4


@dataclass(slots=True, eq=False)
class Job:
    """A request, from its arrival to its end (simulated seconds)."""

    number: int
    prompt: Prompt
    answer: Segment
    arrived: float
    sent: float = 0.0
    placed: float = 0.0
    first: float = 0.0
    ended: float = 0.0
    cached: int = 0
    left: float = 0.0
    flow: str = ""


@dataclass(slots=True, eq=False)
class Slot:
    """What one slot holds, and since when it is unused."""

    holds: Prompt = ()
    job: Job | None = None
    used_at: float = 0.0


@dataclass(slots=True, eq=False)
class SimulatedReplica:
    """One replica.

    Attributes:
        slots: Its slots.
        rates: How fast it is.
        now: Until when it is simulated.
        waiting: Requests that it was sent beyond its slots, first come first served.
        reading: Requests whose prompt is read, the oldest first.
        writing: Requests whose answer is written.
        kept: Prompts in host memory, the oldest first.
    """

    slots: list[Slot]
    rates: Rates
    now: float = 0.0
    waiting: deque[Job] = field(default_factory=deque)
    reading: list[Job] = field(default_factory=list)
    writing: list[Job] = field(default_factory=list)
    kept: list[Prompt] = field(default_factory=list)

    @property
    def load(self) -> int:
        return len(self.waiting) + len(self.reading) + len(self.writing)

    def send(self, job: Job, now: float) -> None:
        """Give it a request; it must have been advanced to `now`."""
        job.sent = now
        self.waiting.append(job)
        self._begin()

    def cancel(self, job: Job) -> None:
        """Have a request leave; its slot keeps what was read and written of it."""
        if job in self.waiting:
            self.waiting.remove(job)
        slot = next((slot for slot in self.slots if slot.job is job), None)
        if slot is None:
            return
        if job in self.reading:
            self.reading.remove(job)
            slot.holds = part(job.prompt, tokens(job.prompt) - round(job.left))
        else:
            self.writing.remove(job)
            number, length = job.answer
            slot.holds = (*job.prompt, (number, max(1, length - round(job.left))))
        slot.job, slot.used_at = None, self.now
        self._begin()

    def due(self) -> float:
        """Return when something changes here by itself."""
        step, rate = self._step()
        due = float("inf")
        if self.reading:
            due = self.reading[0].left / rate
        if self.writing:
            due = min(due, min(job.left for job in self.writing) * step)
        return self.now + due

    def advance(self, until: float) -> list[Job]:
        """Let time pass, at most until something changes; return what has ended."""
        step, rate = self._step()
        passed = until - self.now
        self.now = until
        if passed > 0:
            for job in self.writing:
                job.left -= passed / step
            if self.reading:
                self.reading[0].left -= passed * rate
        ended = [job for job in self.writing if job.left <= 1e-6]
        for job in ended:
            self._end(job)
        if self.reading and self.reading[0].left <= 1e-6:
            job = self.reading.pop(0)
            job.first, job.left = self.now, float(job.answer[1])
            self.writing.append(job)
        self._begin()
        return ended

    def _step(self) -> tuple[float, float]:
        """Return how long a token of every stream takes, and how many tokens are read in a second."""
        rates, streams = self.rates, len(self.writing)
        own = rates.step_seconds + rates.stream_seconds * (streams - 1) if streams else 0.0
        if not self.reading:
            return own, 0.0
        step = rates.batch / rates.prompt_rate + own
        return step, rates.batch / step

    def _begin(self) -> None:
        while self.waiting and (idle := [slot for slot in self.slots if slot.job is None]):
            job = self.waiting.popleft()
            slot = self._slot_for(job, idle)
            job.placed, job.cached = self.now, min(common(slot.holds, job.prompt), tokens(job.prompt) - 1)
            job.left = float(tokens(job.prompt) - job.cached)
            slot.job, slot.holds = job, job.prompt
            self.reading.append(job)

    def _slot_for(self, job: Job, idle: list[Slot]) -> Slot:
        length = tokens(job.prompt)
        best = max(idle, key=lambda slot: (common(slot.holds, job.prompt), -slot.used_at))
        shared = common(best.holds, job.prompt)
        if shared > 0.1 * length and shared >= 0.5 * tokens(best.holds):
            return best
        slot = best if shared > 0.1 * length else min(idle, key=lambda one: one.used_at)
        self._keep(slot.holds)
        self._load(slot, job.prompt)
        return slot

    def _keep(self, prompt: Prompt) -> None:
        if not prompt or not self.rates.kept_tokens:
            return
        held = tokens(prompt)
        self.kept = [one for one in self.kept if common(one, prompt) < tokens(one)]
        self.kept.append(prompt)
        held = sum(map(tokens, self.kept))
        while self.kept and held > self.rates.kept_tokens:
            held -= tokens(self.kept.pop(0))

    def _load(self, slot: Slot, prompt: Prompt) -> None:
        own = common(slot.holds, prompt)
        found = max(self.kept, key=lambda one: common(one, prompt), default=())
        shared = common(found, prompt)
        if found and shared > own and shared >= 0.25 * tokens(found):
            self.kept.remove(found)
            slot.holds = found

    def _end(self, job: Job) -> None:
        self.writing.remove(job)
        job.ended = self.now
        slot = next(slot for slot in self.slots if slot.job is job)
        slot.job, slot.used_at = None, self.now
        slot.holds = (*job.prompt, job.answer)


def replica(slots: int, rates: Rates) -> SimulatedReplica:
    return SimulatedReplica([Slot() for _ in range(slots)], rates)

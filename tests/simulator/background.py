"""What does a batch take from people, and what does it leave unused, on replicas of fixed rates?

`python -m tests.simulator --background` runs the same conversations with and without a batch beside them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, takewhile
from random import Random
from statistics import fmean

from relayd.batch.lineup import Lineup, TakenLine
from relayd.scheduler import (
    BACKGROUND,
    Arrived,
    Ask,
    Effect,
    GivenBack,
    KeptSlots,
    Preempt,
    Ticket,
)
from tests.simulator.replica import Job, Rates, Segment, SimulatedReplica, replica, tokens
from tests.simulator.run import Relayd, Simulation, percentile
from tests.simulator.workloads import chat

MOST_RATIO, LEAST_USED = 1.1, 0.9
"""How much longer people may wait for their first token (p95), and how much of what is idle is to be used."""

LEAST_TOKENS, MOST_READINGS = 256, 4
RATES = Rates(stream_seconds=0.0)
"""A replica that is as fast with every slot taken as with one: whatever waits, waits for the batch."""


@dataclass(slots=True, eq=False)
class SimulatedLine:
    """A line of a batch: what is left of it, and what it had when it gave its slots back last."""

    job: Job
    taken: TakenLine
    total: int
    given_at: int | None = None
    base: int = 0
    readings: int = 0

    @property
    def generated(self) -> int:
        """Tokens that were generated, over all of its turns."""
        return self.total - round(self.job.left) if self.job.first else self.base


class WithBatch(Relayd):
    """relayd with a batch that fills what is free, as `batch.runner` feeds it."""

    def __init__(
        self,
        replicas: Sequence[SimulatedReplica],
        lines: Sequence[tuple[Segment, Segment, int]],
        *,
        parts: bool,
    ) -> None:
        super().__init__(replicas, "prefix_affinity")
        self._lines = lines
        self._lineup = Lineup(range(len(lines)))
        self._parts = len(replicas) if parts else 1
        self._open: dict[int, SimulatedLine] = {}
        self._ids = count(1_000_000)
        self.done_lines: list[SimulatedLine] = []
        self.preempted = 0
        self.people = self.batch = self.all = self.ended = self._seen = 0.0
        self._at_work = (0, 0)

    @property
    def slots(self) -> int:
        """All there are."""
        return sum(len(one.slots) for one in self.replicas)

    def feed(self, now: float) -> None:
        """Keep twice as many lines open as there are slots."""
        while len(self._open) < 2 * self.slots and (taken := self._lineup.take(self._parts)) is not None:
            shared, own, answer = self._lines[taken.place]
            job = Job(next(self._ids), (shared, own), (-taken.place - 1, answer), now, flow="batch")
            self._open[job.number] = SimulatedLine(job, taken, answer)
            self._jobs[job.number] = job
            self._ask(job, now)

    def _ask(self, job: Job, now: float) -> None:
        prefix = self._fingerprints.of(job.prompt) if self._fingerprints else ()
        size = round(tokens(job.prompt) * self.bytes_a_token)
        ask = Ask("m", prefix=prefix, flow=job.flow, body_bytes=size, klass=BACKGROUND)
        self._follow(self.scheduler.handle(Arrived(Ticket(job.number, ask)), now), now)

    def due(self) -> float:
        now = self.replicas[0].now
        if self._lineup or self._at_work[1]:
            passed, (people, batch) = now - self._seen, self._at_work
            self.all += passed * self.slots
            self.people += passed * people
            self.batch += passed * batch
        jobs = [slot.job for one in self.replicas for slot in one.slots if slot.job is not None]
        batch = sum(job.flow == "batch" for job in jobs)
        self._seen, self._at_work = now, (len(jobs) - batch, batch)
        return super().due()

    def done(self, job: Job, now: float) -> None:
        if (line := self._open.pop(job.number, None)) is not None:
            self._lineup.answered(line.taken)
            self.done_lines.append(line)
            self.ended = now
        super().done(job, now)
        self.feed(now)

    def _follow(self, effects: Sequence[Effect], now: float) -> None:
        super()._follow([one for one in effects if not isinstance(one, Preempt)], now)
        for one in effects:
            if isinstance(one, Preempt):
                self._preempt(one.ticket_id, now, while_reading=one.while_reading)

    def _stop_reading(self, line: SimulatedLine, now: float) -> None:
        job = line.job
        is_reading = any(job in one.reading for one in self.replicas) and line.readings < MOST_READINGS
        if is_reading:
            line.readings += 1
            for one in self.replicas:
                one.cancel(job)
        answer = GivenBack(job.number) if is_reading else KeptSlots(job.number)
        self._follow(self.scheduler.handle(answer, now), now)

    def _preempt(self, number: int, now: float, *, while_reading: bool) -> None:
        line = self._open[number]
        if while_reading:
            self._stop_reading(line, now)
            return
        has_got_on = line.given_at is None or line.generated >= line.given_at + LEAST_TOKENS
        if not has_got_on:
            self._follow(self.scheduler.handle(KeptSlots(number), now), now)
            return
        self.preempted += 1
        line.given_at = line.generated
        job = line.job
        for one in self.replicas:
            one.cancel(job)
        left = line.total - line.given_at
        job.prompt, job.answer = (*job.prompt, (job.number, line.given_at or 1)), (job.number, max(1, left))
        line.base = line.given_at
        job.first = 0.0
        self._follow(self.scheduler.handle(GivenBack(number), now), now)


Line = tuple[Segment, Segment, int]
"""What a line shares with others, what is its own, and the length of its answer."""


def lines(random: Random, number: int, groups: int) -> list[Line]:
    """Return lines that belong to groups, in the order in which a file has them: any."""
    return [
        (
            (-1 - random.randrange(groups), 800),
            (-100_000 - place, random.randint(40, 160)),
            round(random.lognormvariate(5.0, 0.6)),
        )
        for place in range(number)
    ]


class BatchSimulation(Simulation):
    """People's conversations, and a batch beside them."""

    def _end(self, job: Job, now: float) -> None:
        if job.flow == "batch":
            self._router.done(job, now)
        else:
            super()._end(job, now)


@dataclass(frozen=True, slots=True)
class Effects:
    """What a batch does to people, and with what they leave.

    Attributes:
        jobs: What people asked while it ran.
        used: Share of the slots that people leave free in which lines run.
        cached: Share of the lines' prompts that was in a cache.
        lines: Lines that were answered.
        preempted: How often one gave its slot back.
    """

    jobs: tuple[Job, ...]
    used: float = 0.0
    cached: float = 0.0
    lines: int = 0
    preempted: int = 0


def measure(seed: int, *, seconds: float, per_second: float, number: int, ordered: bool = True) -> Effects:
    """Return what a batch of so many lines (0 for none) does to people on three replicas of four slots.

    Args:
        seed: Of the conversations and the lines.
        seconds: Within which conversations begin.
        per_second: How many of them.
        number: Of lines.
        ordered: Whether lines that begin alike follow each other, from one place for each replica.
    """
    replicas = [replica(4, RATES) for _ in range(3)]
    sessions = list(takewhile(lambda one: one.at < seconds, chat(per_second)(Random(seed))))
    given = lines(Random(seed), number, 40)
    if ordered:
        given.sort(key=lambda one: one[0])
    router = WithBatch(replicas, given, parts=ordered)
    router.feed(0.0)
    found = BatchSimulation(router, sessions).run(0.0)
    prompts = sum(tokens(one.job.prompt) for one in router.done_lines)
    return Effects(
        tuple(one for one in found.jobs if not number or one.arrived < router.ended),
        used=router.batch / max(router.all - router.people, 1e-9),
        cached=sum(one.job.cached for one in router.done_lines) / max(prompts, 1),
        lines=len(router.done_lines),
        preempted=router.preempted,
    )


def compare(seeds: Sequence[int], seconds: float) -> Iterator[str]:
    """Print what a batch does to people at several loads, and yield the bars that are missed."""
    titles = (
        "chats/s batch requests p50 p95 wait reading behind cached used lines ordered unordered given_back"
    )
    print(f"| {' | '.join(titles.split())} |\n|{'---|' * len(titles.split())}")
    for per_second in (0.1, 0.15, 0.2):
        alone, beside, unordered = (
            [
                measure(seed, seconds=seconds, per_second=per_second, number=number, ordered=ordered)
                for seed in seeds
            ]
            for number, ordered in ((0, True), (round(5 * seconds), True), (round(5 * seconds), False))
        )
        print(_row(per_second, alone, alone))
        print(_row(per_second, beside, unordered), flush=True)
        ratio = _p95(beside) / _p95(alone)
        print(f"p95 until the first token {ratio:.2f} of that without a batch (at most {MOST_RATIO})")
        if ratio > MOST_RATIO:
            yield f"MISSED at {per_second} chats a second: p95 {ratio:.2f} of that without a batch"
        if (used := fmean(one.used for one in beside)) < LEAST_USED:
            yield f"MISSED at {per_second} chats a second: {used:.0%} of the idle slots used"


def _p95(found: Sequence[Effects]) -> float:
    return percentile([job.first - job.arrived for one in found for job in one.jobs], 0.95)


def _row(per_second: float, found: Sequence[Effects], unordered: Sequence[Effects]) -> str:
    """Return what was found, all seeds together; where the time goes as means."""
    jobs = [job for one in found for job in one.jobs]
    prompts, lines_done = sum(tokens(job.prompt) for job in jobs), sum(one.lines for one in found)
    reading = [(tokens(job.prompt) - job.cached) / RATES.prompt_rate for job in jobs]
    wait = fmean(job.placed - job.arrived for job in jobs)
    behind = fmean(job.first - job.placed for job in jobs) - fmean(reading)
    return (
        f"| {per_second} | {'yes' if lines_done else 'no'} | {len(jobs)} "
        f"| {percentile([job.first - job.arrived for job in jobs], 0.5):.2f} | {_p95(found):.2f} "
        f"| {wait:.2f} | {fmean(reading):.2f} | {behind:.2f} "
        f"| {sum(job.cached for job in jobs) / prompts:.1%} | {fmean(one.used for one in found):.1%} "
        f"| {lines_done} | {fmean(one.cached for one in found):.1%} "
        f"| {fmean(one.cached for one in unordered):.1%} | {sum(one.preempted for one in found)} |"
    )

"""One workload through one policy on simulated replicas: who waits, reads and hits how much?"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count, takewhile
from random import Random
from statistics import fmean

from relayd.scheduler import (
    Arrived,
    Ask,
    Dispatch,
    Effect,
    Ended,
    Exchange,
    Finished,
    Ready,
    Refuse,
    Scheduler,
    Tick,
    Ticket,
    Usage,
)
from relayd.scheduler.prefixes import COVERED
from tests.scheduler.script import endpoint
from tests.simulator.replica import Job, Prompt, Rates, SimulatedReplica, replica, tokens
from tests.simulator.workloads import Session, Workload

BLOCK_BYTES = 512


@dataclass(frozen=True, slots=True)
class Fleet:
    """The replicas of a run."""

    replicas: int = 4
    slots: int = 4
    rates: Rates = field(default_factory=Rates)


class Fingerprints:
    """Chains of prompts as the router makes them, one segment after the other."""

    def __init__(self, bytes_a_token: float) -> None:
        self._bytes_a_token = bytes_a_token
        self._known: dict[Prompt, tuple[int, ...]] = {(): ()}

    def of(self, prompt: Prompt) -> tuple[int, ...]:
        if (known := self._known.get(prompt)) is not None:
            return known
        chain = list(self.of(prompt[:-1]))
        number, length = prompt[-1]
        covered = chain[-1] & COVERED if chain else 0
        end = covered + round(length * self._bytes_a_token)
        while covered < end:
            covered = min(end, covered + BLOCK_BYTES)
            before = chain[-1] if chain else 0
            chain.append((hash((before, number, covered)) & ~COVERED & (1 << 63) - 1) | covered)
        self._known[prompt] = tuple(chain)
        return self._known[prompt]


class Router:
    """Something that sends requests to replicas; `on_done` follows each end."""

    def __init__(self, replicas: Sequence[SimulatedReplica]) -> None:
        self.replicas = replicas

    def arrive(self, job: Job, now: float) -> None:
        """Take a request."""

    def done(self, job: Job, now: float) -> None:
        """Take note of an answer that is over."""

    def due(self) -> float:
        """Return when time alone changes something."""
        return float("inf")

    def tick(self, now: float) -> None:
        """Let time pass."""

    def waiting(self) -> int:
        return 0


class Nginx(Router):
    """nginx with `least_conn`: the fewest connections, in turns among equals; replicas queue themselves."""

    def __init__(self, replicas: Sequence[SimulatedReplica]) -> None:
        super().__init__(replicas)
        self._last = 0

    def arrive(self, job: Job, now: float) -> None:
        turn = [(self._last + 1 + place) % len(self.replicas) for place in range(len(self.replicas))]
        self._last = min(turn, key=lambda number: self.replicas[number].load)
        self.replicas[self._last].send(job, now)

    def waiting(self) -> int:
        return sum(len(one.waiting) for one in self.replicas)


class Relayd(Router):
    """The real scheduler with one of its strategies."""

    def __init__(self, replicas: Sequence[SimulatedReplica], strategy: str, hold: float = 20.0) -> None:
        super().__init__(replicas)
        self.scheduler = Scheduler(depth=100_000)
        self.scheduler.configure(
            depth=100_000,
            attempts=3,
            avoid_seconds=1.0,
            strategies={"m": strategy},
            max_hold_seconds=hold,
        )
        self.bytes_a_token = replicas[0].rates.bytes_a_token
        self._fingerprints = Fingerprints(self.bytes_a_token) if strategy == "prefix_affinity" else None
        self._jobs: dict[int, Job] = {}
        for number, one in enumerate(replicas):
            name = f"m#{number}"
            kept = float(one.rates.kept_tokens)
            self.scheduler.handle(Ready(name, "m", len(one.slots), endpoint(name), kept), 0.0)

    def arrive(self, job: Job, now: float) -> None:
        self._jobs[job.number] = job
        prefix = self._fingerprints.of(job.prompt) if self._fingerprints else ()
        size = round(tokens(job.prompt) * self.bytes_a_token)
        ask = Ask("m", prefix=prefix, flow=job.flow, body_bytes=size)
        self._follow(self.scheduler.handle(Arrived(Ticket(job.number, ask)), now), now)

    def done(self, job: Job, now: float) -> None:
        usage = Usage(
            tokens(job.prompt),
            job.cached,
            job.answer[1],
            1000 * (job.first - job.placed),
            1000 * (job.ended - job.first),
        )
        del self._jobs[job.number]
        exchange = Exchange(ask=Ask("m"), ended=Ended.DONE, usage=usage)
        self._follow(self.scheduler.handle(Finished(job.number, exchange), now), now)

    def due(self) -> float:
        return self.scheduler.tick_due

    def tick(self, now: float) -> None:
        self._follow(self.scheduler.handle(Tick(), now), now)

    def waiting(self) -> int:
        return self.scheduler.load("m").waiting

    def _follow(self, effects: Sequence[Effect], now: float) -> None:
        for effect in effects:
            assert not isinstance(effect, Refuse)
            if isinstance(effect, Dispatch):
                number = int(effect.endpoint.replica.partition("#")[2])
                self.replicas[number].send(self._jobs[effect.ticket_id], now)


Policy = Callable[[Sequence[SimulatedReplica]], Router]

POLICIES: dict[str, Policy] = {
    "round robin": lambda replicas: Relayd(replicas, "round_robin"),
    "least busy": lambda replicas: Relayd(replicas, "least_busy"),
    "nginx least_conn": Nginx,
    "prefix affinity": lambda replicas: Relayd(replicas, "prefix_affinity"),
}


@dataclass(frozen=True, slots=True)
class Result:
    """What a run gave (seconds; shares of 1)."""

    requests: int
    mean: float
    p50: float
    p95: float
    queue_mean: float
    reading_mean: float
    cached: float
    good: float
    longest_queue: int
    jobs: tuple[Job, ...]


def percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def run(
    workload: Workload, policy: Policy, fleet: Fleet, seed: int, *, seconds: float, warm_seconds: float = 0.0
) -> Result:
    """Simulate the sessions that begin within some seconds, to their end; the first ones are not counted."""
    replicas = [replica(fleet.slots, fleet.rates) for _ in range(fleet.replicas)]
    sessions = list(takewhile(lambda one: one.at < seconds, workload(Random(seed))))
    return Simulation(policy(replicas), sessions).run(warm_seconds)


class Simulation:
    """Events in the order of their time: turns that begin, replicas that get on, ticks."""

    def __init__(self, router: Router, sessions: Sequence[Session]) -> None:
        self._router = router
        self._numbers = count(1)
        self._coming: list[tuple[float, int, Session, int, Prompt]] = []
        self._turns: dict[int, tuple[Session, int]] = {}
        self._jobs: list[Job] = []
        self._longest = 0
        for session in sessions:
            self._plan(session.at, session, 0, ())

    def run(self, warm_seconds: float) -> Result:
        now = 0.0
        while True:
            dues = [one.due() for one in self._router.replicas]
            arrival = self._coming[0][0] if self._coming else float("inf")
            now = max(now, min(*dues, arrival, self._router.due()))
            if now == float("inf"):
                break
            if not self._coming and min(dues) == float("inf") and not self._router.waiting():
                break
            ended = [job for one in self._router.replicas for job in one.advance(now)]
            for job in ended:
                self._end(job, now)
            while self._coming and self._coming[0][0] <= now:
                self._arrive(now)
            if self._router.due() <= now:
                self._router.tick(now)
            self._longest = max(self._longest, self._router.waiting())
        return self._result(warm_seconds)

    def _plan(self, at: float, session: Session, number: int, before: Prompt) -> None:
        heappush(self._coming, (at, next(self._numbers), session, number, before))

    def _arrive(self, now: float) -> None:
        _, _, session, number, before = heappop(self._coming)
        turn = session.turns[number]
        job = Job(next(self._numbers), (*before, *turn.added), turn.answer, now, flow=session.flow)
        self._turns[job.number] = session, number
        self._jobs.append(job)
        self._router.arrive(job, now)

    def _end(self, job: Job, now: float) -> None:
        session, number = self._turns.pop(job.number)
        self._router.done(job, now)
        if number + 1 < len(session.turns):
            think = session.turns[number + 1].think_seconds
            self._plan(now + think, session, number + 1, (*job.prompt, job.answer))

    def _result(self, warm_seconds: float) -> Result:
        jobs = [job for job in self._jobs if job.arrived >= warm_seconds]
        first = [job.first - job.arrived for job in jobs]
        read = sum(tokens(job.prompt) for job in jobs)
        return Result(
            requests=len(jobs),
            mean=fmean(first),
            p50=percentile(first, 0.5),
            p95=percentile(first, 0.95),
            queue_mean=fmean(job.placed - job.arrived for job in jobs),
            reading_mean=fmean(job.first - job.placed for job in jobs),
            cached=sum(job.cached for job in jobs) / read,
            good=sum(one < 2.0 for one in first) / len(first),
            longest_queue=self._longest,
            jobs=tuple(jobs),
        )

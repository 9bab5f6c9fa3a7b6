"""Two keys on one fleet, of which one floods: what does each get of the tokens?"""

from collections.abc import Iterable, Iterator
from heapq import merge
from itertools import takewhile
from random import Random

from tests.simulator.replica import Rates, replica, tokens
from tests.simulator.run import Relayd, Simulation
from tests.simulator.workloads import Session, Turn, Workload


def _sessions(random: Random, flow: str, per_second: float, first: int) -> Iterator[Session]:
    at, number = 0.0, first
    while True:
        at += random.expovariate(per_second)
        number += 2
        prompt = ((number, max(1, round(random.lognormvariate(6.2, 0.6)))),)
        answer = (number + 1_000_000, max(1, round(random.lognormvariate(4.5, 0.5))))
        yield Session(at, (Turn(prompt, answer, 0.0),), flow)


def two_keys(flood: float, polite: float) -> Workload:
    """Requests of one turn from two keys: how many each sends in a second."""

    def sessions(random: Random) -> Iterator[Session]:
        seeds = random.randrange(1 << 30), random.randrange(1 << 30)
        keys = (("flood", flood, 1), ("polite", polite, 2))
        made = (_sessions(Random(seed), *key) for seed, key in zip(seeds, keys, strict=True))
        return merge(*made, key=lambda one: one.at)

    return sessions


def jain(amounts: Iterable[tuple[str, float]]) -> tuple[float, dict[str, float]]:
    """Return Jain's index over what each key got, and that."""
    counted = dict[str, float]()
    for flow, amount in amounts:
        counted[flow] = counted.get(flow, 0.0) + amount
    values = list(counted.values())
    return sum(values) ** 2 / (len(values) * sum(one * one for one in values)), counted


def shares(seed: int, seconds: float = 150.0) -> tuple[float, dict[str, float]]:
    """Return Jain's index over the keys' tokens while both have requests that wait, and the tokens.

    One key sends ten times what the fleet can do, the other a little more than its half of it.
    """
    replicas = [replica(4, Rates(kept_tokens=0)) for _ in range(2)]
    sessions = takewhile(lambda one: one.at < seconds, two_keys(30.0, 2.6)(Random(seed)))
    result = Simulation(Relayd(replicas, "least_busy"), [*sessions]).run(0.0)
    placed = (job for job in result.jobs if seconds / 5 < job.placed < seconds)
    return jain((job.flow, tokens(job.prompt) - job.cached + 4.0 * job.answer[1]) for job in placed)

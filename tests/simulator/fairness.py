"""Two keys on one fleet, of which one floods: what does each get of the tokens?"""

from collections import Counter
from collections.abc import Iterator
from itertools import takewhile
from random import Random

from tests.simulator.replica import Rates, replica, tokens
from tests.simulator.run import Relayd, Simulation
from tests.simulator.workloads import Session, Turn


def _sessions(random: Random, flow: str, per_second: float, first: int) -> Iterator[Session]:
    at, number = 0.0, first
    while True:
        at += random.expovariate(per_second)
        number += 2
        prompt = ((number, max(1, round(random.lognormvariate(6.2, 0.6)))),)
        answer = (number + 1_000_000, max(1, round(random.lognormvariate(4.5, 0.5))))
        yield Session(at, (Turn(prompt, answer, 0.0),), flow)


def shares(seed: int, seconds: float = 150.0) -> tuple[float, dict[str, float]]:
    """Return Jain's index over the keys' tokens while both have requests that wait, and the tokens.

    One key sends ten times what the fleet can do, the other a little more than its half of it.
    """
    replicas = [replica(4, Rates(kept_tokens=0)) for _ in range(2)]
    flood = takewhile(lambda one: one.at < seconds, _sessions(Random(seed), "flood", 30.0, 1))
    polite = takewhile(lambda one: one.at < seconds, _sessions(Random(seed + 1), "polite", 2.6, 2))
    simulation = Simulation(Relayd(replicas, "least_busy"), sorted([*flood, *polite], key=lambda one: one.at))
    result = simulation.run(0.0)
    counted = Counter[str]()
    for job in result.jobs:
        if seconds / 5 < job.placed < seconds:
            counted[job.flow] += tokens(job.prompt) - job.cached + 4 * job.answer[1]
    values = list(counted.values())
    return sum(values) ** 2 / (len(values) * sum(one * one for one in values)), dict(counted)

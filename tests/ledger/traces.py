"""What clients ask for: Zipf, two that alternate, a burst; and what became of it."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from relayd.scheduler import EvictionCause, MemoryPolicy
from tests.ledger.machine import Machine, Process, Request

GIB = 1 << 30


@dataclass(frozen=True)
class Outcome:
    """The figures of one run."""

    requests: int
    answered: int
    swaps: int
    longest_wait: float
    p50: float
    p95: float

    def __str__(self) -> str:
        return (
            f"answered {self.answered:5}/{self.requests:5}  swaps {self.swaps:4}  "
            f"wait p50 {self.p50:6.2f} s  p95 {self.p95:6.2f} s  longest {self.longest_wait:6.2f} s"
        )


def outcome(machine: Machine) -> Outcome:
    waits = sorted(_wait(machine, request) for request in machine.requests)
    answered = sum(not math.isnan(request.ended) and not request.refused for request in machine.requests)
    return Outcome(
        len(machine.requests),
        answered,
        machine.evictions[EvictionCause.MEMORY],
        waits[-1],
        waits[len(waits) // 2],
        waits[len(waits) * 95 // 100],
    )


def _wait(machine: Machine, request: Request) -> float:
    return (machine.now if math.isnan(request.placed) else request.placed) - request.arrived


def fleet(policy: MemoryPolicy, models: int, room: int, load_seconds: float = 2.0) -> Machine:
    """Return a machine with models of one size, and room for some of them."""
    machine = Machine({"host": room * GIB}, policy)
    for number in range(models):
        machine.add(Process(f"m{number}#0", f"m{number}", {"host": GIB}, load_seconds=load_seconds))
    return machine


def named(number: int) -> str:
    return f"m{number}"


def client(machine: Machine, choose: Callable[[], str], service: Callable[[], float], pause: float) -> None:
    """Ask for one model after the other, one request at a time."""

    def ask() -> None:
        machine.ask(choose(), service(), lambda: machine.later(pause, ask))

    machine.later(0.001 * len(machine.requests), ask)


def zipf(policy: MemoryPolicy, *, clients: int = 16, seconds: float = 600, pause: float = 0.0) -> Outcome:
    """Five models, room for two; the first is wanted most."""
    chance, machine = random.Random(1), fleet(policy, 5, 2)
    weights = [1 / rank for rank in range(1, 6)]
    for _ in range(clients):
        client(
            machine,
            lambda: named(chance.choices(range(5), weights)[0]),
            lambda: chance.expovariate(1.0),
            pause,
        )
    machine.run(seconds)
    return outcome(machine)


def abab(policy: MemoryPolicy, *, pause: float, agents: int = 4, seconds: float = 600) -> Outcome:
    """Two models, room for one; half of the clients use the one, half the other."""
    chance, machine = random.Random(2), fleet(policy, 2, 1)
    for number in range(agents):
        client(machine, partial(named, number % 2), lambda: chance.expovariate(1.0), pause)
    machine.run(seconds)
    return outcome(machine)


def burst(policy: MemoryPolicy, *, seconds: float = 300) -> Outcome:
    """Two models in use, and from the 60th second 20 requests at once for a third, each minute."""
    chance, machine = random.Random(3), fleet(policy, 3, 2)
    for number in range(8):
        client(machine, partial(named, number % 2), lambda: chance.expovariate(1.0), 0.2)

    def ask() -> None:
        machine.ask("m2", chance.expovariate(1.0))

    for minute in range(1, int(seconds // 60)):
        for _ in range(20):
            machine.later(60.0 * minute, ask)
    machine.run(seconds)
    return outcome(machine)

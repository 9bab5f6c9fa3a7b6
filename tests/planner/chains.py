"""Machines that grow step by step, and whether their best score ever falls: `python -m tests.planner.chains`.

    python -m tests.planner.chains [CHAINS [SEED]]     1,000 chains unless another number is given

A chain begins with a machine and makes one thing of it larger at a time: RAM, memory of a card, bandwidth,
cores, or one more card. Each machine of it is searched for one use; the best score may not fall.
"""

import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from relayd.config.schema import MemoryBudget
from relayd.hardware.bandwidth import catalogued
from relayd.planner.budget import Budget
from relayd.planner.quality import Use
from relayd.planner.rank import Request
from relayd.planner.recommend import Advice, recommend
from relayd.planner.reserve import allowance
from relayd.planner.simulate import simulate
from tests.planner.models import known

STEPS = 4
ROUNDING = 1e-9

CARDS = ("3060", "4060", "3070", "3090", "4090", "5090", "1080 ti", "7900 xtx", "a100", "h100", "rtx a6000")
WHOLE = ("m2", "m3 pro", "m4 max", "strix halo")


@dataclass(frozen=True, slots=True)
class Described:
    """A machine, as far as a chain changes it: RAM in GiB, cores, GB/s of RAM, and its cards."""

    ram: int
    cores: int
    gb_s: int
    cards: tuple[tuple[str, int, int], ...] = ()
    whole: str = ""

    @property
    def text(self) -> str:
        """Return it as `--simulate` takes it; each card has its name, GiB and GB/s."""
        if self.whole:
            return f"{self.whole} {self.ram}, bandwidth={self.gb_s}, cores={self.cores}"
        cards = [f"gpu={name}:{gib}@{gb_s}" for name, gib, gb_s in self.cards]
        return ",".join([*cards, f"ram={self.ram}", f"cores={self.cores}", f"bandwidth={self.gb_s}"])


def chain(seed: int) -> list[Described]:
    """Return a machine and what it becomes, one step after the other."""
    dice = random.Random(seed)
    ram = dice.choice((4, 8, 16, 24, 32, 48, 64, 96, 128, 256))
    if dice.random() < 0.2:
        machines = [Described(ram, 8, 100, whole=dice.choice(WHOLE))]
        steps: tuple[str, ...] = ("ram",)
    else:
        cards = tuple(_card(dice) for _ in range(dice.choice((0, 0, 1, 1, 1, 2, 2, 4))))
        machines = [Described(ram, dice.choice((2, 4, 8, 16)), dice.choice((20, 40, 60, 90, 300)), cards)]
        steps = ("ram", "cores", "gb_s", "memory", "speed", "card", "twin")
    while len(machines) <= STEPS:
        machines.append(_larger(machines[-1], dice.choice(steps), dice))
    return machines


def _card(dice: random.Random) -> tuple[str, int, int]:
    name = dice.choice(CARDS)
    (gpu,) = catalogued(simulate(f"gpu={name}")).gpus
    return name, round(gpu.memory_total / 2**30), round(gpu.bandwidth.gb_s if gpu.bandwidth else 100)


def _larger(one: Described, step: str, dice: random.Random) -> Described:
    cards = one.cards
    match step:
        case "cores":
            return replace(one, cores=2 * one.cores)
        case "gb_s":
            return replace(one, gb_s=round(one.gb_s * dice.uniform(1.1, 2)))
        case "memory" | "speed" if cards:
            at = dice.randrange(len(cards))
            name, gib, gb_s = cards[at]
            more = (name, gib + dice.choice((2, 8)), gb_s) if step == "memory" else (name, gib, gb_s + 100)
            return replace(one, cards=(*cards[:at], more, *cards[at + 1 :]))
        case "card" | "twin" if len(cards) < 8:
            more = cards[-1] if step == "twin" and cards else _card(dice)
            return replace(one, cards=(*cards, more))
    return replace(one, ram=one.ram + dice.choice((4, 8, 32)))


def room(text: str) -> Budget:
    """Return what models may take of a machine, by relayd's own reserve."""
    return allowance(catalogued(simulate(text)), MemoryBudget())


def best(text: str, use: Use, users: int = 1, count: int = 1) -> tuple[Advice, ...]:
    """Return the best models for a machine."""
    return recommend(known(use).values(), room(text), Request(use, users=users), count)


def falls(machines: Sequence[Described], use: Use, users: int = 1) -> Iterator[str]:
    """Yield a sentence for each step to a larger machine after which the best score is less."""
    before, less = 0.0, "nothing"
    for machine in machines:
        found = best(machine.text, use, users)
        now = found[0].ranked.score if found else 0.0
        if now < before - ROUNDING:
            yield f"{use} x{users}: {less} ({before:.6f}) -> {machine.text} ({now:.6f})"
        what = found[0] if found else None
        before, less = now, f"{machine.text} [{what.known.name if what else '-'}]"


def of_chain(seed: int) -> Iterator[str]:
    """Yield what is wrong with one chain: its use and number of users follow from its number."""
    use = list(Use)[seed % len(Use)]
    yield from falls(chain(seed), use, (1, 1, 1, 4)[seed % 4])


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    first = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    wrong = [said for seed in range(first, first + count) for said in of_chain(seed)]
    said = f"{count} chains of {STEPS} steps: {len(wrong)} steps to a larger machine with a worse best score"
    sys.stdout.write("\n".join([*wrong, said, ""]))
    sys.exit(bool(wrong))

"""How long does one decision take (request and end), by replicas, strategy and how many wait?"""

from collections import deque
from time import process_time_ns

from relayd.scheduler import Arrived, Ask, Ended, Exchange, Ready, Scheduler, Ticket, Usage
from relayd.scheduler.prefixes import COVERED_BITS
from tests.scheduler.script import endpoint

_USAGE = Usage(500, 400, 100, 100.0, 1000.0)


def _chain(session: int, length: int) -> tuple[int, ...]:
    return tuple(
        (hash((session, at)) & (1 << 39) - 1) << COVERED_BITS | 512 * at for at in range(1, length + 1)
    )


def decision_microseconds(
    *,
    replicas: int,
    waiting: int = 0,
    strategy: str = "prefix_affinity",
    blocks: int = 12,
    rounds: int = 200,
) -> float:
    """Return the processor time of an arrival and an end together, the least of 75 short runs.

    Both are called as the data path does: an event is made only where a slot is not free at once.
    """
    scheduler = Scheduler(depth=1_000_000)
    scheduler.configure(depth=1_000_000, attempts=3, avoid_seconds=1.0, strategies={"m": strategy})
    for number in range(replicas):
        name = f"m#{number}"
        scheduler.handle(Ready(name, "m", 4, endpoint(name), 200_000.0), 0.0)
    last, running, now = 0, deque[int](), 0.0
    chains = [_chain(session, blocks) if strategy == "prefix_affinity" else () for session in range(64)]

    def ask(number: int) -> Arrived:
        prefix, flow = chains[number % 64], f"f{number % 8}"
        return Arrived(Ticket(number, Ask("m", prefix=prefix, flow=flow, body_bytes=512 * blocks)))

    done = Exchange(ask=Ask("m"), ended=Ended.DONE, usage=_USAGE)

    def arrive(number: int) -> None:
        arrived = ask(number)
        if scheduler.place_now(arrived.ticket, now) is None:
            scheduler.handle(arrived, now)
        running.append(number)

    for _ in range(replicas * 3 if not waiting else replicas * 4 + waiting):
        last += 1
        now += 0.001
        arrive(last)
    best = float("inf")
    for _ in range(75):
        began = process_time_ns()
        for _ in range(rounds):
            last += 1
            now += 0.005
            arrive(last)
            scheduler.finish(running.popleft(), done, now)
        best = min(best, (process_time_ns() - began) / rounds / 1000)
    return best


def print_costs() -> None:
    print("| strategy | replicas | waiting | µs for an arrival and an end |")
    print("|---|---|---|---|")
    for strategy in ("least_busy", "prefix_affinity"):
        for replicas, waiting in ((1, 0), (8, 0), (8, 100), (8, 10_000), (100, 0)):
            cost = decision_microseconds(replicas=replicas, waiting=waiting, strategy=strategy)
            print(f"| {strategy} | {replicas} | {waiting:,} | {cost:.1f} |", flush=True)

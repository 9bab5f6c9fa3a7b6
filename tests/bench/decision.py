"""What does the scheduler's decision on one request cost? `python -m tests.bench.decision`

One request arrives and one ends, in a fleet of 8 or 100 replicas, with nobody waiting or 10,000 tickets.
The best of many rounds counts: the machine is rarely quiet.
"""

import time
from pathlib import Path

from relayd.endpoint import Endpoint, UnixAddress
from relayd.scheduler import Arrived, Ask, Exchange, Finished, Ready, Scheduler, Ticket
from relayd.secret import Secret

ROUNDS, REQUESTS, SLOTS = 60, 200, 4


def scheduler(replicas: int, *, waiting: int) -> Scheduler:
    """Return a scheduler with room for one request more, or with a line of tickets."""
    made = Scheduler(depth=20_000)
    for number in range(replicas):
        name = f"m#{number}"
        made.handle(Ready(name, "m", SLOTS, Endpoint(UnixAddress(Path("/x")), Secret("k"), name, 1)), 0)
    taken = replicas * SLOTS if waiting else replicas
    for number in range(taken + waiting):
        made.handle(Arrived(Ticket(number, Ask("m", deadline=1e9))), 0)
    return made


def decision_us(replicas: int, *, waiting: int) -> float:
    """Return the microseconds of one arrival and one end."""
    subject, ends, best = scheduler(replicas, waiting=waiting), 0, float("inf")
    number = replicas * SLOTS + waiting + 10
    for _ in range(ROUNDS):
        started = time.perf_counter()
        for _ in range(REQUESTS):
            number += 1
            subject.handle(Arrived(Ticket(number, Ask("m", deadline=1e9))), 1.0)
            subject.handle(Finished(ends, Exchange(ask=Ask("m"))), 2.0)
            ends = ends + 1 if waiting else number
        best = min(best, time.perf_counter() - started)
    return best / REQUESTS * 1e6


def main() -> None:
    """Print a table."""
    for replicas in (8, 100):
        free, full = decision_us(replicas, waiting=0), decision_us(replicas, waiting=10_000)
        short = decision_us(replicas, waiting=10)
        print(f"{replicas:4} replicas: {free:6.1f} µs; 10 wait {short:6.1f} µs; 10,000 wait {full:6.1f} µs")


if __name__ == "__main__":
    main()

"""What do the bounds of a swap trade against each other (swaps against waits)?"""

from collections.abc import Iterator

from relayd.scheduler import MemoryPolicy
from tests.ledger.traces import Outcome, abab, burst, zipf

RESIDENT_SECONDS = (0.0, 5.0, 10.0)
BATCHES = (4, 16, 64)
TURN_SECONDS = (5.0, 15.0, 30.0)


def policies() -> Iterator[MemoryPolicy]:
    """Yield the default, and others that differ from it in one bound."""
    default = MemoryPolicy()
    yield default
    for seconds in RESIDENT_SECONDS:
        yield MemoryPolicy(seconds, default.swap_batch_requests, default.swap_turn_seconds)
    for batch in BATCHES:
        yield MemoryPolicy(default.min_resident_seconds, batch, default.swap_turn_seconds)
    for seconds in TURN_SECONDS:
        yield MemoryPolicy(default.min_resident_seconds, default.swap_batch_requests, seconds)


def row(policy: MemoryPolicy) -> str:
    """Return the figures of each trace under a policy."""
    runs = zipf(policy), abab(policy, pause=0.0), abab(policy, pause=1.0), burst(policy)
    bounds = (
        f"{policy.min_resident_seconds:8.0f} {policy.swap_batch_requests:5} {policy.swap_turn_seconds:5.0f}"
    )
    return f"{bounds} | {' | '.join(map(cell, runs))}"


def cell(run: Outcome) -> str:
    return f"{run.answered:5} {run.swaps:4} {run.p50:5.1f} {run.p95:5.1f} {run.longest_wait:5.1f}"


def table() -> str:
    """Return answers, swaps, and p50, p95 and longest wait in seconds, of ten minutes each."""
    head = f"{'resident batch  turn':20} | " + " | ".join(
        f"{name:27}" for name in ("zipf", "abab", "abab, pauses of 1 s", "bursts")
    )
    return "\n".join([head, *(row(policy) for policy in policies())])

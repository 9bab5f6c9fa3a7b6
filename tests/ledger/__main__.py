"""Does the ledger hold whatever happens, and what does each bound of a swap cost?

`python -m tests.ledger --sequences N` plays N random sequences of events on random machines; `--trade` prints
what the settings of `[memory]` trade against each other.
"""

import argparse
import sys
import time

from tests.ledger.sequences import EVENTS, Sequence
from tests.ledger.trade import table


def main() -> None:
    """Run what was asked for; a sequence that fails is named by its seed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sequences", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--trade", action="store_true")
    asked = parser.parse_args()
    if asked.sequences:
        play(asked.seed, asked.sequences)
    if asked.trade:
        sys.stdout.write(table() + "\n")


def play(first: int, count: int) -> None:
    started = time.monotonic()
    requests, loads, evictions = 0, 0, 0
    for seed in range(first, first + count):
        try:
            sequence = Sequence(seed)
            sequence.play()
        except AssertionError as error:
            sys.exit(f"seed {seed}: {error!r}. Play it again with --seed {seed} --sequences 1.")
        requests += len(sequence.machine.requests)
        loads += len(sequence.machine.loads)
        evictions += sum(sequence.machine.evictions.values())
    seconds = time.monotonic() - started
    sys.stdout.write(
        f"{count} sequences of {EVENTS} events hold: {requests} requests, {loads} loads, "
        f"{evictions} evictions, {seconds:.0f} s\n"
    )


if __name__ == "__main__":
    main()

"""Many models in bounded memory, on a clock that jumps: `python -m tests.ledger`."""

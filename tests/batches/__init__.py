"""Measures batches against real replicas: `python -m tests.batches`."""

"""Simulated replicas that drive the real scheduler: `python -m tests.simulator` compares its strategies."""

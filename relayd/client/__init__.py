"""Clients of a running daemon: its control socket, conversations with its models, benchmarks."""

"""How long does an orderly stop take at most (time that a service manager is asked to wait)?"""

_WINDING_UP_SECONDS = 15.0
"""For what a stop takes beside the configured waits: cancelling, closing, the exit of the interpreter."""


def stop_budget_seconds(drain_seconds: float, stop_seconds: float, kill_seconds: float) -> float:
    """Return the longest time an orderly stop takes; replicas stop in parallel, each in these steps."""
    return drain_seconds + stop_seconds + kill_seconds + _WINDING_UP_SECONDS
